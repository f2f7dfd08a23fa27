"""Error texts and logs that Postgres and Go can hold."""

from __future__ import annotations

LIMIT = 4096
"""Bytes of an error text in a row. Longer ones are cut, and say so."""

TRACE_LIMIT = 16 * 1024
"""Bytes of a stack in a row."""

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
