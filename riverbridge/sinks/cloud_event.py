"""A CloudEvent in one piece, for sinks whose messages have no headers."""

from __future__ import annotations

from base64 import b64encode

import msgspec

from riverbridge.sinks.base import Message

_skim = msgspec.json.Decoder(msgspec.Raw).decode


def structured(message: Message) -> bytes:
    """A message with `ce_` headers in CloudEvents' structured mode, as JSON (JSON format 1.0.2).

    Other headers become extension attributes. A body that is JSON is `data`, byte for byte, any
    other is `data_base64`; a tombstone has neither. Raises UnicodeEncodeError for a header that
    UTF-8 cannot carry.
    """
    attributes = {
        "datacontenttype" if name == "content-type" else name.removeprefix("ce_"): value
        for name, value in message.headers
    }
    # Where the data is elsewhere, an empty body is none.
    body = None if "dataref" in attributes else message.body
    if body is not None and not _is_json(body):
        attributes["data_base64"] = b64encode(body).decode()
    event = msgspec.json.encode(attributes)
    if body is None or "data_base64" in attributes:
        return event
    comma = b"," if attributes else b""
    return b'%b%b"data":%b}' % (event[:-1], comma, body)


def _is_json(body: bytes) -> bool:
    try:
        body.decode()
        _skim(body)
    except (UnicodeDecodeError, msgspec.MsgspecError):
        return False
    return True
