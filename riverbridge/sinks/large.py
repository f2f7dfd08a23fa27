"""Messages larger than their receiver wants: compressed, or left in S3 with a reference."""

from __future__ import annotations

import gzip
from base64 import b64encode
from collections.abc import Callable, Sequence

import msgspec

from riverbridge.model.outcome import Outcome
from riverbridge.sinks.aws_text import PAYLOAD_SIZE
from riverbridge.sinks.base import Message
from riverbridge.sinks.claims import Claims
from riverbridge.sinks.packed import Pack

POINTER = "software.amazon.payloadoffloading.PayloadS3Pointer"
"""What AWS's extended clients for SQS and SNS (version 2 of their format) call their reference."""
LEVEL = 6
"""Of gzip."""


def compressing(*, text: bool) -> Pack:
    """Bodies by gzip, which the header `content-encoding` tells. text: and by base64, where the
    sink carries text only; `content-transfer-encoding` tells that.

    What does not become smaller stays as it is. The same body gives the same bytes each time.
    """

    def pack(messages: Sequence[Message], deadline: float) -> list[Message | Outcome]:
        return [_compressed(message, text) for message in messages]

    return pack


def _compressed(message: Message, text: bool) -> Message:
    assert message.body is not None  # as it is large
    body, headers = gzip.compress(message.body, LEVEL, mtime=0), [("content-encoding", "gzip")]
    if text:
        body = b64encode(body)
        headers.append(("content-transfer-encoding", "base64"))
    if len(body) >= len(message.body):
        return message
    return msgspec.structs.replace(message, body=body, headers=(*message.headers, *headers))


def claiming(claims: Claims, refer: Callable[[Message, str, str], Message]) -> Pack:
    """Bodies into a bucket; `refer` makes the message that says where: bucket and key."""

    def pack(messages: Sequence[Message], deadline: float) -> list[Message | Outcome]:
        parts = [stored_part(message) for message in messages]
        kept = claims.keep(
            [(m.id, part) for m, part in zip(messages, parts, strict=True)], deadline
        )
        return [
            refer(message, claims.bucket, answer) if isinstance(answer, str) else answer
            for message, answer in zip(messages, kept, strict=True)
        ]

    def stored_part(message: Message) -> bytes:
        assert message.body is not None  # as it is large
        return _data(message.body) if refer is dataref and _structured(message) else message.body

    return pack


def pointer(message: Message, bucket: str, key: str) -> Message:
    """The message that AWS's extended clients for SQS and SNS make of it, and can read."""
    assert message.body is not None  # as it is large
    body = msgspec.json.encode([POINTER, {"s3BucketName": bucket, "s3Key": key}])
    size = (PAYLOAD_SIZE, str(len(message.body)))
    return msgspec.structs.replace(message, body=body, headers=(*message.headers, size))


def dataref(message: Message, bucket: str, key: str) -> Message:
    """The CloudEvent without its data, and where that is (CloudEvents' extension `dataref`)."""
    uri = f"s3://{bucket}/{key}"
    if _structured(message):
        event = msgspec.json.decode(message.body or b"", type=dict[str, msgspec.Raw])
        event.pop("data", None)
        body = msgspec.json.encode(event | {"dataref": uri})
        return msgspec.structs.replace(message, body=body)
    headers = (*message.headers, ("ce_dataref", uri))
    # Not a null, which to Kafka means that the key is gone.
    return msgspec.structs.replace(message, body=b"", headers=headers)


def _structured(message: Message) -> bool:
    return any(
        name == "content-type" and value.startswith("application/cloudevents+json")
        for name, value in message.headers
    )


def _data(event: bytes) -> bytes:
    return bytes(msgspec.json.decode(event, type=dict[str, msgspec.Raw])["data"])
