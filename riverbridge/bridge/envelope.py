"""How a job becomes a message. The body is always Postgres' own text of the args, byte for byte."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from riverbridge.bridge.template import Template, field
from riverbridge.errors import TemplateError
from riverbridge.model.job import ClaimedJob
from riverbridge.sinks.base import Message, headers_problem

EnvelopeKind = Literal["cloudevents", "raw"]
"""`cloudevents`: CloudEvents 1.0, binary mode, attributes as `ce_…` headers. `raw`: the args and
one header, `event-id`."""

KINDS_KEPT = 1000
"""Kinds whose header is kept ready."""

_TRACE = tuple((name, field("metadata", name)) for name in ("traceparent", "tracestate"))
_given_id = field("metadata", "event_id")


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
    ) -> None:
        """source: the events' source name, the same on every process and attempt."""
        self._kind = kind
        self._source = source
        self._destination = destination or Template.parse("")
        self._fixed_destination = self._destination.constant
        self._key = key
        self._headers = tuple((headers or {}).items())
        self._fixed = (
            ("ce_specversion", "1.0"),
            ("ce_source", source),
            ("content-type", "application/json"),
        )
        # Jobs of a batch share kinds and often their instant; made once, these cost nothing.
        self._types: dict[str, tuple[str, str]] = {}
        self._time: tuple[bytes, tuple[str, str]] = (b"", ("", ""))

    def render(self, job: ClaimedJob) -> Message:
        """The message for `job`; raises TemplateError where a template has no value for it."""
        id_ = f"{self._source}:{job.id}"
        if '"event_id"' in job.metadata and (given := _given_id(job)):
            # The inserter's own, equal on every attempt as ours is.
            id_ = _header(given, "metadata.event_id")
        if self._kind == "cloudevents":
            headers: tuple[tuple[str, str], ...] = (
                ("ce_id", id_),
                self._types.get(job.kind) or self._type(job.kind),
                self._instant(job),
                *self._fixed,
            )
        else:
            headers = (("event-id", id_),)
        if '"trace' in job.metadata:
            headers += tuple(
                (name, value)
                for name, read in _TRACE
                # One that no header can carry is worth less than the job: it stays behind.
                if (value := read(job)) and value.isprintable()
            )
        if self._headers:
            headers += tuple(
                (name, _header(template.render(job), f"header {name}"))
                for name, template in self._headers
            )
            if problem := headers_problem(headers):
                raise TemplateError(problem)
        return Message(
            id_,
            job.args.encode(),
            self._fixed_destination or self._destination.render(job),
            None if self._key is None else self._key.render(job),
            headers,
            None,
        )

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


def _header(value: str, what: str) -> str:
    if "\r" in value or "\n" in value or "\x00" in value:
        raise TemplateError(f"{what} holds a line break or NUL, which a header cannot carry")
    return value
