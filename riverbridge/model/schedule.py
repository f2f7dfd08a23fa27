"""When a periodic job runs, and what becomes of runs that nobody was there for (contract 7.4).

A schedule is asked for the run after an instant, never for the runs of a day: so it needs no state,
and any object with `next` is one. Every instant is aware.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, NamedTuple, Protocol
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from riverbridge.errors import ConfigurationError

FOREVER = datetime.max.replace(tzinfo=UTC)
"""The run that never comes."""

MARGIN = timedelta(milliseconds=100)
"""How much before its time a run counts as due, so that one wake-up serves all of an instant."""

LATE = timedelta(seconds=60)
"""A run that is later than this was missed; a change of leader after a crash takes up to 16 s."""

RUNS_AT_ONCE = 1000
"""The most runs of one job that are looked at in one go."""

Missed = Literal["run_once", "run_all", "skip"]
"""What becomes of missed runs: one run for all of them, each of them, or none."""


class Schedule(Protocol):
    """When something runs again."""

    def next(self, after: datetime) -> datetime:
        """The first run later than `after`; both have a time zone. Quick, and always the same."""
        ...


@dataclass(frozen=True, slots=True)
class PeriodicInterval:
    """Every so often, counted from the start: the first run comes one interval after it.

    Raises ConfigurationError for less than a second.
    """

    every: timedelta

    def __post_init__(self) -> None:
        if self.every < timedelta(seconds=1):
            raise ConfigurationError(f"an interval of {self.every} is too short: use 1 s or more")

    def next(self, after: datetime) -> datetime:
        try:
            return after + self.every
        except OverflowError:
            return FOREVER


@dataclass(frozen=True, slots=True)
class CronSchedule:
    """The five fields of cron, read in a time zone: minute, hour, day of month, month, weekday.

    Read as Debian's cron reads them, so too when the clocks change: a fixed time that is skipped
    runs at once when the clocks have moved on, one that comes twice runs the first time, and what
    begins with `*` in the field of minutes or hours runs by real time.

    zone: a name of the time zone database, such as `Europe/Berlin`. Raises ConfigurationError for
    an expression that cannot be read or never comes, and for a zone that is not known here.
    """

    expression: str
    zone: str = "UTC"

    def __post_init__(self) -> None:
        # The text is the schedule's identity (`fingerprint`), and spaces do not change it.
        object.__setattr__(self, "expression", " ".join(self.expression.split()))
        fields = len(self.expression.split())
        if fields != 5:
            raise ConfigurationError(
                f"cron expression {self.expression!r} has {fields} fields; it needs 5:"
                " minute, hour, day of month, month, day of week"
            )
        try:
            ZoneInfo(self.zone)
        except (KeyError, ValueError, OSError) as error:
            raise ConfigurationError(
                f"time zone {self.zone!r} is not known here: give a name such as Europe/Berlin, and"
                " where the system has no time zone database install the package tzdata"
            ) from error
        try:
            first = self.next(datetime(2000, 1, 1, tzinfo=UTC))
        except (CronSimError, ValueError) as error:
            raise ConfigurationError(
                f"cron expression {self.expression!r} cannot be read: {error}"
            ) from error
        if first == FOREVER:
            raise ConfigurationError(f"cron expression {self.expression!r} matches no day at all")

    def next(self, after: datetime) -> datetime:
        try:
            for found in CronSim(self.expression, after.astimezone(ZoneInfo(self.zone))):
                run = found.astimezone(UTC)
                # In an hour that comes twice the search begins in the first, which may be over.
                if run > after:
                    return run
        except OverflowError:  # past the year 9999
            pass
        return FOREVER


@dataclass(frozen=True, slots=True)
class NeverSchedule:
    """No run at all: for a job that runs only when a leader starts."""

    def next(self, after: datetime) -> datetime:
        return FOREVER


class Due(NamedTuple):
    """The runs to be made now, in order, and when the one after them is due."""

    runs: Sequence[datetime]
    next: datetime


def runs_due(schedule: Schedule, first: datetime, now: datetime, missed: Missed) -> Due:
    """What to do at `now` about a job whose next run is `first`.

    Runs up to a minute late are made, each. Those before that were missed, and `missed` decides:
    `run_once` makes the last of them. No more than `RUNS_AT_ONCE` come at a time; `next` is then
    due already. Where only few of the missed runs matter no more than that many are counted, and
    the schedule then goes on from a minute ago.

    Raises ConfigurationError for a schedule that does not go forward.
    """
    runs: list[datetime] = []
    at, passed = first, 0
    while at < now + MARGIN and len(runs) < RUNS_AT_ONCE:
        if at >= now - LATE or missed == "run_all":
            runs.append(at)
        elif missed == "run_once":
            runs = [at]
        passed += 1
        skips = passed >= RUNS_AT_ONCE and missed != "run_all" and at < now - LATE
        at = following(schedule, now - LATE if skips else at)
    return Due(runs, at)


def following(schedule: Schedule, after: datetime) -> datetime:
    """The run after `after`. Raises ConfigurationError if what the schedule says cannot be one."""
    found = schedule.next(after)
    if not isinstance(found, datetime) or found.utcoffset() is None or found <= after:
        raise ConfigurationError(
            f"the schedule {schedule!r} gives {found!r} as the run after {after.isoformat()}:"
            " it must give a later datetime, with a time zone"
        )
    return found.astimezone(UTC)


def fingerprint(schedule: Schedule) -> str:
    """What tells one schedule from another, in any process: its `repr`.

    Raises ConfigurationError where that is an address in memory.
    """
    text = repr(schedule)
    if " at 0x" in text:
        raise ConfigurationError(
            f"the schedule {text} of a durable job says nothing of itself: give its class a"
            " __repr__ that tells when it runs (a dataclass has one), as by it a changed schedule"
            " is noticed"
        )
    return text
