"""What comes within what: an event out of the envelopes of AWS, and the events of a batch.

All is said in terms of events again, so that an event that came in something else is read, and kept
in quarantine, like any other. Where an envelope has attributes of its own they become those of a
CloudEvent, as CloudEvents' adapters for AWS have them.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any, Literal
from urllib.parse import unquote_plus

import msgspec

from riverbridge.bridge.unfit import PassedOver, Unfit
from riverbridge.sinks.aws_text import PAYLOAD_SIZE
from riverbridge.sources.aws_attributes import binary, headers_of
from riverbridge.sources.base import Event, Fetch, NotToBeHad

Wrapping = Literal["sns", "eventbridge", "s3"]
"""An envelope that is taken off, where an event has it."""

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"
MOST = 10_000
"""Events in one: they are inserted in one transaction."""
LARGEST = 64 << 20
"""Bytes of a body that came compressed."""
_ENCODINGS = ("content-encoding", "content-transfer-encoding")

_POINTERS = (
    "software.amazon.payloadoffloading.PayloadS3Pointer",
    "com.amazon.sqs.javamessaging.MessageS3Pointer",
)
_POINTER_SIZES = (PAYLOAD_SIZE.lower(), "sqslargepayloadsize")
"""The attributes by which AWS's extended clients, new and old, tell a reference."""


class _Attribute(msgspec.Struct, rename="pascal"):
    type: str = "String"
    value: str = ""


class _Sns(msgspec.Struct, rename="pascal"):
    type: str
    message_id: str
    topic_arn: str
    message: str
    subject: str | None = None
    timestamp: str | None = None
    message_attributes: dict[str, _Attribute] = {}


class _EventBridge(msgspec.Struct):
    id: str
    source: str
    detail: msgspec.Raw
    detail_type: str = msgspec.field(name="detail-type")
    time: str | None = None


class _Bucket(msgspec.Struct):
    name: str


class _Object(msgspec.Struct):
    key: str
    sequencer: str = ""
    version_id: str = msgspec.field(default="", name="versionId")


class _Place(msgspec.Struct):
    bucket: _Bucket
    object: _Object


class _S3(msgspec.Struct, rename="camel"):
    event_source: Literal["aws:s3"]
    event_name: str
    s3: _Place
    aws_region: str = ""
    event_time: str | None = None


class _S3Test(msgspec.Struct, rename="pascal"):
    event: Literal["s3:TestEvent"]
    bucket: str = ""


class _Records(msgspec.Struct):
    records: list[msgspec.Raw] = msgspec.field(name="Records")


class _Pointer(msgspec.Struct):
    bucket: str = msgspec.field(name="s3BucketName")
    key: str = msgspec.field(name="s3Key")


_array = msgspec.json.Decoder(list[msgspec.Raw])
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode


def unwrap(
    event: Event,
    wrappings: Collection[Wrapping],
    fetch: Fetch | None,
    *,
    split: bool,
    batches: bool = True,
) -> Sequence[Event]:
    """The events that `event` holds: usually itself alone.

    wrappings: the envelopes that are taken off, each where it is one. split: each element of a JSON
    array is an event. batches: a content type may say that it is a batch. Raises Unfit, PassedOver,
    and what `fetch` raises but NotToBeHad.
    """
    if "sns" in wrappings:
        event = _from_sns(event)
    event = _inflated(_fetched(event, fetch))
    if "eventbridge" in wrappings:
        event = _from_eventbridge(event)
    if "s3" in wrappings and (records := _from_s3(event)) is not None:
        return records
    media = _header(event, "content-type").lower()
    if batches and media.startswith(BATCH):
        headers = (*event.headers, ("content-type", STRUCTURED.encode()))
        return _parts(event, _elements(event.body, "a batch of CloudEvents"), headers)
    if not split or event.body is None:
        return (event,)
    return _split(event, structured=media.startswith(STRUCTURED))


def fetched(fetch: Fetch | None, uri: str, what: str) -> bytes:
    """What lies at `uri`. Raises Unfit where it is not to be had, and what `fetch` raises."""
    if fetch is None:
        raise Unfit(f"{what} lies elsewhere; set FETCH__FROM to have it fetched")
    try:
        return fetch(uri)
    except NotToBeHad as error:
        raise Unfit(f"{what} is not to be had: {error}") from error


def _from_sns(event: Event) -> Event:
    found = _read(event.body, _Sns, b'"TopicArn"')
    if found is None:
        return event  # delivered raw
    if found.type != "Notification":
        raise Unfit(f"is SNS's {found.type[:40]!r}, which is for an operator, and no notification")
    own = headers_of(
        (name, binary(one.value) if one.type == "Binary" else _bytes(one.value))
        for name, one in found.message_attributes.items()
    )
    if found.subject is not None:
        own += (("Subject", _bytes(found.subject)),)
    return msgspec.structs.replace(
        event,
        id=found.message_id,
        body=_bytes(found.message),
        topic=found.topic_arn,
        headers=(*own, *event.headers),
        at=_instant(found.timestamp) or event.at,
    )


def _from_eventbridge(event: Event) -> Event:
    found = _read(event.body, _EventBridge, b'"detail-type"')
    if found is None:
        return event
    headers = _attributes(id=found.id, source=found.source, type=found.detail_type, time=found.time)
    return msgspec.structs.replace(
        event, body=bytes(found.detail), headers=(*event.headers, *headers)
    )


