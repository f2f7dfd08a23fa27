"""A CloudEvent in one piece, for sinks whose messages have no headers."""

from __future__ import annotations

import msgspec

from riverbridge.sinks.base import Message


def structured(message: Message) -> bytes:
    """A message with `ce_` headers in CloudEvents' structured mode, as JSON (JSON format 1.0.2).

    Other headers become extension attributes. The body, which has to be JSON, is `data` byte for
    byte; a tombstone has none. Raises UnicodeEncodeError for a header that UTF-8 cannot carry.
    """
    attributes = {
        "datacontenttype" if name == "content-type" else name.removeprefix("ce_"): value
        for name, value in message.headers
    }
    event = msgspec.json.encode(attributes)
    if message.body is None:
        return event
    comma = b"," if attributes else b""
    return b'%b%b"data":%b}' % (event[:-1], comma, message.body)
