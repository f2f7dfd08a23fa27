"""Error texts and logs that Postgres and Go can hold."""

from __future__ import annotations

LIMIT = 4096
"""Bytes of an error text in a row. Longer ones are cut, and say so."""

TRACE_LIMIT = 16 * 1024
"""Bytes of a stack in a row."""

SAID_LIMIT = 300
"""Characters kept of what a server says of an error."""

_CUT = " … (cut)"


def error_text(text: str) -> str:
    """`text` as a row can hold it: no NUL, no lone surrogate, at most `LIMIT` bytes of UTF-8."""
    return fitting(text, LIMIT)


def trace_text(text: str) -> str:
    """As `error_text`, of a stack: at most `TRACE_LIMIT` bytes."""
    return fitting(text, TRACE_LIMIT) if text else ""


def fitting(text: str, limit: int) -> str:
    """As `error_text`, with another limit in bytes."""
    clean = text.replace("\x00", "\\u0000")
    encoded = clean.encode("utf-8", "backslashreplace")
    if len(encoded) > limit:
        room = limit - len(_CUT.encode())
        return encoded[:room].decode("utf-8", "ignore") + _CUT
    return encoded.decode()


def said(text: str | None) -> str:
    """What a server or a library says, cut to its first line and `SAID_LIMIT`: the rest may repeat
    what was sent. AWS's signature errors go on with the canonical request.
    """
    first = (text or "").strip().partition("\n")[0]
    return first if len(first) <= SAID_LIMIT else first[:SAID_LIMIT] + "…"