def _from_s3(event: Event) -> Sequence[Event] | None:
    """An event for each record; None if it is no notification of S3."""
    if (test := _read(event.body, _S3Test, b"s3:TestEvent")) is not None:
        raise PassedOver(
            f"the s3:TestEvent of the bucket {test.bucket}, which S3 sends when its notifications "
            "are set up"
        )
    if (one := _read(event.body, _S3, b"aws:s3")) is not None:  # out of the quarantine
        return [_record(event, event.body or b"", one)]
    found = _read(event.body, _Records, b"aws:s3")
    if found is None:
        return None
    records = []
    for number, raw in enumerate(_few(found.records)):
        body = bytes(raw)
        record = _read(body, _S3, b"aws:s3")
        if record is None:
            raise Unfit(f"record {number}: is none of S3's")
        records.append(_record(event, body, record))
    return records


def _record(event: Event, body: bytes, record: _S3) -> Event:
    bucket, found = record.s3.bucket.name, record.s3.object
    # The sequencer orders what happened to a key, and is its own there.
    id_ = f"{bucket}/{found.key}@{found.sequencer or found.version_id} {record.event_name}"
    if not found.sequencer and not found.version_id:
        id_ = f"{event.id} {id_}"
    headers = _attributes(
        id=id_,
        source=f"aws:s3.{record.aws_region}.{bucket}",
        type=f"com.amazonaws.s3.{record.event_name}",
        subject=unquote_plus(found.key),
        time=record.event_time,
    )
    return msgspec.structs.replace(event, id=id_, body=body, headers=(*event.headers, *headers))


def _fetched(event: Event, fetch: Fetch | None) -> Event:
    """`event` with the body that AWS's extended clients left in S3."""
    if not any(name.lower() in _POINTER_SIZES for name, _ in event.headers):
        return event
    try:
        name, where = msgspec.json.decode(event.body or b"", type=tuple[str, _Pointer])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        name = ""
    if name not in _POINTERS:
        raise Unfit(f"body: is no reference to S3, though the header {PAYLOAD_SIZE} says so")
    body = fetched(fetch, f"s3://{where.bucket}/{where.key}", "body:")
    return msgspec.structs.replace(event, body=body)


def _inflated(event: Event) -> Event:
    """`event` with the body that our sinks, or others, compressed."""
    if _header(event, "content-encoding").lower() != "gzip":
        return event
    body, inflate = event.body or b"", zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
    try:
        if _header(event, "content-transfer-encoding").lower() == "base64":
            body = base64.b64decode(body, validate=True)
        body = inflate.decompress(body, LARGEST)
    except (ValueError, zlib.error) as error:
        raise Unfit(f"body: is not gzip, though its content-encoding says so: {error}") from None
    if not inflate.eof:
        raise Unfit(f"body: is cut off, or has more than {LARGEST} bytes once it is inflated")
    headers = tuple(pair for pair in event.headers if pair[0].lower() not in _ENCODINGS)
    return msgspec.structs.replace(event, body=body, headers=headers)


def _split(event: Event, *, structured: bool) -> Sequence[Event]:
    """The elements of an array, each with an identity of its own; `event` if it is no array."""
    body = event.body or b""
    if structured:
        try:
            members = _members.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return (event,)  # which whoever reads it says
        data = bytes(members.get("data", b""))
        if not data.startswith(b"["):
            return (event,)
        id_ = members.get("id", msgspec.Raw(b"null"))
        return _parts(
            event,
            [
                _encode(members | {"data": msgspec.Raw(one), "id": _numbered(id_, number)})
                for number, one in enumerate(_elements(data, "data"))
            ],
            event.headers,
        )
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        return (event,)
    return _parts(event, _elements(body, "body"), event.headers)


def _numbered(id_: msgspec.Raw, number: int) -> Any:
    try:
        return f"{msgspec.json.decode(id_, type=str)}#{number}"
    except msgspec.ValidationError:
        return id_


def _parts(
    event: Event, bodies: Sequence[bytes], headers: Sequence[tuple[str, bytes]]
) -> Sequence[Event]:
    """Events with these bodies, known by their places in `event`."""
    return [
        msgspec.structs.replace(
            event,
            id=f"{event.id}#{number}",
            body=body,
            headers=tuple(
                (name, value + b"#%d" % number if name.lower() in ("ce_id", "ce-id") else value)
                for name, value in headers
            ),
        )
        for number, body in enumerate(bodies)
    ]


def _elements(body: bytes | None, what: str) -> list[bytes]:
    try:
        return [bytes(raw) for raw in _few(_array.decode(body or b""))]
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unfit(f"{what}: is no JSON array: {error}") from None


def _few(parts: list[msgspec.Raw]) -> list[msgspec.Raw]:
    if len(parts) > MOST:
        raise Unfit(f"holds {len(parts)} events; the limit is {MOST}: send them in several")
    return parts


def _read(body: bytes | None, kind: Any, mark: bytes) -> Any:
    """`body` as an envelope of a kind; None if it is none. mark: what each of the kind holds."""
    if body is None or mark not in body:
        return None
    try:
        return msgspec.json.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _attributes(**attributes: str | None) -> tuple[tuple[str, bytes], ...]:
    """Attributes of a CloudEvent in binary mode."""
    return (
        ("ce_specversion", b"1.0"),
        *((f"ce_{name}", _bytes(text)) for name, text in attributes.items() if text is not None),
    )


def _header(event: Event, name: str) -> str:
    found = [value for given, value in event.headers if given.lower() == name]
    return found[-1].decode("latin-1") if found else ""


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _instant(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None
