"""A CloudEvent in one piece (structured mode), as CloudEvents' JSON format 1.0.2 has it."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping

import msgspec

from riverbridge.sinks.base import Message, is_json

_encode = msgspec.json.Encoder().encode


def event(attributes: Mapping[str, str], body: bytes | None) -> bytes:
    """A body that is JSON is `data`, byte for byte, any other is `data_base64`; None is neither.

    Raises UnicodeEncodeError for an attribute that UTF-8 cannot carry.
    """
    whole: dict[str, str | msgspec.Raw] = {**attributes}
    if body is not None:
        if is_json(body):
            whole["data"] = msgspec.Raw(body)
        else:
            whole["data_base64"] = b64encode(body).decode()
    return _encode(whole)


def structured(message: Message) -> bytes:
    """The event that a message with `ce_` headers is; others become extension attributes."""
    attributes = {
        "datacontenttype" if name == "content-type" else name.removeprefix("ce_"): value
        for name, value in message.headers
    }
    # Where the data is elsewhere, an empty body is none.
    return event(attributes, None if "dataref" in attributes else message.body)
