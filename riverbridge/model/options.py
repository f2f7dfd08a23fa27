"""With what options a job may be inserted, and how it becomes a row (contract 3.1, 8.3 and 8.4).

Everything River or the table would refuse is refused here, before anything is sent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from riverbridge.errors import InvalidJob
from riverbridge.model.args import kind_and_json
from riverbridge.model.job import Job, JobState
from riverbridge.model.json_object import encode_object, object_problem
from riverbridge.model.names import kind_problem, queue_problem, tag_problem
from riverbridge.model.unique import UniqueOpts, key_of

MAX_ATTEMPTS_DEFAULT = 25
PRIORITY_DEFAULT = 1
QUEUE_DEFAULT = "default"


@dataclasses.dataclass(frozen=True, slots=True)
class InsertOpts:
    """How a job is inserted; None leaves it to the args' own `insert_opts()`, then to River.

    max_attempts: 1 to 32767, 25 by default. priority: 1 (first) to 4. queue: `default` by default.
    scheduled_at: an instant with time zone; given at all, even in the past, the job starts
    `scheduled`. tags: replace those of the args, they are not merged. unique_opts: as a whole, too;
    empty ones are as none. metadata: a JSON object. pending: the job starts `pending` and waits for
    something to make it available.
    """

    max_attempts: int | None = None
    priority: int | None = None
    queue: str | None = None
    scheduled_at: datetime | None = None
    tags: Sequence[str] | None = None
    unique_opts: UniqueOpts | None = None
    _: dataclasses.KW_ONLY
    metadata: Mapping[str, Any] | None = None
    pending: bool = False


_NOTHING = InsertOpts()


@dataclasses.dataclass(frozen=True, slots=True)
class InsertManyParams:
    """One job of many: its args and its options."""

    args: object
    opts: InsertOpts | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class InsertResult:
    """The job as its row stands, and whether an earlier one was found in its place."""

    job: Job
    unique_skipped_as_duplicate: bool = False


class NewJob(msgspec.Struct, frozen=True):
    """One row to insert, checked. `args` and `metadata` are JSON text.

    scheduled_at: None is the database's now. unique_key: 32 bytes; unique_states: the bits of the
    column; both are None for a job that is not unique (contract 4).
    """

    kind: str
    args: str
    max_attempts: int
    priority: int
    queue: str
    state: JobState
    scheduled_at: datetime | None
    tags: tuple[str, ...]
    metadata: str
    unique_key: bytes | None = None
    unique_states: int | None = None


def new_job(
    args: object,
    opts: InsertOpts | None = None,
    *,
    defaults: InsertOpts | None = None,
    now: datetime | None = None,
    where: str = "",
) -> NewJob:
    """The row for `args`: what the call gives, else the args, else `defaults`, else River.

    Metadata and pending come from the call only (contract 8.4). now: the clock that unique periods
    go by, aware; None is this machine's. where: what an error's message begins with, such as
    `job 3 of 10: `. Raises InvalidJob.
    """
    try:
        return _new_job(args, opts or _NOTHING, defaults or _NOTHING, now)
    except InvalidJob as error:
        if not where:
            raise
        raise InvalidJob(f"{where}{error}") from error.__cause__


def _new_job(args: object, call: InsertOpts, defaults: InsertOpts, now: datetime | None) -> NewJob:
    kind, json = kind_and_json(args)
    _refuse("kind", kind_problem(kind))
    _refuse("args", object_problem(json))
    if not isinstance(call, InsertOpts):
        raise InvalidJob(f"opts: must be InsertOpts, not {type(call).__name__}")
    layers = (call, _own_opts(args), defaults)
    max_attempts = _first([each.max_attempts for each in layers], MAX_ATTEMPTS_DEFAULT)
    priority = _first([each.priority for each in layers], PRIORITY_DEFAULT)
    queue = _first([each.queue for each in layers], QUEUE_DEFAULT)
    _refuse("max_attempts", _range_problem(max_attempts, 32767))
    _refuse("priority", _range_problem(priority, 4))
    _refuse("queue", queue_problem(queue))
    scheduled_at = _instant(_first([each.scheduled_at for each in layers], None))
    # Pending wins over scheduled, and any instant makes it scheduled (transitions T1 to T3).
    state = JobState.AVAILABLE if scheduled_at is None else JobState.SCHEDULED
    # Members of an enum are texts and numbers too, but psycopg would send their names.
    kind, json, queue = str.__str__(kind), str.__str__(json), str.__str__(queue)
    unique = _unique(layers)
    return NewJob(
        kind=kind,
        args=json,
        max_attempts=int(max_attempts),
        priority=int(priority),
        queue=queue,
        state=JobState.PENDING if call.pending else state,
        scheduled_at=scheduled_at,
        tags=_tags(_first([each.tags for each in layers], ())),
        metadata=_metadata(call.metadata),
        unique_key=None
        if unique is None
        else key_of(kind, json, queue=queue, opts=unique, now=now),
        unique_states=None if unique is None else unique.state_mask(),
    )


def _unique(layers: Iterable[InsertOpts]) -> UniqueOpts | None:
    """The first options that make the job unique, as a whole (contract 8.4)."""
    for opts in layers:
        if (unique := opts.unique_opts) is None:
            continue
        if not isinstance(unique, UniqueOpts):
            raise InvalidJob(f"unique_opts: must be UniqueOpts, not {type(unique).__name__}")
        if not unique.is_empty:
            return unique
    return None


def _own_opts(args: object) -> InsertOpts:
    """What the args' class asks for, in the way of riverqueue-python: a method `insert_opts`."""
    method = getattr(args, "insert_opts", None)
    if not callable(method):
        return _NOTHING
    opts = method()
    if not isinstance(opts, InsertOpts):
        name = type(args).__name__
        raise InvalidJob(f"{name}.insert_opts(): must return InsertOpts, not {type(opts).__name__}")
    return opts


def _first(values: Iterable[Any], default: Any) -> Any:
    return next((value for value in values if value is not None), default)


def _refuse(position: str, problem: str | None) -> None:
    if problem is not None:
        raise InvalidJob(f"{position}: {problem}")


def _range_problem(value: object, highest: int) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return f"must be a whole number, not {type(value).__name__}"
    if not 1 <= value <= highest:
        return f"{value} is out of range: use 1 to {highest}"
    return None


def _instant(value: object) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise InvalidJob(f"scheduled_at: must be a datetime, not {type(value).__name__}")
    if value.utcoffset() is None:
        raise InvalidJob(
            f"scheduled_at: {value.isoformat()} has no time zone: give one, "
            "such as datetime.now(timezone.utc)"
        )
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise InvalidJob(
            f"scheduled_at: {value.isoformat()} is outside the years 1 to 9999 in UTC"
        ) from None


def _tags(tags: object) -> tuple[str, ...]:
    if isinstance(tags, str) or not isinstance(tags, Sequence):
        raise InvalidJob(f"tags: must be a list of texts, not {type(tags).__name__}")
    for index, tag in enumerate(tags):
        _refuse(f"tags[{index}]", tag_problem(tag))
    return tuple(str.__str__(tag) for tag in tags)


def _metadata(metadata: object) -> str:
    if metadata is None:
        return "{}"
    if not isinstance(metadata, Mapping):
        raise InvalidJob(f"metadata: must be a mapping, not {type(metadata).__name__}")
    try:
        text = encode_object(dict(metadata))
    except (ValueError, TypeError) as error:
        raise InvalidJob(f"metadata: has no form in JSON: {error}") from error
    _refuse("metadata", object_problem(text))
    return text
