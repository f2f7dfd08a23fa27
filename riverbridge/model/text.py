"""Error texts that Postgres and Go can hold."""

from __future__ import annotations

LIMIT = 4096
"""Bytes of an error text in a row. Longer ones are cut, and say so."""

_CUT = " … (cut)"


def error_text(text: str) -> str:
    """`text` as a row can hold it: no NUL, no lone surrogate, at most `LIMIT` bytes of UTF-8."""
    clean = text.replace("\x00", "\\u0000")
    encoded = clean.encode("utf-8", "backslashreplace")
    if len(encoded) > LIMIT:
        room = LIMIT - len(_CUT.encode())
        return encoded[:room].decode("utf-8", "ignore") + _CUT
    return encoded.decode()
