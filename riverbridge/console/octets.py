"""Bytes of strangers as people can read them: text where it is such, and else hexadecimal."""

from __future__ import annotations

import codecs
from typing import NamedTuple

import msgspec

from riverbridge.console.redaction import Redaction
from riverbridge.console.templating import pretty

TEXT_MAX, HEX_MAX = 64_000, 4096
"""Characters of a text, and bytes in hexadecimal, that are shown."""

_ROW = 16


class Readable(NamedTuple):
    """How bytes are shown. form: text, hexadecimal, hidden. cut: it is only the beginning."""

    form: str
    text: str
    cut: bool


def readable(data: bytes, redaction: Redaction, *, whole: bool = True) -> Readable:
    """The bytes. whole: whether they are all there is.

    Where something is to be redacted, only JSON is shown, as only there it can be found.
    """
    if redaction:
        return _redacted(data, redaction, whole)
    text = _text(data, whole)
    if text is not None:
        return Readable("text", text[:TEXT_MAX], not whole or len(text) > TEXT_MAX)
    return Readable("hexadecimal", _dump(data[:HEX_MAX]), not whole or len(data) > HEX_MAX)


def _redacted(data: bytes, redaction: Redaction, whole: bool) -> Readable:
    try:
        value = msgspec.json.decode(data) if whole else None
        if isinstance(value, dict | list):
            text = pretty(redaction.anywhere(value))
            return Readable("text", text[:TEXT_MAX], len(text) > TEXT_MAX)
    except (msgspec.DecodeError, ValueError, RecursionError):
        pass
    return Readable("hidden", "", False)


def _text(data: bytes, whole: bool) -> str | None:
    """The text, if it is one without control characters, which could deceive whoever reads it."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data, final=whole)
    except UnicodeDecodeError:
        return None
    return text if all(char.isprintable() or char in "\n\r\t" for char in text) else None


def _dump(data: bytes) -> str:
    lines = []
    for start in range(0, len(data), _ROW):
        row = data[start : start + _ROW]
        plain = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        lines.append(f"{start:06x}  {row.hex(' '):<{3 * _ROW}} {plain}")
    return "\n".join(lines)
