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

from riverbridge.bridge.condition import Condition
from riverbridge.bridge.content import CONDITION, EVENT, Content, Decoding, read
from riverbridge.bridge.template import Template
from riverbridge.bridge.unfit import PassedOver, Unfit
from riverbridge.bridge.unwrap import Wrapping, unwrap
from riverbridge.errors import ConditionError, InvalidJob, TemplateError
from riverbridge.model.args import RawArgs
from riverbridge.model.options import InsertOpts, NewJob, new_job
from riverbridge.sources.base import Event, Fetch, NotNow

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


def condition(text: str) -> Condition:
    """A condition over an event. Raises ConditionError, and ConfigurationError."""
    return Condition.parse(text, CONDITION)


@dataclass(frozen=True)
class Plan:
    """How events become jobs, as templates over an event.

    kind: one, or several, of each of which an event becomes a job. priority, max_attempts: give a
    number. scheduled_at: an instant as RFC 3339 writes it, with its zone. identity: by what an
    event is known again; by default a CloudEvent's source and id, else the id that its source gives
    it. own_ids: it is always that id, and no batch is taken apart unless `split` says so: what a
    CloudEvent says of itself in headers may not be what was signed. only: a condition; events of
    which it is not true are passed over. unwrap: the envelopes that are taken off. split: each
    element of a JSON array is an event.
    """

    kind: str | Sequence[str]
    queue: str = "default"
    priority: str = "1"
    max_attempts: str = "25"
    scheduled_at: str | None = None
    tags: Sequence[str] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    identity: str | None = None
    own_ids: bool = False
    decoding: Decoding = "json"
    tombstones: Tombstones = "skip"
    only: str | None = None
    unwrap: Sequence[Wrapping] = ()
    split: bool = False


class Mapper:
    """Makes the jobs of one source. The same event always becomes the same. Safe for threads."""

    def __init__(self, source: str, plan: Plan, fetch: Fetch | None = None) -> None:
        """fetch: gets what events only refer to. Raises TemplateError and ConditionError for what
        asks for what no event has, and ConfigurationError where a library is missing."""
        self.source = source
        self._plan = plan
        self._fetch = fetch
        kinds = [plan.kind] if isinstance(plan.kind, str) else plan.kind
        self._kinds = tuple(template(text) for text in kinds)
        self._texts = {
            name: template(text)
            for name, text in (
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
        self._only = None if plan.only is None else condition(plan.only)
        every = (*self._kinds, *self._texts.values(), *self._tags, *self._metadata.values())
        self._constant = all(one.constant is not None for one in every)
        self._like = lru_cache(maxsize=1000)(self._make_like)
        self._always: Sequence[NewJob] | None = None

    @property
    def fetches(self) -> bool:
        """Whether `map` may take as long as a request to another server."""
        return self._fetch is not None

    def map(self, event: Event) -> Sequence[Mapped]:
        """What becomes of `event`: at least one thing. Raises NotNow alone, and for no event."""
        if event.mark:
            return (Mapped(event, b""),)
        try:
            if event.refused:
                raise Unfit(event.refused)
            inner = unwrap(
                event,
                self._plan.unwrap,
                self._fetch,
                split=self._plan.split,
                batches=not self._plan.own_ids,
            )
        except Exception as error:
            return (self._without_job(event, error),)
        if len(inner) == 1:
            return self._jobs(event, inner[0])
        if not inner:
            return (Mapped(event, self.digest(event.id)),)
        return [mapped for one in inner for mapped in self._jobs(one, one)]

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

    def _jobs(self, came: Event, event: Event) -> Sequence[Mapped]:
        """The jobs of a single event. came: what goes into quarantine for it."""
        try:
            if event.body is None and self._plan.tombstones != "job":
                if self._plan.tombstones == "skip":
                    return (Mapped(came, self.digest(event.id)),)
                raise Unfit("a tombstone: it has no body; tombstones=job makes a job of one")
            return self._mapped(came, event)
        except Exception as error:
            return (self._without_job(came, error),)

    def _without_job(self, event: Event, error: Exception) -> Mapped:
        """What becomes of `event`, of which `error` says why it is no job."""
        if isinstance(error, NotNow):
            raise error
        if isinstance(error, PassedOver):
            log.info("source %s: passed over %s", self.source, error)
            return Mapped(event, self.digest(event.id))
        if isinstance(error, Unfit | InvalidJob | TemplateError | ConditionError):
            return self.unfit(event, str(error))
        # A defect of ours costs this event a look at the quarantine and no other anything.
        log.error(
            "source %s: event %.200s could not be mapped", self.source, event.id, exc_info=error
        )
        return self.unfit(event, f"could not be mapped: {type(error).__name__}: {error}")

    def _mapped(self, came: Event, event: Event) -> Sequence[Mapped]:
        content = read(event, self.source, self._plan.decoding, self._fetch)
        if self._only is not None and not self._only.holds(content):
            return (Mapped(came, self.digest(event.id)),)
        likes = self._always
        if likes is None or content.trace:
            likes = self._rendered(content)
            if self._constant and not content.trace:
                self._always = likes
        if self._identity is not None:
            identity = self._identity.render(content)
        else:
            identity = event.id if self._plan.own_ids else content.identity
        return [
            self._one(came, content, like, self._key(identity, number))
            for number, like in enumerate(likes)
        ]

    def _key(self, identity: str, number: int) -> bytes:
        """The unique key of the job of the kind with this number. That of the first is the same
        whether others follow or not, and others have theirs by what they are called here."""
        if not number:
            return self.digest(identity)
        return self.digest(f"{self._kinds[number].text}\0{identity}", "event of several kinds")

    @staticmethod
    def _one(came: Event, content: Content, like: NewJob, digest: bytes) -> Mapped:
        return Mapped(
            came,
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

    def _rendered(self, content: Content) -> Sequence[NewJob]:
        texts = tuple((name, one.render(content)) for name, one in self._texts.items())
        tags = tuple(one.render(content) for one in self._tags)
        metadata = (
            *((name, one.render(content)) for name, one in self._metadata.items()),
            *content.trace,
        )
        return [
            self._like((("kind", kind.render(content)), *texts), tags, metadata)
            for kind in self._kinds
        ]

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
