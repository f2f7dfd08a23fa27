"""Which job an event becomes, and by what it is known again."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from hashlib import sha256
from typing import Literal

import msgspec

from riverbridge.bridge.content import EVENT, Decoding, Unfit, read
from riverbridge.bridge.template import Template
from riverbridge.errors import InvalidJob, TemplateError
from riverbridge.model.args import RawArgs
from riverbridge.model.options import InsertOpts, NewJob, new_job
from riverbridge.sources.base import Event

log = logging.getLogger(__name__)

Tombstones = Literal["skip", "job", "quarantine"]
"""What becomes of an event without a body."""

ANY_STATE = 0xFF
"""The job keeps others with its unique key out as long as its row is there, in whatever state."""

MADE_BY = "riverbridge:source"
"""The key of the metadata that names the source."""


class Mapped(msgspec.Struct, frozen=True, gc=False):
    """An event, and what becomes of it.

    digest: of its identity, which is the job's unique key; of its id where it has no job.
    job: None with a reason is an event that belongs into quarantine, without one it is passed over.
    """

    event: Event
    digest: bytes
    job: NewJob | None = None
    reason: str = ""


def template(text: str) -> Template:
    """A template over an event. Raises TemplateError."""
    return Template.parse(text, known=EVENT)


@dataclass(frozen=True)
class Plan:
    """How events become jobs, as templates over an event.

    priority, max_attempts: give a number. scheduled_at: an instant as RFC 3339 writes it, with its
    zone. identity: by what an event is known again; by default a CloudEvent's source and id, else
    the id that its source gives it.
    """

    kind: str
    queue: str = "default"
    priority: str = "1"
    max_attempts: str = "25"
    scheduled_at: str | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    identity: str | None = None
    decoding: Decoding = "json"
    tombstones: Tombstones = "skip"


class Mapper:
    """Makes the jobs of one source. Pure: the same event always becomes the same."""

    def __init__(self, source: str, plan: Plan) -> None:
        """Raises TemplateError for a template that asks for what no event has."""
        self.source = source
        self._plan = plan
        self._texts = {
            name: template(text)
            for name, text in (
                ("kind", plan.kind),
                ("queue", plan.queue),
                ("priority", plan.priority),
                ("max_attempts", plan.max_attempts),
                ("scheduled_at", plan.scheduled_at),
            )
            if text is not None
        }
        self._tags = tuple(template(text) for text in plan.tags)
        self._metadata = {name: template(text) for name, text in plan.metadata.items()}
        self._identity = None if plan.identity is None else template(plan.identity)
        every = (*self._texts.values(), *self._tags, *self._metadata.values())
        self._constant = all(one.constant is not None for one in every)
        self._like = lru_cache(maxsize=1000)(self._make_like)
        self._always: NewJob | None = None

    def map(self, event: Event) -> Mapped:
        """What becomes of `event`; never raises for one."""
        if event.mark:
            return Mapped(event, b"")
        try:
            if event.body is None and self._plan.tombstones != "job":
                if self._plan.tombstones == "skip":
                    return Mapped(event, self.digest(event.id))
                raise Unfit("a tombstone: it has no body; tombstones=job makes a job of one")
            return self._mapped(event)
        except (Unfit, InvalidJob, TemplateError) as error:
            return self.unfit(event, str(error))
        except Exception as error:
            # A defect of ours costs this event a look at the quarantine and no other anything.
            log.exception("source %s: event %.200s could not be mapped", self.source, event.id)
            return self.unfit(event, f"could not be mapped: {type(error).__name__}: {error}")

    def unfit(self, event: Event, reason: str) -> Mapped:
        """An event for the quarantine. Its digest is none of a job: it may become one later."""
        return Mapped(event, self.digest(event.id, "quarantine"), None, reason)

    def digest(self, identity: str, kind: str = "event") -> bytes:
        """32 bytes that no other event of this or another source has."""
        text = f"riverbridge\0{kind}\0{self.source}\0{identity}"
        return sha256(text.encode("utf-8", "surrogatepass")).digest()

    def queue(self) -> str | None:
        """The queue of all jobs, if it is the same for all."""
        return self._texts["queue"].constant

    def _mapped(self, event: Event) -> Mapped:
        content = read(event, self.source, self._plan.decoding)
        if self._constant and not content.trace:
            like = self._always
            if like is None:
                like = self._always = self._rendered(content)
        else:
            like = self._rendered(content)
        identity = content.identity if self._identity is None else self._identity.render(content)
        digest = self.digest(identity)
        return Mapped(
            event,
            digest,
            NewJob(
                like.kind,
                content.body,
                like.max_attempts,
                like.priority,
                like.queue,
                like.state,
                like.scheduled_at,
                like.tags,
                like.metadata,
                digest,
                ANY_STATE,
            ),
        )

    def _rendered(self, content: object) -> NewJob:
        metadata = [(name, one.render(content)) for name, one in self._metadata.items()]
        metadata += getattr(content, "trace", ())
        return self._like(
            tuple((name, one.render(content)) for name, one in self._texts.items()),
            tuple(one.render(content) for one in self._tags),
            tuple(metadata),
        )

    def _make_like(
        self,
        texts: Sequence[tuple[str, str]],
        tags: Sequence[str],
        metadata: Sequence[tuple[str, str]],
    ) -> NewJob:
        """A checked job with all but its args and its key. Raises InvalidJob."""
        given = dict(texts)
        opts = InsertOpts(
            queue=given["queue"],
            priority=_number("priority", given["priority"]),
            max_attempts=_number("max_attempts", given["max_attempts"]),
            scheduled_at=_instant(given.get("scheduled_at")),
            tags=tags,
            metadata={MADE_BY: self.source, **dict(metadata)},
        )
        return new_job(RawArgs(given["kind"], "{}"), opts)


def _number(name: str, text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise InvalidJob(f"{name}: {text[:40]!r} is no whole number")
    return int(text)


def _instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidJob(
            f"scheduled_at: {text[:40]!r} is no instant; it has to look like 2026-01-02T03:04:05Z"
        ) from None
