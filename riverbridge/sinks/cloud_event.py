"""A CloudEvent in one piece, for sinks whose messages have no headers."""

from __future__ import annotations

from base64 import b64encode

import msgspec

from riverbridge.sinks.base import Message, is_json

_encode = msgspec.json.Encoder().encode


def structured(message: Message) -> bytes:
    """A message with `ce_` headers in CloudEvents' structured mode, as JSON (JSON format 1.0.2).

    Other headers become extension attributes. A body that is JSON is `data`, byte for byte, any
    other is `data_base64`; a tombstone has neither. Raises UnicodeEncodeError for a header that
    UTF-8 cannot carry.
    """
    event: dict[str, str | msgspec.Raw] = {
        "datacontenttype" if name == "content-type" else name.removeprefix("ce_"): value
        for name, value in message.headers
    }
    if message.body is not None:
        if is_json(message.body):
            event["data"] = msgspec.Raw(message.body)
        else:
            event["data_base64"] = b64encode(message.body).decode()
    return _encode(event)
