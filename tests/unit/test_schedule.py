"""When periodic jobs run: intervals, cron over both changes of the clocks, and missed runs."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from riverbridge.errors import ConfigurationError
from riverbridge.model.schedule import (
    FOREVER,
    LATE,
    MARGIN,
    RUNS_AT_ONCE,
    CronSchedule,
    Missed,
    NeverSchedule,
    PeriodicInterval,
    Schedule,
    fingerprint,
    following,
    runs_due,
)

BERLIN = ZoneInfo("Europe/Berlin")
SPRING = (datetime(2026, 3, 28, 12, tzinfo=BERLIN), datetime(2026, 3, 30, 12, tzinfo=BERLIN))
AUTUMN = (datetime(2026, 10, 24, 12, tzinfo=BERLIN), datetime(2026, 10, 26, 12, tzinfo=BERLIN))
NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def runs(schedule: Schedule, first: datetime, last: datetime) -> Iterator[datetime]:
    """The runs after `first` and before `last`, as the clocks of Berlin show them."""
    at = schedule.next(first)
    while at < last:
        assert at.tzinfo is UTC
        yield at.astimezone(BERLIN)
        at = schedule.next(at)


def shown(expression: str, span: tuple[datetime, datetime]) -> list[str]:
    return [f"{run:%d %H:%M%z}" for run in runs(CronSchedule(expression, "Europe/Berlin"), *span)]


def test_a_time_that_is_skipped_runs_when_the_clocks_have_moved_on() -> None:
    assert shown("30 2 * * *", SPRING) == ["29 03:00+0200", "30 02:30+0200"]
    assert shown("15,45 2 * * *", SPRING) == ["29 03:00+0200", "30 02:15+0200", "30 02:45+0200"]


def test_a_time_that_comes_twice_runs_the_first_time() -> None:
    assert shown("30 2 * * *", AUTUMN) == ["25 02:30+0200", "26 02:30+0100"]


def test_what_runs_again_and_again_goes_by_real_time() -> None:
    hours = {name: shown("0 * * * *", span) for name, span in (("s", SPRING), ("a", AUTUMN))}
    assert hours["s"][12:15] == ["29 01:00+0100", "29 03:00+0200", "29 04:00+0200"]
    assert hours["a"][13:17] == ["25 02:00+0200", "25 02:00+0100", "25 03:00+0100", "25 04:00+0100"]
    for span in (SPRING, AUTUMN):
        quarters = list(runs(CronSchedule("*/15 * * * *", "Europe/Berlin"), *span))
        instants = [run.astimezone(UTC) for run in quarters]
        gaps = {after - before for before, after in itertools.pairwise(instants)}
        assert gaps == {15 * MINUTE}


@pytest.mark.parametrize("span", [SPRING, AUTUMN])
@pytest.mark.parametrize("expression", ["30 2 * * *", "0 3 * * *", "*/15 * * * *", "7 */2 * * *"])
def test_from_any_instant_the_next_run_is_the_same(
    expression: str, span: tuple[datetime, datetime]
) -> None:
    """So a leader that begins within the hour that comes twice makes no run again."""
    schedule = CronSchedule(expression, "Europe/Berlin")
    known = [run.astimezone(UTC) for run in runs(schedule, *span)]
    at = span[0].astimezone(UTC)
    while at < known[-1]:
        assert schedule.next(at) == next(run for run in known if run > at)
        at += 7 * MINUTE + timedelta(microseconds=1)


def test_cron_is_read_in_utc_unless_told_otherwise() -> None:
    assert CronSchedule("0 0 * * *").next(NOON) == datetime(2026, 6, 2, tzinfo=UTC)
    in_new_york = CronSchedule("0 9 * * MON-FRI", "America/New_York")
    assert in_new_york.next(NOON) == datetime(2026, 6, 1, 13, tzinfo=UTC)
    assert CronSchedule("0 0 29 2 *").next(NOON) == datetime(2028, 2, 29, tzinfo=UTC)


def test_after_the_last_year_there_is_no_run() -> None:
    late = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert CronSchedule("0 0 * * *").next(late) == FOREVER
    assert PeriodicInterval(MINUTE).next(late) == FOREVER
    assert NeverSchedule().next(NOON) == FOREVER


@pytest.mark.parametrize(
    ("expression", "zone", "said"),
    [
        ("0 0 * *", "UTC", "has 4 fields"),
        ("@daily", "UTC", "has 1 fields"),
        ("0 0 0 * * *", "UTC", "has 6 fields"),
        ("61 * * * *", "UTC", "Bad minute"),
        ("0 0 30 2 *", "UTC", "Bad day-of-month"),
        ("* * */20 * 1L", "UTC", "matches no day"),
        ("9" * 5000 + " 0 * * *", "UTC", "cannot be read"),
        ("0 0 * * *", "Europe/Atlantis", "install the package tzdata"),
        ("0 0 * * *", "../zone", "not known here"),
    ],
)
def test_a_cron_schedule_that_cannot_be(expression: str, zone: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        CronSchedule(expression, zone)


def test_an_interval_begins_at_the_start_and_is_a_second_or_more() -> None:
    assert PeriodicInterval(timedelta(seconds=1)).next(NOON) == NOON + timedelta(seconds=1)
    with pytest.raises(ConfigurationError, match="too short"):
        PeriodicInterval(timedelta(milliseconds=999))


@dataclass
class Stuck:
    """A schedule that does not go forward."""

    answer: object

    def next(self, after: datetime) -> datetime:
        return self.answer  # type: ignore[return-value]


@pytest.mark.parametrize("answer", [NOON, NOON - MINUTE, datetime(2027, 1, 1), None, 5])
def test_a_schedule_that_does_not_go_forward_is_refused(answer: object) -> None:
    with pytest.raises(ConfigurationError, match="as the run after 2026-06-01T12:00:00"):
        following(Stuck(answer), NOON)


EVERY_MINUTE = PeriodicInterval(MINUTE)


def minutes(due: list[datetime]) -> list[float]:
    return [(at - NOON) / MINUTE for at in due]


@pytest.mark.parametrize(
    ("missed", "made"),
    [
        ("run_all", [-5, -4, -3, -2, -1, 0]),
        ("run_once", [-2, -1, 0]),
        ("skip", [-1, 0]),
    ],
)
def test_missed_runs(missed: Missed, made: list[float]) -> None:
    due = runs_due(EVERY_MINUTE, NOON - 5 * MINUTE, NOON, missed)
    assert minutes(list(due.runs)) == made
    assert due.next == NOON + MINUTE


@pytest.mark.parametrize("missed", ["run_all", "run_once", "skip"])
def test_a_run_a_minute_late_was_not_missed(missed: Missed) -> None:
    daily = CronSchedule("0 12 * * *")
    assert list(runs_due(daily, NOON, NOON + LATE, missed).runs) == [NOON]
    later = NOON + LATE + timedelta(microseconds=1)
    assert list(runs_due(daily, NOON, later, missed).runs) == ([] if missed == "skip" else [NOON])


def test_a_run_is_due_a_little_early_and_not_earlier() -> None:
    assert runs_due(EVERY_MINUTE, NOON, NOON - MARGIN, "run_all") == ([], NOON)
    early = NOON - MARGIN + timedelta(microseconds=1)
    assert runs_due(EVERY_MINUTE, NOON, early, "run_all") == ([NOON], NOON + MINUTE)


def test_many_missed_runs_come_a_thousand_at_a_time() -> None:
    first = NOON - 1500 * MINUTE
    due = runs_due(EVERY_MINUTE, first, NOON, "run_all")
    assert (len(due.runs), due.runs[0]) == (RUNS_AT_ONCE, first)
    rest = runs_due(EVERY_MINUTE, due.next, NOON, "run_all")
    assert (len(rest.runs), rest.next) == (501, NOON + MINUTE)


def test_years_of_missed_runs_are_not_counted_one_by_one() -> None:
    asked: list[datetime] = []

    class Counted:
        def next(self, after: datetime) -> datetime:
            asked.append(after)
            return EVERY_MINUTE.next(after)

    due = runs_due(Counted(), NOON - timedelta(days=3650), NOON, "run_once")
    assert len(asked) < RUNS_AT_ONCE + 10
    assert due.next > NOON
    assert len(due.runs) == 2  # one for all that were missed, and the one that is not late


def test_a_schedule_is_known_by_what_it_says() -> None:
    daily = fingerprint(CronSchedule("0  0 * *  *"))
    assert daily == fingerprint(CronSchedule("0 0 * * *"))
    others: list[Schedule] = [CronSchedule("0 0 * * *", "Europe/Berlin"), EVERY_MINUTE]
    assert daily not in {fingerprint(schedule) for schedule in others}

    class Nameless:
        def next(self, after: datetime) -> datetime:
            return after + MINUTE

    with pytest.raises(ConfigurationError, match="__repr__"):
        fingerprint(Nameless())
