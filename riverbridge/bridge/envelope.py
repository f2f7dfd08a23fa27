"""How a job becomes a message. The args are always Postgres' own text of them, byte for byte."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

import msgspec

from riverbridge.bridge.body import Body
from riverbridge.bridge.template import Template, field
from riverbridge.errors import TemplateError
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Cancelled
from riverbridge.sinks.base import REPLAY, Message, headers_problem
from riverbridge.sinks.cloud_event import event

EnvelopeKind = Literal[
    "cloudevents", "cloudevents-structured", "debezium", "job", "raw", "template"
]
"""`cloudevents`: CloudEvents 1.0, binary mode, attributes as `ce_…` headers;
`cloudevents-structured`: all of the event in the body. `debezium`: what Debezium's outbox event
router makes: the args, and the event id in the header `id`. `job`: the whole row, as a JSON object.
`raw`: the args and one header, `event-id`. `template`: a body of the user's own."""

Stamp = Literal["now", "created_at", "scheduled_at"]
"""What a message's own time is; `now` leaves it to the sink."""

KINDS_KEPT = 1000
"""Kinds whose header is kept ready."""

_TRACE = tuple((name, field("metadata", name)) for name in ("traceparent", "tracestate"))
_given_id = field("metadata", "event_id")
_tombstone = field("metadata", "tombstone")
_expires_at = field("metadata", "expires_at")
_replay = field("metadata", "riverbridge:replay")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
_PARTITION = re.compile("[0-9]{1,9}")
_encode = msgspec.json.Encoder().encode
_instant = msgspec.json.Decoder(datetime)


class Envelope:
    """Renders the messages of one route for one sink."""

    def __init__(
        self,
        kind: EnvelopeKind,
        *,
        source: str,
        destination: Template | None = None,
        key: Template | None = None,
        headers: Mapping[str, Template] | None = None,
        body: Body | None = None,
        content_type: str | None = None,
        timestamp: Stamp = "now",
        partition: Template | None = None,
    ) -> None:
        """source: the events' source name, the same on every process and attempt. body: for
        `template`. content_type: in place of the envelope's own. partition: gives a whole number.
        """
        self._kind = kind
        self._source = source
        self._destination = destination or Template.parse("")
        self._fixed_destination = self._destination.constant
        self._key = key
        self._headers = tuple((headers or {}).items())
        self._fixed = (
            ("ce_specversion", "1.0"),
            ("ce_source", source),
            ("content-type", content_type or "application/json"),
        )
        self._body = body if kind == "template" else None
        self._content_type = content_type
        self._stamp = timestamp
        self._partition = partition
        self._placed = partition is not None or timestamp != "now"
        # Jobs of a batch share kinds and often their instant; made once, these cost nothing.
        self._types: dict[str, tuple[str, str]] = {}
        self._time: tuple[bytes, tuple[str, str]] = (b"", ("", ""))

    def render(self, job: ClaimedJob) -> Message:
        """The message for `job`; raises TemplateError where a template has no value for it."""
        id_ = event_id(self._source, job)
        if self._kind == "cloudevents":
            headers: tuple[tuple[str, str], ...] = (
                ("ce_id", id_),
                self._types.get(job.kind) or self._type(job.kind),
                self._instant(job),
                *self._fixed,
            )
            body: bytes | None = job.args.encode()
        else:
            headers, body = self._wrapped(job, id_)
        if '"tombstone"' in job.metadata and _tombstone(job) == "true":
            body = None
        if '"trace' in job.metadata:
            headers += tuple(
                (name, value)
                for name, read in _TRACE
                # One that no header can carry is worth less than the job: it stays behind.
                if (value := read(job)) and value.isprintable()
            )
        if '"riverbridge:replay"' in job.metadata and (number := _replayed(job)):
            headers += ((REPLAY, number),)
        if self._headers:
            headers += tuple(
                (name, _header(template.render(job), f"header {name}"))
                for name, template in self._headers
            )
            if problem := headers_problem(headers):
                raise TemplateError(problem)
        message = Message(
            id_,
            body,
            self._fixed_destination or self._destination.render(job),
            None if self._key is None else self._key.render(job),
            headers,
        )
        return self._place(message, job) if self._placed else message

    def _place(self, message: Message, job: ClaimedJob) -> Message:
        """The message with the time and the partition that the sink is to give it."""
        at = partition = None
        if self._stamp != "now":
            at = job.created_at if self._stamp == "created_at" else job.scheduled_at
        if self._partition is not None:
            text = self._partition.render(job)
            if not _PARTITION.fullmatch(text):
                raise TemplateError(
                    f"the partition {text[:80]!r} (of {self._partition.text!r}) is no whole number "
                    "of at most nine digits"
                )
            partition = int(text)
        return msgspec.structs.replace(message, timestamp=at, partition=partition)

    def _wrapped(self, job: ClaimedJob, id_: str) -> tuple[tuple[tuple[str, str], ...], bytes]:
        """Headers and body of the rarer kinds."""
        if self._kind in ("raw", "debezium"):
            id_header = ("id" if self._kind == "debezium" else "event-id", id_)
            typed = self._content_type and ("content-type", self._content_type)
            return (id_header, typed) if typed else (id_header,), job.args.encode()
        if self._kind in ("job", "template"):
            made = _row(job) if self._body is None else self._body.render(job, id_)
            return (("event-id", id_), self._fixed[-1]), made
        attributes = {
            "specversion": "1.0",
            "id": id_,
            "source": self._source,
            "type": job.kind,
            "time": self._instant(job)[1],
            "datacontenttype": "application/json",
        }
        if '"trace' in job.metadata:
            attributes |= {name: value for name, read in _TRACE if (value := read(job))}
        body = event(attributes, job.args.encode())
        return (("content-type", "application/cloudevents+json; charset=UTF-8"),), body

    def _type(self, kind: str) -> tuple[str, str]:
        if len(self._types) >= KINDS_KEPT:
            self._types.clear()
        header = self._types[kind] = ("ce_type", _header(kind, "the job's kind"))
        return header

    def _instant(self, job: ClaimedJob) -> tuple[str, str]:
        """RFC 3339 in UTC, as CloudEvents wants it."""
        known, header = self._time
        if known != job.created:
            header = ("ce_time", job.created_at.isoformat()[:-6] + "Z")
            self._time = (job.created, header)
        return header


