"""With what options a job may be inserted, and how it becomes a row (contract 3.1, 8.3 and 8.4).

Everything River or the table would refuse is refused here, before anything is sent.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import asdict, replace

from riverbridge.errors import InvalidJob
from riverbridge.model.args import JobArgs, kind_and_json, kind_and_lines
from riverbridge.model.job import Job, JobState
from riverbridge.model.json_object import encoded_problem, object_problem
from riverbridge.model.json_text import encode
from riverbridge.model.marks import unique_paths
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
_SHARED = ("max_attempts", "priority", "queue", "scheduled_at", "tags")


@dataclasses.dataclass(frozen=True, slots=True)
class InsertManyParams:
    """One job of many: its args and its options, which `insert_opts` is another name for."""

    args: JobArgs
    opts: InsertOpts | None = None
    insert_opts: InsertOpts | None = dataclasses.field(default=None, repr=False)

    def __post_init__(self) -> None:
        opts = either_opts(self.opts, self.insert_opts)
        object.__setattr__(self, "opts", opts)
        object.__setattr__(self, "insert_opts", opts)


def either_opts(opts: InsertOpts | None, insert_opts: InsertOpts | None) -> InsertOpts | None:
    """The options of a call, under our name or that of the `riverqueue` package."""
    if opts is not None and insert_opts is not None and opts is not insert_opts:
        raise InvalidJob("opts and insert_opts are the same thing: give one of them")
    return insert_opts if opts is None else opts


class InsertResult(msgspec.Struct, frozen=True, gc=False):
    """The job as its row stands, and whether an earlier one was found in its place."""

    job: Job
    unique_skipped_as_duplicate: bool = False

    @property
    def unique_skipped_as_duplicated(self) -> bool:
        """The same, as the `riverqueue` package spells it."""
        return self.unique_skipped_as_duplicate


class NewJob(msgspec.Struct, frozen=True, gc=False):
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


class AlikeJobs(NewJob, frozen=True):
    """Rows of one kind with the same options, none unique; `args` is a line of JSON for each."""

    count: int = 1


def alike_jobs(args: Sequence[object], *, defaults: InsertOpts | None = None) -> AlikeJobs | None:
    """As `new_job` for each of `args`, in half the time; None where they have to be made singly."""
    chosen = _RIVERS if defaults is None else _chosen(_merged(_NOTHING, defaults))
    if chosen.unique is not None or (found := kind_and_lines(args)) is None:
        return None
    kind, lines = found
    return AlikeJobs(**asdict(replace(chosen.row, kind=kind, args=lines)), count=len(args))


def new_job(
    args: object,
    opts: InsertOpts | None = None,
    *,
    defaults: InsertOpts | None = None,
    now: datetime | None = None,
) -> NewJob:
    """The row for `args`: what the call gives, else the args, else `defaults`, else River.

    Metadata and pending come from the call only (contract 8.4). now: the clock that unique periods
    go by, aware; None is this machine's. Raises InvalidJob.
    """
    own = _own_opts(args)
    chosen = _RIVERS
    if opts is not None or own is not None or defaults is not None:
        chosen = _chosen(_merged(_NOTHING if opts is None else opts, own, defaults))
    key = mask = None
    unique = chosen.unique
    if unique is None:
        kind, json = kind_and_json(args)
    else:
        kind, json = kind_and_json(args, as_go=bool(unique.by_args))
        paths: tuple[str, ...] = ()
        if unique.by_args is True:
            paths = unique_paths(type(args))  # type: ignore[arg-type]  # mypy: no hash
        key = key_of(kind, json, queue=chosen.row.queue, opts=unique, now=now, paths=paths)
        mask = unique.state_mask()
    return replace(chosen.row, kind=kind, args=json, unique_key=key, unique_states=mask)


class _Chosen(msgspec.Struct, frozen=True):
    """All options of a job, checked: a row that lacks only kind and args, and how it is unique."""

    row: NewJob
    unique: UniqueOpts | None


def check_new_job(job: NewJob) -> None:
    """Check a row that `new_job` did not make. Raises InvalidJob."""
    if not isinstance(job, NewJob):
        raise InvalidJob(f"an insert hook must return a NewJob or None, not {type(job).__name__}")
    _refuse("kind", kind_problem(job.kind))
    _refuse("args", object_problem(job.args))
    _whole("max_attempts", job.max_attempts, MAX_ATTEMPTS_DEFAULT, 32767)
    _whole("priority", job.priority, PRIORITY_DEFAULT, 4)
    _queue(job.queue)
    _tags(job.tags)
    _refuse("metadata", object_problem(job.metadata))
    if job.scheduled_at is not None:
        _instant(job.scheduled_at)


def _merged(call: InsertOpts, *others: InsertOpts | None) -> InsertOpts:
    """Of each option what the first of these gives; metadata and pending only from the call."""
    if not isinstance(call, InsertOpts):
        raise InvalidJob(f"opts: must be InsertOpts, not {type(call).__name__}")
    for other in others:
        if other is None:
            continue
        missing = {name: getattr(other, name) for name in _SHARED if getattr(call, name) is None}
        if call.unique_opts is None or _unique(call.unique_opts) is None:
            missing["unique_opts"] = other.unique_opts
        call = dataclasses.replace(call, **missing)
    return call


def _chosen(opts: InsertOpts) -> _Chosen:
    at = None if opts.scheduled_at is None else _instant(opts.scheduled_at)
    state = JobState.AVAILABLE
    if opts.pending:  # wins over scheduled, and any instant means scheduled (transitions T1 to T3)
        state = JobState.PENDING
    elif at is not None:
        state = JobState.SCHEDULED
    row = NewJob(
        "",
        "",
        _whole("max_attempts", opts.max_attempts, MAX_ATTEMPTS_DEFAULT, 32767),
        _whole("priority", opts.priority, PRIORITY_DEFAULT, 4),
        QUEUE_DEFAULT if opts.queue is None else _queue(opts.queue),
        state,
        at,
        () if opts.tags is None else _tags(opts.tags),
        "{}" if opts.metadata is None else _metadata(opts.metadata),
    )
    return _Chosen(row, None if opts.unique_opts is None else _unique(opts.unique_opts))


def _unique(opts: object) -> UniqueOpts | None:
    if not isinstance(opts, UniqueOpts):
        raise InvalidJob(f"unique_opts: must be UniqueOpts, not {type(opts).__name__}")
    return None if opts.is_empty else opts


def _own_opts(args: object) -> InsertOpts | None:
    """What the args' class asks for: a method `insert_opts`, or an attribute of that name."""
    own = getattr(args, "insert_opts", None)
    if own is None or isinstance(own, InsertOpts):
        return own
    if not callable(own):
        return None  # a field of that name
    opts = own()
    if not isinstance(opts, InsertOpts):
        name = type(args).__name__
        raise InvalidJob(f"{name}.insert_opts(): must return InsertOpts, not {type(opts).__name__}")
    return opts


def _refuse(position: str, problem: str | None) -> None:
    if problem is not None:
        raise InvalidJob(f"{position}: {problem}")


# Members of an enum are texts and numbers too, but psycopg would send their names.


def _whole(name: str, value: object, default: int, highest: int) -> int:
    if value is None:
        return default
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidJob(f"{name}: must be a whole number, not {type(value).__name__}")
    if not 1 <= value <= highest:
        raise InvalidJob(f"{name}: {value} is out of range: use 1 to {highest}")
    return int(value)


def _queue(name: str) -> str:
    _refuse("queue", queue_problem(name))
    return str.__str__(name)


def _instant(value: object) -> datetime:
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
    if not isinstance(metadata, Mapping):
        raise InvalidJob(f"metadata: must be a mapping, not {type(metadata).__name__}")
    try:
        text = encode(dict(metadata))
    except UnicodeEncodeError as error:
        raise InvalidJob("metadata: holds half a surrogate pair: send whole characters") from error
    except (ValueError, TypeError) as error:
        raise InvalidJob(f"metadata: has no form in JSON: {error}") from error
    _refuse("metadata", encoded_problem(text))
    return text


_RIVERS = _chosen(_NOTHING)
"""What is chosen where nobody said anything."""
