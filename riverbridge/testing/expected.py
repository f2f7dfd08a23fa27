"""What a test expects of a job, how far a row is from it, and how that is told."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, NamedTuple, TypedDict

from riverbridge.errors import InvalidRequest
from riverbridge.model.args import kind_and_json
from riverbridge.model.job import Job, JobState
from riverbridge.model.json_text import encode
from riverbridge.worker.decoding import kind_of

NEAREST = 3
"""Rows that a failure shows."""

TOLERANCE = timedelta(seconds=1)

_MISSING = object()


class Expectations(TypedDict, total=False):
    """What is expected beside the kind; what is not given is not looked at.

    args, metadata: what is to be in them; more may be there. In what is nested, too, but lists are
    compared whole. Values may be as a class of args has them, such as instants, or say themselves
    what they are equal to, as `unittest.mock.ANY`. tags: all of them, in order. scheduled_at: an
    aware instant, which the row's may miss by `tolerance`, a second unless given.
    """

    args: Mapping[str, Any]
    queue: str
    priority: int
    tags: Sequence[str]
    scheduled_at: datetime
    tolerance: timedelta
    max_attempts: int
    state: JobState | str
    metadata: Mapping[str, Any]


class Difference(NamedTuple):
    """A field that is not as expected, both sides as text."""

    field: str
    wanted: str
    found: str


@dataclasses.dataclass(frozen=True)
class ExpectedJob:
    """One job that a test expects.

    job: its kind; or a class of args, for the kind it has; or args, all of which count. The other
    fields are those of `Expectations`, None being what is not looked at. Raises InvalidRequest for
    what has no kind, and InvalidJob for args that no row can hold.
    """

    job: object
    args: Mapping[str, Any] | None = None
    queue: str | None = None
    priority: int | None = None
    tags: Sequence[str] | None = None
    scheduled_at: datetime | None = None
    tolerance: timedelta = TOLERANCE
    max_attempts: int | None = None
    state: JobState | str | None = None
    metadata: Mapping[str, Any] | None = None
    kind: str = dataclasses.field(init=False)
    whole_args: Mapping[str, Any] | None = dataclasses.field(init=False, default=None)

    def __post_init__(self) -> None:
        kind, whole = _kind(self.job)
        object.__setattr__(self, "kind", kind)
        object.__setattr__(self, "whole_args", whole)
        if whole is not None and self.args is not None:
            raise InvalidRequest("args: they are given twice: give a class of args, or no args=")
        if self.scheduled_at is not None and self.scheduled_at.utcoffset() is None:
            raise InvalidRequest("scheduled_at: give a datetime with a time zone")

    def differences(self, job: Job) -> list[Difference]:
        """What of `job` is not as expected, field by field; none if it is the one."""
        return [each for each in self._compared(job) if each.wanted != each.found]

    def lines(self) -> Iterator[str]:
        """What is expected, a line each."""
        if self.whole_args is not None:
            yield f"args: {_shown(self.whole_args)}, and no more"
        for name in ("args", "metadata"):
            if (part := getattr(self, name)) is not None:
                yield f"{name}: {_shown(part)} among them"
        for name in ("queue", "priority", "tags", "max_attempts", "state"):
            if (value := getattr(self, name)) is not None:
                yield f"{name}: {_shown(value)}"
        if self.scheduled_at is not None:
            seconds = self.tolerance.total_seconds()
            yield f"scheduled_at: {self.scheduled_at.isoformat()}, give or take {seconds:g} s"

    def _compared(self, job: Job) -> Iterator[Difference]:
        """Every field that is looked at; the sides of one that is as expected are the same."""
        yield Difference("kind", repr(self.kind), repr(job.kind))
        if self.whole_args is not None:
            yield from _compared("args", self.whole_args, job.args, whole=True)
        for name in ("args", "metadata"):
            if (part := getattr(self, name)) is not None:
                yield from _compared(name, part, getattr(job, name), whole=False)
        for name in ("queue", "priority", "max_attempts"):
            if (value := getattr(self, name)) is not None:
                yield Difference(name, _shown(value), _shown(getattr(job, name)))
        if self.tags is not None:
            yield Difference("tags", _shown(list(self.tags)), _shown(job.tags))
        if self.state is not None:
            yield Difference("state", _shown(str(self.state)), _shown(str(job.state)))
        if (at := self.scheduled_at) is not None:
            near = abs(job.scheduled_at - at) <= self.tolerance
            found = at if near else job.scheduled_at
            yield Difference("scheduled_at", at.isoformat(), found.isoformat())


def report(expected: ExpectedJob, jobs: Sequence[Job], others: Sequence[Job]) -> str:
    """That none of `jobs`, all of the kind, is as expected. others: the last of other kinds."""
    lines = [f"no job {expected.kind!r} is in the table with", *_indented(expected.lines())]
    if len(lines) == 1:
        lines = [f"no job {expected.kind!r} is in the table"]
    if jobs:
        nearest = sorted(jobs, key=lambda job: (len(expected.differences(job)), -job.id))[:NEAREST]
        what = "the job of that kind" if len(jobs) == 1 else f"the nearest of {len(jobs)}"
        lines.append(f"{what}:")
        for job in nearest:
            lines.append(f"  job {job.id}")
            differences = expected.differences(job)
            lines += [f"    {d.field}: expected {d.wanted}, found {d.found}" for d in differences]
    elif others:
        lines.append("of other kinds, the last ones:")
        lines += [f"  {outline(job)}" for job in others[:NEAREST]]
    else:
        lines.append("there is no job at all: was it inserted in another transaction or schema?")
    return "\n".join(lines)


def outline(job: Job) -> str:
    """A row in one line."""
    return (
        f"job {job.id} {job.kind!r}, {job.state}, queue {job.queue!r}, priority {job.priority}: "
        f"{_shown(job.args)}"
    )


def _kind(job: object) -> tuple[str, Mapping[str, Any] | None]:
    """The kind, and the args if they are given whole."""
    if isinstance(job, str):
        return job, None
    if not isinstance(job, type):
        kind, text = kind_and_json(job)
        return kind, json.loads(text)
    found = kind_of(job)
    if found is None:
        raise InvalidRequest(f"{job.__name__} has no kind: give the kind, as a text")
    return found, None


def _compared(field: str, wanted: object, found: object, *, whole: bool) -> Iterator[Difference]:
    """A value of JSON, and what is nested in it, key by key."""
    if not isinstance(wanted, Mapping) or not isinstance(found, Mapping):
        same = found is not _MISSING and (_alike(wanted, found) or _alike(_as_json(wanted), found))
        yield Difference(field, _shown(wanted), _shown(wanted if same else found))
        return
    for key in {**wanted, **found} if whole else wanted:
        left, right = wanted.get(key, _MISSING), found.get(key, _MISSING)
        yield from _compared(f"{field}.{key}", left, right, whole=whole)


def _alike(wanted: object, found: object) -> bool:
    """Whether they are equal; in JSON, true is not 1. `unittest.mock.ANY` is equal to all."""
    numbers = isinstance(wanted, int | float) and isinstance(wanted, bool) != isinstance(
        found, bool
    )
    return wanted == found and not numbers


def _as_json(value: object) -> object:
    """As args of that value are in the table: an instant or UUID as its text."""
    try:
        return json.loads(encode([value]))[0]
    except (TypeError, ValueError):
        return value


def _shown(value: object) -> str:
    return "nothing" if value is _MISSING else repr(value)


def _indented(lines: Iterator[str]) -> list[str]:
    return [f"  {line}" for line in lines]
