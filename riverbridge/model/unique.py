"""Which jobs count as the same one: River's unique options, and the key they give (contract 4)."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

from riverbridge.errors import InvalidJob
from riverbridge.model import canonical
from riverbridge.model.job import JobState
from riverbridge.model.json_object import object_problem
from riverbridge.model.names import kind_problem, queue_problem

PERIOD_MAX = timedelta(microseconds=(2**63 - 1) // 1000)
"""The longest duration that Go can hold, 292 years."""

STATE_BITS = {
    JobState.AVAILABLE: 1,
    JobState.CANCELLED: 2,
    JobState.COMPLETED: 4,
    JobState.DISCARDED: 8,
    JobState.PENDING: 16,
    JobState.RETRYABLE: 32,
    JobState.RUNNING: 64,
    JobState.SCHEDULED: 128,
}
STATES_DEFAULT = 0xFF - STATE_BITS[JobState.CANCELLED] - STATE_BITS[JobState.DISCARDED]
STATES_REQUIRED = (JobState.AVAILABLE, JobState.PENDING, JobState.RUNNING, JobState.SCHEDULED)

_SECOND = timedelta(seconds=1)
_YEAR_1 = datetime(1, 1, 1, tzinfo=UTC)


@dataclasses.dataclass(frozen=True, slots=True)
class UniqueOpts:
    """What two jobs have in common to be the same job, of which only the first is inserted.

    by_args: True for all args, or for those whose fields are marked `Unique`; or a list of paths in
    their JSON, keys joined by dots: others do not count. by_period: a duration of at least a second
    (a number is seconds), counted from 0001-01-01 UTC; both jobs are inserted in the same one.
    by_queue: the same queue. by_state: in which states the first one keeps others out; available,
    pending, running and scheduled must be among them; by default all but cancelled and discarded.
    exclude_kind: jobs of other kinds count too.

    With none of the first four the job is not unique, whatever `exclude_kind` says (contract 4.1).
    Raises InvalidJob naming the field.
    """

    by_args: bool | Sequence[str] = False
    by_period: timedelta | int | None = None
    by_queue: bool = False
    by_state: Sequence[JobState] | None = None
    exclude_kind: bool = False

    def __post_init__(self) -> None:
        for name in ("by_queue", "exclude_kind"):
            _check_flag(name, getattr(self, name))
        object.__setattr__(self, "by_args", _paths(self.by_args))
        _check_period(self.by_period)
        object.__setattr__(self, "by_state", _states(self.by_state))

    @property
    def is_empty(self) -> bool:
        """Whether a job with these options is not unique at all."""
        return not (self.by_args or self.by_period or self.by_queue or self.by_state is not None)

    def state_mask(self) -> int:
        """`by_state` as the bits of the column `unique_states` (contract 4.5)."""
        if not self.by_state:
            return STATES_DEFAULT
        return sum(STATE_BITS[state] for state in set(self.by_state))


def unique_key(
    kind: str, args_json: str, *, queue: str, unique_opts: UniqueOpts, now: datetime
) -> bytes | None:
    """The 32 bytes River's Go client puts into `unique_key`, or None if the job is not unique.

    args_json: the exact text, of which values are copied as they stand: spacing, order and spelling
    inside of them count. Go's own is compact, with `<`, `>`, `&`, U+2028 and U+2029 escaped. now:
    the clock at the insert, aware; a job's schedule does not count (contract 4.4). The period is
    written in UTC, as by Go where TZ is UTC.

    Like Go's: keys of the top level sorted by bytes and no others; keys with a control character,
    `"` or any non-ASCII character escaped as a whole, and `<b` in no other; paths that are missing
    left out; no path there at all giving the empty text. Refused with InvalidJob, as Go garbles or
    forgets them (contract 4.3): counted keys that are empty, begin with `:`, `!`, `[` or `{` or
    hold one of `. * ? | # @ \\`; a key there twice; paths with a number for a key. Also all that
    an insert would refuse.
    """
    _refuse("kind", kind_problem(kind))
    _refuse("queue", queue_problem(queue))
    _refuse("args", object_problem(args_json))
    if not isinstance(unique_opts, UniqueOpts):
        raise InvalidJob(f"unique_opts: must be UniqueOpts, not {type(unique_opts).__name__}")
    # Members of an enum are texts too, but would be written by their names.
    kind, args_json, queue = str.__str__(kind), str.__str__(args_json), str.__str__(queue)
    return key_of(kind, args_json, queue=queue, opts=unique_opts, now=now)


def key_of(
    kind: str,
    args_json: str,
    *,
    queue: str,
    opts: UniqueOpts,
    now: datetime | None,
    paths: Sequence[str] = (),
) -> bytes | None:
    """As `unique_key`, of what was checked. paths: what the class of the args marks `Unique`."""
    if opts.is_empty:
        return None
    text = b"" if opts.exclude_kind else b"&kind=" + kind.encode()
    if opts.by_args:
        counted = paths if opts.by_args is True else opts.by_args
        args = canonical.chosen(args_json, counted) if counted else canonical.whole(args_json)
        text += b"&args=" + args
    if opts.by_period:
        text += b"&period=" + _period(opts.by_period, now).encode()
    if opts.by_queue:
        text += b"&queue=" + queue.encode()
    return sha256(text).digest()


def _period(period: timedelta | int, now: datetime | None) -> str:
    if now is None:
        now = datetime.now(UTC)
    elif not isinstance(now, datetime) or now.utcoffset() is None:
        raise InvalidJob("now: must be a datetime with a time zone")
    length = period if isinstance(period, timedelta) else timedelta(seconds=period)
    at = now.astimezone(UTC)
    began = at - (at - _YEAR_1) % length
    return began.isoformat()[:19] + "Z"


def _check_flag(name: str, value: object) -> None:
    if not isinstance(value, bool):
        raise InvalidJob(f"unique_opts.{name}: must be True or False, not {type(value).__name__}")


def _paths(by_args: Any) -> bool | tuple[str, ...]:
    if isinstance(by_args, bool):
        return by_args
    if isinstance(by_args, str) or not isinstance(by_args, Sequence):
        raise InvalidJob(
            "unique_opts.by_args: must be True, False or a list of paths, "
            f"not {type(by_args).__name__}"
        )
    if not by_args:
        raise InvalidJob("unique_opts.by_args: the list has no path: give one, or True for all")
    for index, path in enumerate(by_args):
        _refuse(f"unique_opts.by_args[{index}]", canonical.path_problem(path))
    return tuple(sorted(set(by_args)))


def _check_period(period: object) -> None:
    if period is None:
        return
    if not isinstance(period, timedelta | int) or isinstance(period, bool):
        raise InvalidJob(
            "unique_opts.by_period: must be a timedelta or a whole number of seconds, "
            f"not {type(period).__name__}"
        )
    try:
        length = period if isinstance(period, timedelta) else timedelta(seconds=period)
    except OverflowError:
        length = timedelta.max
    if length and not _SECOND <= length <= PERIOD_MAX:
        raise InvalidJob(
            f"unique_opts.by_period: {period} is out of range: use 1 second to 292 years"
        )


def _states(by_state: Any) -> tuple[JobState, ...] | None:
    if by_state is None:
        return None
    if isinstance(by_state, str) or not isinstance(by_state, Sequence):
        raise InvalidJob(
            f"unique_opts.by_state: must be a list of states, not {type(by_state).__name__}"
        )
    known = []
    for index, state in enumerate(by_state):
        try:
            known.append(JobState(state))
        except ValueError:
            raise InvalidJob(
                f"unique_opts.by_state[{index}]: {state!r} is no state of a job: use one of "
                + ", ".join(JobState)
            ) from None
    missing = [state for state in STATES_REQUIRED if state not in known]
    if known and missing:
        raise InvalidJob(
            "unique_opts.by_state: must contain available, pending, running and scheduled; "
            f"missing: {', '.join(missing)}"
        )
    return tuple(known)


def _refuse(position: str, problem: str | None) -> None:
    if problem is not None:
        raise InvalidJob(f"{position}: {problem}")
