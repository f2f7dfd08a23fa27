"""What lanes learn of a feed: floors, the limit, and whether to lease from the start."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import pytest

from riverbridge.engine.batch import Batch, Feed
from riverbridge.engine.pace import FULL_LOOK, KINDS, QUICK_AFTER, SLOW_AFTER, Pace, Slowness
from riverbridge.engine.settling import FIRST_REST, LONGEST_REST, Aside
from riverbridge.model.globs import matches, to_like
from riverbridge.model.outcome import Delivered, Retry
from riverbridge.store.jobs import EVERYTHING
from tests.support.jobs import feed, job
from tests.unit.test_waking import Clock

T = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def pace(
    clock: Clock,
    claiming: str = "auto",
    size: int = 1000,
    octets: int = 1 << 23,
    crowded: Callable[[], bool] | None = None,
) -> Pace:
    return Pace(
        claiming=claiming,  # type: ignore[arg-type]
        batch_size=size,
        batch_bytes=octets,
        hold=1.0,
        crowded=crowded,
        clock=clock,
    )


def at(seconds: float, priority: int = 1) -> object:
    return job(priority=priority, scheduled_at=T + timedelta(seconds=seconds))


def text(seconds: float) -> str:
    return (T + timedelta(seconds=seconds)).isoformat()


def seen(pace: Pace) -> tuple[list[str], bool]:
    """Where the next claim begins, and whether that is a full look."""
    floors = pace.floors()
    return list(floors.texts), floors.full_look


def test_the_first_look_and_one_a_second_are_full(clock: Clock) -> None:
    one = pace(clock)
    assert seen(one) == ([EVERYTHING] * 4, True)
    assert seen(one) == ([EVERYTHING] * 4, False)
    one.claimed([at(5), at(7, 3)], limit=100, full_look=True)  # type: ignore[list-item]
    assert seen(one) == ([text(5), EVERYTHING, text(7), EVERYTHING], False)
    clock.now += FULL_LOOK
    assert seen(one) == ([EVERYTHING] * 4, True)
    assert one.floors().full_look is False


def test_floors_rise_and_fall_only_with_a_full_look_that_fills(clock: Clock) -> None:
    one = pace(clock)
    one.floors()
    for jobs, limit, full, floor in [
        ([at(10)], 100, False, 10),
        ([at(4)], 100, False, 10),  # committed late
        ([at(4)], 100, True, 10),  # and all of it was read
        ([at(4)], 1, False, 10),
        ([at(4)], 1, True, 4),  # there may be more between
        ([at(4.5)], 100, False, 4.5),
        ([], 100, True, 4.5),
    ]:
        one.claimed(jobs, limit=limit, full_look=full)  # type: ignore[arg-type]
        assert one.floors().texts == [text(floor), EVERYTHING, EVERYTHING, EVERYTHING]


def test_where_jobs_are_left_floors_are_exact_and_go_on_within_an_instant(clock: Clock) -> None:
    one = pace(clock, crowded=lambda: False)
    one.floors()
    assert pace(clock).floors().back == 1.0
    same = [job(id=id_, scheduled_at=T) for id_ in (5, 6, 9)]
    one.claimed(same[:2], limit=2, full_look=True)
    floors = one.floors()
    assert (floors.texts[0], floors.after, floors.back) == (T.isoformat(), [6, 0, 0, 0], 0.0)
    one.claimed(same[2:], limit=2, full_look=False)
    assert one.floors().after[0] == 9


def test_where_too_many_are_left_a_look_ends_before_the_next_and_then_rests(clock: Clock) -> None:
    one = pace(clock, crowded=lambda: True)
    assert one.floors().full_look
    for second in range(5):
        one.claimed([at(second)], limit=1, full_look=second == 0)  # type: ignore[list-item]
        clock.now += FULL_LOOK
        assert not one.floors().full_look
    one.claimed([], limit=1, full_look=False)  # after five seconds
    clock.now += 44
    assert not one.floors().full_look
    clock.now += 2
    assert one.floors().full_look


def test_floors_compare_instants_not_spellings(clock: Clock) -> None:
    one = pace(clock)
    one.floors()
    east = timezone(timedelta(hours=14))
    for moment in (T, T + timedelta(microseconds=1), T.astimezone(east), T - timedelta(days=1)):
        one.claimed([job(scheduled_at=moment)], limit=100, full_look=False)
    assert one.floors().texts[0] == (T + timedelta(microseconds=1)).isoformat()
    first = datetime(1, 1, 2, tzinfo=UTC)
    two = pace(clock)
    two.floors()
    two.claimed([job(scheduled_at=first)], limit=100, full_look=False)
    two.claimed([job(scheduled_at=T)], limit=100, full_look=False)
    assert two.floors().texts[0] == T.isoformat()


def test_the_limit_grows_while_claims_are_full_and_fits_the_bytes(clock: Clock) -> None:
    one = pace(clock, octets=100_000)
    assert one.limit == 100
    small = [job(args="x" * 10)] * 100
    assert one.claimed(small, limit=100, full_look=False)
    assert one.limit == 400
    assert not one.claimed(small, limit=400, full_look=False)
    assert one.limit == 400
    assert one.claimed([job(args="x" * 1000)] * 400, limit=400, full_look=False)
    assert one.limit == 100
    assert one.claimed([job(args="x" * 1_000_000)], limit=100, full_look=False)
    assert one.limit == 1
    assert one.claimed([job(args="")], limit=1, full_look=False)
    assert one.limit == 4
    for _ in range(9):
        one.claimed([job(args="")] * one.limit, limit=one.limit, full_look=False)
    assert one.limit == 1000
    assert pace(clock, size=7).limit == 7


def test_a_claim_cut_by_bytes_of_any_script_is_full(clock: Clock) -> None:
    one = pace(clock, octets=1000)
    assert one.claimed([job(args="x" * 500)] * 2, limit=100, full_look=False)
    assert one.claimed([job(args="語" * 167)] * 2, limit=100, full_look=False)
    assert not one.claimed([job(args="語" * 166)] * 2, limit=100, full_look=False)
    assert one.limit <= 2


def split(one: Slowness, *kinds: str) -> tuple[list[str], list[str]]:
    slow, quick = one.split([job(kind=kind) for kind in kinds])
    return [j.kind for j in slow], [j.kind for j in quick]


def test_a_slow_kind_is_leased_from_the_start_until_it_is_quick_again() -> None:
    one = Slowness("auto", 1.0)
    for _ in range(SLOW_AFTER):
        assert split(one, "a", "b") == ([], ["a", "b"])
        one.held(["a", "b"], late=["a"])
    assert split(one, "a", "b", "a") == (["a", "a"], ["b"])
    one.leased({"a": 5.0})
    for _ in range(QUICK_AFTER - 1):
        one.leased({"a": 0.1, "b": 9.0})
    one.leased({"a": 0.7})  # neither: so many in a row are asked for
    one.leased({"a": 0.1})
    assert split(one, "a", "b") == (["a"], ["b"])
    for _ in range(QUICK_AFTER - 1):
        one.leased({"a": 0.1})
    assert split(one, "a", "b") == ([], ["a", "b"])


def test_one_slow_batch_among_quick_ones_changes_nothing() -> None:
    one = Slowness("auto", 1.0)
    for _ in range(5):
        one.held(["a"], late=["a"])
        one.held(["b"], late=[])
        one.held(["a"], late=[])
        assert split(one, "a") == ([], ["a"])


def test_any_number_of_slow_kinds_is_learned_in_bounded_memory() -> None:
    one = Slowness("auto", 1.0)
    for number in range(3 * KINDS):
        for _ in range(SLOW_AFTER):
            one.held([f"k{number}"], late=[f"k{number}"])
    slow, _ = split(one, *(f"k{number}" for number in range(3 * KINDS)))
    assert 0 < len(slow) <= KINDS


def test_what_is_said_about_claiming_holds() -> None:
    lock, lease = Slowness("lock", 1.0), Slowness("lease", 1.0)
    for _ in range(9):
        lock.held(["a"], late=["a"])
        lease.leased({"a": 0.0})
    assert split(lock, "a") == ([], ["a"])
    assert split(lease, "a") == (["a"], [])


def test_a_row_set_aside_rests_twice_as_long_each_time_and_is_forgotten(clock: Clock) -> None:
    aside = Aside(clock)
    rests = []
    for _ in range(9):
        aside.add(7, feed(), "x")
        began = clock.now
        while aside.ids() == [7]:
            clock.now += FIRST_REST / 2
        rests.append(clock.now - began)
    assert rests[:3] == [FIRST_REST, 2 * FIRST_REST, 4 * FIRST_REST]
    assert rests[-1] == LONGEST_REST
    clock.now += LONGEST_REST + 1
    assert aside.ids() == []
    assert aside._rows == {}
    aside.add(7, feed(), "x")
    clock.now += FIRST_REST
    assert aside.ids() == []


def test_a_batch_keeps_the_first_outcome_of_each_job() -> None:
    batch = Batch([job(id=n) for n in range(3)], 0.0)
    batch.answer([Retry("first")], 1)
    assert not batch.answered
    assert not batch.wait(-1)
    assert batch.open() == [0, 2]
    batch.answer([Delivered()] * 3)
    assert batch.wait(0)
    assert batch.outcomes() == [Delivered(), Retry("first"), Delivered()]
    assert not batch.overdue
    assert not batch.abandoned
    batch.abandon()
    assert batch.abandoned


@pytest.mark.parametrize("pattern", ["*", "order.*", "a_b", "50%*", "a\\b*", "*.x", "a*b*c", ""])
@pytest.mark.parametrize(
    "kind", ["order.placed", "a_b", "aXb", "50% off", "500", "a\\b\n", "x.x", "abc", ""]
)
def test_a_feed_takes_a_kind_as_the_route_s_glob_does(pattern: str, kind: str) -> None:
    taken: Feed = feed(kinds=(to_like(pattern),))
    assert taken.takes(kind) == matches([pattern], kind)
    assert feed(kinds=(to_like(pattern),), taken=False).takes(kind) != taken.takes(kind)
