"""A message as one line of JSON."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec import UNSET, Raw, UnsetType

from riverbridge.model.outcome import Permanent
from riverbridge.sinks.base import Message, headers_object, is_json


class _Line(msgspec.Struct, omit_defaults=True):
    """What a line holds. A tombstone has neither of the two bodies."""

    id: str
    timestamp: datetime | None = None
    key: str | None = None
    headers: dict[str, str | list[str]] = {}
    body: Raw | UnsetType = UNSET
    body_base64: bytes | UnsetType = UNSET


_encode = msgspec.json.Encoder().encode


def line_of(message: Message) -> bytes | Permanent:
    """The line with its line break, or why there can be none.

    A body that is JSON on one line is in it as it is; any other body as base64.
    """
    line = _Line(message.id, message.timestamp, message.key, headers_object(message.headers))
    if message.body is not None:
        if _is_value(message.body):
            line.body = Raw(message.body)
        else:
            line.body_base64 = message.body
    try:
        return _encode(line) + b"\n"
    except UnicodeEncodeError:
        return Permanent("not written: id, key or a header holds a lone surrogate")


def _is_value(body: bytes) -> bool:
    """Whether `body` is JSON that stands in a line as it is, without a byte more or less."""
    if b"\n" in body or b"\r" in body or body[:1].isspace() or body[-1:].isspace():
        return False
    return is_json(body)