def event_id(source: str, job: ClaimedJob) -> str:
    """The id of the job's event, the same on every attempt: the inserter's own, which is `event_id`
    of the metadata, else one of ours. Raises TemplateError for one that no header can carry.
    """
    if '"event_id"' in job.metadata and (given := _given_id(job)):
        return _header(given, "metadata.event_id")
    return f"{source}:{job.id}"


def bare(source: str, job: ClaimedJob) -> Message:
    """The args alone, with the event's id: what is left of a job that cannot be rendered."""
    try:
        id_ = event_id(source, job)
    except TemplateError:
        id_ = f"{source}:{job.id}"
    return Message(id_, job.args.encode(), headers=(("event-id", id_),))


def expired(job: ClaimedJob) -> Cancelled | None:
    """What becomes of a job that is not to be delivered any more: its metadata's `expires_at`.

    That is an instant as RFC 3339 has it. Raises TemplateError for what is none, as nobody could
    say then whether the job may still go out.
    """
    if (text := _expires_at(job)) is None:
        return None
    try:
        instant = _instant.decode(_encode(text))
        if instant.tzinfo is None:
            raise ValueError("it has no time zone")
    except ValueError as error:
        raise TemplateError(
            f"metadata.expires_at: {text[:80]!r} is no instant ({error}); "
            "write it as 2026-01-02T03:04:05Z"
        ) from error
    if instant > datetime.now(UTC):
        return None
    return Cancelled(f"not delivered: it expired at {text}")


def _replayed(job: ClaimedJob) -> str | None:
    """How often the job was replayed, if it was; what is no such number is taken for none."""
    try:
        number = _replay(job)
    except TemplateError:
        return None
    return number if number and _NUMBER.fullmatch(number) else None


def _row(job: ClaimedJob) -> bytes:
    """The row as the claim read it; `attempt` is the one that is under way."""
    return _encode(
        {
            "id": job.id,
            "kind": job.kind,
            "queue": job.queue,
            "priority": job.priority,
            "attempt": job.attempt + 1,
            "max_attempts": job.max_attempts,
            "created_at": job.created_at,
            "scheduled_at": job.scheduled_at,
            "tags": job.tags.split(",") if job.tags else [],
            "args": msgspec.Raw(job.args.encode()),
            "metadata": msgspec.Raw(job.metadata.encode()),
        }
    )


def _header(value: str, what: str) -> str:
    if "\r" in value or "\n" in value or "\x00" in value:
        raise TemplateError(f"{what} holds a line break or NUL, which a header cannot carry")
    return value
