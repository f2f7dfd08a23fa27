"""Message attributes of SQS and SNS as headers."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

import msgspec

from riverbridge.sinks.aws_text import OVERFLOW

_object = msgspec.json.Decoder(dict[str, str | list[str]])


def headers_of(attributes: Iterable[tuple[str, bytes]]) -> tuple[tuple[str, bytes], ...]:
    """Message attributes as headers, with those that our sinks had to put into one."""
    headers: list[tuple[str, bytes]] = []
    for name, value in attributes:
        if name == OVERFLOW:
            try:
                packed = _object.decode(value)
            except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                headers.append((name, value))
                continue
            for inner, texts in packed.items():
                each = [texts] if isinstance(texts, str) else texts
                headers += ((inner, text.encode("utf-8", "surrogatepass")) for text in each)
        else:
            headers.append((name, value))
    return tuple(headers)


def binary(text: str) -> bytes:
    """The bytes of an attribute in base64; as they stand where they are none."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return text.encode("utf-8", "surrogatepass")
