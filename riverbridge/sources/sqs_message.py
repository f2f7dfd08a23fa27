"""A message of SQS as an event: by what it is known again, and its attributes as headers."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime

from riverbridge.sources.aws_attributes import binary, headers_of
from riverbridge.sources.base import Event
from riverbridge.sources.sqs_calls import Received

RECEIVED = "ApproximateReceiveCount"
MESSAGE = "MessageId"
"""Headers with what SQS says of a message, named as SQS does."""


def event_of(message: Received, topic: str, max_receives: int | None) -> Event:
    """`message` of the queue `topic`. One that was received more often than `max_receives` is
    refused: whoever read it before may have died of it."""
    own = message.attributes
    group = own.get("MessageGroupId")
    headers = headers_of(
        (name, _value(one.data_type, one.string_value, one.binary_value))
        for name, one in message.message_attributes.items()
    )
    # Last, so that no sender can say it: of several headers with a name the last counts.
    count = own.get(RECEIVED, "")
    headers += ((MESSAGE, message.message_id.encode()), (RECEIVED, count.encode()))
    refused = ""
    if max_receives is not None and count.isdigit() and int(count) > max_receives:
        refused = (
            f"was received {count} times and is no job yet, above MAX_RECEIVES={max_receives}; "
            "retry makes one of it"
        )
    return Event(
        _identity(message, group),
        message.body.encode("utf-8", "surrogatepass"),
        topic,
        None if group is None else group.encode(),
        headers,
        _instant(own.get("SentTimestamp")),
        refused=refused,
    )


def _value(data_type: str, text: str | None, coded: str | None) -> bytes:
    if data_type.startswith("Binary"):
        return binary(coded or "")
    return (text or "").encode("utf-8", "surrogatepass")


def _identity(message: Received, group: str | None) -> str:
    """By what the message is known again when it comes again, or is sent again.

    A deduplication id that SQS made of the body itself is none: two messages with one body, an
    hour apart, are two.
    """
    given = message.attributes.get("MessageDeduplicationId")
    body = message.body.encode("utf-8", "surrogatepass")
    if given is None or given == hashlib.sha256(body).hexdigest():
        return message.message_id
    return f"{group} {given}"


def _instant(milliseconds: str | None) -> datetime | None:
    try:
        return datetime.fromtimestamp(int(milliseconds or "") / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None
