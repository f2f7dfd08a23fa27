"""What an event says: its body as a job's args, and what templates may ask for.

A CloudEvent is recognised in both of its modes: binary, with its attributes in headers that begin
with `ce_` (Kafka's binding) or `ce-` (HTTP's), and structured, with the whole event in the body. In
both its data are the body, and its `id` and `source` the identity. A batch is taken apart before
(`riverbridge.bridge.unwrap`).
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from datetime import datetime
from operator import attrgetter
from typing import Literal
from urllib.parse import unquote

import msgspec

from riverbridge.bridge.condition import Variables
from riverbridge.bridge.template import Fields, Reader, field
from riverbridge.bridge.unfit import Unfit
from riverbridge.bridge.unwrap import STRUCTURED, fetched
from riverbridge.errors import TemplateError
from riverbridge.model.json_object import object_problem
from riverbridge.sources.base import Event, Fetch

Decoding = Literal["json", "text", "base64"]
"""What a body is: JSON, UTF-8 text, or bytes that go into the args in base64."""

TRACE = ("traceparent", "tracestate")


class Content(msgspec.Struct, frozen=True, gc=False):
    """One event, read. body: the text of the JSON object that a job's args are.

    id, source: its own, or a CloudEvent's. headers: by names in lower case; of several with one
    name the last.
    """

    id: str
    source: str
    identity: str
    body: str
    topic: str
    key: bytes | None
    at: datetime | None
    headers: Mapping[str, bytes]
    type: str | None = None
    subject: str | None = None
    trace: tuple[tuple[str, str], ...] = ()


def read(event: Event, source: str, decoding: Decoding, fetch: Fetch | None = None) -> Content:
    """What `event` of our source `source` says; `fetch` gets data that it only refers to.

    Raises Unfit, and what `fetch` raises.
    """
    headers = {name.lower(): value for name, value in event.headers} if event.headers else {}
    attributes, data = _cloud_event(event.body, headers, fetch) if headers else ({}, None)
    if data is not None:
        body = data
    elif not event.body and "dataref" in attributes:
        body = args_of(fetched(fetch, attributes["dataref"], "the event's data"), decoding)
    else:
        body = args_of(event.body, decoding)
    if not attributes:
        trace = _trace(lambda name: _text_of(headers, name)) if headers else ()
        return Content(
            event.id, source, event.id, body, event.topic, event.key, event.at, headers,
            trace=trace,
        )  # fmt: skip
    origin, id_ = attributes["source"], attributes["id"]
    return Content(
        id_,
        origin,
        f"{origin} {id_}",
        body,
        event.topic,
        event.key,
        _instant(attributes.get("time")) or event.at,
        headers,
        attributes["type"],
        attributes.get("subject"),
        _trace(lambda name: attributes.get(name) or _text_of(headers, name)),
    )


def args_of(body: bytes | None, decoding: Decoding) -> str:
    """The text of the JSON object that stands for `body`. Raises Unfit.

    An object is the args as it is; any other JSON, text, base64, and null for a tombstone become
    `{"value": …}`.
    """
    if body is None:
        return '{"value":null}'
    if decoding == "base64":
        return f'{{"value":"{base64.b64encode(body).decode()}"}}'
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Unfit(f"body: is not UTF-8 at byte {error.start}{_hint(body)}") from None
    if decoding == "text":
        text = f'{{"value":{msgspec.json.encode(text).decode()}}}'
    elif not text.lstrip(" \t\r\n").startswith("{"):
        if (problem := object_problem(f"[{text}]")) and "not an array" not in problem:
            raise Unfit(f"body: {problem}{_hint(body)}")
        text = f'{{"value":{text}}}'
    if (problem := object_problem(text)) is not None:
        raise Unfit(f"body: {problem}")
    return text


def _hint(body: bytes) -> str:
    if body[:1] == b"\0" and len(body) > 5:
        return "; it begins as what a schema registry's serializer writes, which is not plain JSON"
    return ""


def _cloud_event(
    body: bytes | None, headers: Mapping[str, bytes], fetch: Fetch | None
) -> tuple[Mapping[str, str], str | None]:
    """The attributes of a CloudEvent, none if it is none; and its data, where the body has them."""
    media = headers.get("content-type", b"")[:40].lower()
    if media.startswith(STRUCTURED.encode()):
        return _structured(body, fetch)
    prefix = next((p for p in ("ce_", "ce-") if p + "specversion" in headers), None)
    if prefix is None:
        return {}, None
    attributes = {}
    for name in headers:
        if name.startswith(prefix):
            text = _text_of(headers, name) or ""
            # HTTP's binding has what is not plain ASCII as URLs have it.
            attributes[name[3:]] = unquote(text) if prefix == "ce-" and "%" in text else text
    _check(attributes)
    return attributes, None


class _Envelope(msgspec.Struct):
    data: msgspec.Raw = msgspec.Raw(b"")
    data_base64: str | None = None


_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_envelope = msgspec.json.Decoder(_Envelope)
_string = msgspec.json.Decoder(str)


def _structured(body: bytes | None, fetch: Fetch | None) -> tuple[Mapping[str, str], str]:
    try:
        members = _members.decode(body or b"")
        envelope = _envelope.decode(body or b"")
        attributes = {
            name: _string.decode(raw) for name, raw in members.items() if bytes(raw)[:1] == b'"'
        }
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unfit(f"body: is not a structured CloudEvent: {error}") from None
    _check(attributes)
    if envelope.data_base64 is not None:
        try:
            data = base64.b64decode(envelope.data_base64, validate=True)
        except ValueError:
            raise Unfit("body: data_base64 of the CloudEvent is not base64") from None
    elif not bytes(envelope.data) and "dataref" in attributes:
        data = fetched(fetch, attributes["dataref"], "the event's data")
    else:
        return attributes, args_of(bytes(envelope.data) or None, "json")
    media = attributes.get("datacontenttype", "application/json").lower()
    return attributes, args_of(data, "json" if "json" in media else "base64")


def _check(attributes: Mapping[str, str]) -> None:
    for name in ("id", "source", "type"):
        if not attributes.get(name):
            raise Unfit(f"a CloudEvent without {name}: its producer has to set it")


def _trace(value: Callable[[str], str | None]) -> tuple[tuple[str, str], ...]:
    found = ((name, value(name)) for name in TRACE)
    return tuple((name, text) for name, text in found if text)


def _text_of(headers: Mapping[str, bytes], name: str) -> str | None:
    value = headers.get(name)
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise Unfit(f"header {name[:80]!a}: is not UTF-8") from None


def _instant(text: str | None) -> datetime | None:
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        return None


def _key(content: Content) -> str | None:
    try:
        return None if content.key is None else content.key.decode()
    except UnicodeDecodeError:
        raise TemplateError("key: is not UTF-8") from None


def _header(*path: str) -> Reader:
    name = ".".join(path).lower()

    def read(content: Content) -> str | None:
        return _text_of(content.headers, name)

    return read


EVENT = Fields(
    "event",
    {
        "id": attrgetter("id"),
        "source": attrgetter("source"),
        "type": attrgetter("type"),
        "subject": attrgetter("subject"),
        "topic": attrgetter("topic"),
        "key": _key,
        "time": lambda content: None if content.at is None else content.at.isoformat(),
    },
    {
        "body": lambda *path: field("body", *path),
        "headers": _header,
    },
)
"""What a template of a source may ask for."""


def _headers(content: Content) -> dict[str, str]:
    return {name: value.decode("utf-8", "replace") for name, value in content.headers.items()}


def _event(content: Content) -> dict[str, str]:
    found = ((name, read(content)) for name, read in EVENT.columns.items())
    return {name: value for name, value in found if value is not None}


CONDITION = Variables(
    {"event": ("map(string, string)", _event), "headers": ("map(string, string)", _headers)},
    ("body",),
)
"""What a condition of a source may ask for: `event.type`, and so on, by the names templates have.
CEL has a `type` of its own."""
