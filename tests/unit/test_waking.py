"""When which feed is claimed from; time is the test's."""

from __future__ import annotations

import threading

import pytest

from riverbridge.engine.batch import Feed
from riverbridge.engine.waking import CLOSED, GAP, Waker
from tests.support.jobs import ATaker, feed


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def quiet(waker: Waker, *feeds: Feed) -> None:
    """Past the first look at every feed."""
    for _ in feeds:
        turn = waker.next(0)
        assert turn is not None
        waker.claimed(turn[0], full=False)
    assert waker.next(0) is None


def starts(waker: Waker, clock: Clock, seconds: float, *, full: bool = False) -> list[float]:
    """The instants at which claims start if each takes no time, looking every half millisecond."""
    began, found = clock.now, []
    while clock.now < began + seconds:
        turn = waker.next(0)
        if turn is not None:
            found.append(round(clock.now - began, 4))
            waker.claimed(turn[0], full=full)
        clock.now += 0.0005
    return found


def test_every_feed_is_looked_at_first_and_then_polled(clock: Clock) -> None:
    a, b = feed("a"), feed("b", "other")
    waker = Waker([a, b], poll=1.0, clock=clock)
    quiet(waker, a, b)
    clock.now += 0.99
    assert waker.next(0) is None
    clock.now += 0.01
    assert {waker.next(0), waker.next(0)} == {(a, 1000), (b, 1000)}
    assert waker.next(0) is None


def test_a_notification_is_followed_up(clock: Clock) -> None:
    waker = Waker([feed()], poll=1.0, clock=clock)
    assert waker.next(0)
    waker.claimed(next(iter(waker._turns)), full=False)
    clock.now += 0.5
    waker.notify("other")
    assert waker.next(0) is None
    waker.notify("q")
    assert starts(waker, clock, 0.4) == pytest.approx([0, 0.010, 0.050, 0.110], abs=0.0006)


def test_a_notification_during_a_claim_is_not_lost(clock: Clock) -> None:
    a = feed()
    waker = Waker([a], poll=1.0, clock=clock)
    assert waker.next(0) == (a, 1000)
    clock.now += 0.001
    waker.notify("q")
    assert waker.next(0) is None
    waker.claimed(a, full=False)
    assert starts(waker, clock, 0.2) == pytest.approx([0.0035, 0.010, 0.050, 0.110], abs=0.0012)


def test_a_follow_up_that_passes_during_a_claim_is_made_up_for(clock: Clock) -> None:
    a = feed()
    waker = Waker([a], poll=1.0, clock=clock)
    quiet(waker, a)
    clock.now += 0.5
    waker.notify("q")
    assert waker.next(0) == (a, 1000)
    clock.now += 0.060
    waker.claimed(a, full=False)
    assert waker.next(0) == (a, 1000)


def test_small_claims_start_at_most_some_200_times_a_second(clock: Clock) -> None:
    a = feed()
    waker = Waker([a], poll=1.0, clock=clock)
    claims = 0
    for _ in range(2000):
        waker.notify("q")
        turn = waker.next(0)
        if turn is not None:
            claims += 1
            waker.claimed(a, full=False)
        clock.now += 0.0005
    assert 150 <= claims <= 1 / GAP + 1


def test_full_claims_follow_at_once(clock: Clock) -> None:
    a = feed()
    waker = Waker([a], poll=1.0, clock=clock)
    for _ in range(5):
        assert waker.next(0) == (a, 1000)
        assert waker.next(0) is None  # one claim at a time from a feed
        waker.claimed(a, full=True)


def test_full_feeds_take_turns(clock: Clock) -> None:
    feeds = [feed("a"), feed("b"), feed("c", "other")]
    waker = Waker(feeds, poll=1.0, clock=clock)
    order = []
    for _ in range(9):
        turn = waker.next(0)
        assert turn is not None
        order.append(turn[0].name)
        clock.now += 0.001
        waker.claimed(turn[0], full=True)
    assert order == ["a", "b", "c"] * 3


def test_a_closed_taker_is_asked_again_and_holds_no_other(clock: Clock) -> None:
    closed, open_ = ATaker(), ATaker()
    closed.free = 0
    a, b = feed("a", taker=closed), feed("b", taker=open_)
    waker = Waker([a, b], poll=1.0, clock=clock)
    assert waker.next(0) == (b, 1000)
    waker.claimed(b, full=False)
    clock.now += CLOSED / 2
    closed.free = 3
    assert waker.next(0) is None
    clock.now += CLOSED / 2
    assert waker.next(0) == (a, 3)


def test_pauses(clock: Clock) -> None:
    a, b = feed("a"), feed("b", "other")
    waker = Waker([a, b], poll=1.0, clock=clock)
    waker.pause("q")
    assert waker.next(0) == (b, 1000)
    waker.claimed(b, full=False)
    assert waker.next(0) is None
    waker.pause("*")
    waker.resume("q")
    clock.now += GAP
    assert waker.next(0) == (a, 1000)
    waker.claimed(a, full=False)
    clock.now += 5
    waker.pause("*")
    waker.notify("q")
    assert waker.next(0) is None
    waker.resume("*")
    assert {waker.next(0), waker.next(0)} == {(a, 1000), (b, 1000)}


def test_the_rows_are_the_truth_of_what_is_paused(clock: Clock) -> None:
    a = feed()
    waker = Waker([a], poll=1.0, clock=clock)
    quiet(waker, a)
    clock.now += GAP
    waker.set_paused({"q"}, waker.pauses)
    assert waker.next(0) is None
    clock.now += 5
    assert waker.next(0) is None
    waker.set_paused(set(), waker.pauses)
    assert waker.next(0) == (a, 1000)


def test_rows_that_were_read_before_somebody_paused_are_not_believed(clock: Clock) -> None:
    a = feed()
    waker = Waker([a], poll=1.0, clock=clock)
    pauses = waker.pauses
    waker.pause("q")
    waker.set_paused(set(), pauses)
    assert waker.next(0) is None
    pauses = waker.pauses
    waker.resume("q")
    waker.set_paused({"q"}, pauses)
    assert waker.next(0) == (a, 1000)


def test_a_deferred_feed_rests(clock: Clock) -> None:
    a = feed()
    waker = Waker([a], poll=1.0, clock=clock)
    assert waker.next(0)
    waker.notify("q")
    waker.claimed(a, full=True)
    waker.defer(a, 0.25)
    assert starts(waker, clock, 0.5) == pytest.approx([0.25], abs=0.001)


def test_a_deferral_during_another_lane_s_claim_holds_no_longer_than_asked(clock: Clock) -> None:
    a = feed()
    waker = Waker([a], poll=1.0, clock=clock)
    assert waker.next(0)
    waker.defer(a, 0.25)
    waker.claimed(a, full=False)
    assert starts(waker, clock, 0.5) == pytest.approx([0.25], abs=0.001)


def waiting(waker: Waker, timeout: float = 30.0) -> tuple[threading.Thread, list[object]]:
    """A lane that waits for a turn; back once it sleeps."""
    got: list[object] = []
    thread = threading.Thread(target=lambda: got.append(waker.next(timeout)), daemon=True)
    thread.start()
    for _ in range(1000):
        with waker._wake:
            if len(waker._wake._waiters):  # type: ignore[attr-defined]
                return thread, got
        thread.join(0.005)
    raise AssertionError("the lane does not wait")


def test_a_lane_that_waits_hears_of_a_notification() -> None:
    a = feed()
    waker = Waker([a], poll=60.0)
    quiet(waker, a)
    thread, got = waiting(waker)
    waker.notify("q")
    thread.join(5)
    assert got == [(a, 1000)]


@pytest.mark.parametrize("full", [True, False])
def test_a_second_lane_learns_when_a_busy_first_one_s_claim_ends(full: bool) -> None:
    """It began to wait while the feed was out, so it has no time of its own to wake at."""
    a = feed()
    waker = Waker([a], poll=0.1)
    assert waker.next(0) == (a, 1000)
    thread, got = waiting(waker)
    waker.claimed(a, full=full)
    thread.join(5)
    assert got == [(a, 1000)]


def test_a_second_lane_stays_asleep_while_the_first_has_found_the_end() -> None:
    a = feed()
    waker = Waker([a], poll=60.0)
    assert waker.next(0) == (a, 1000)
    thread, got = waiting(waker, timeout=0.1)
    waker.claimed(a, full=False)
    thread.join(5)
    assert got == [None]


def test_stop_wakes_every_lane_and_hands_out_nothing_more() -> None:
    a = feed()
    waker = Waker([a], poll=60.0)
    quiet(waker, a)
    lanes = [waiting(waker) for _ in range(3)]
    waker.stop()
    for thread, got in lanes:
        thread.join(5)
        assert got == [None]
    waker.notify("q")
    assert waker.next(1.0) is None


def test_resume_wakes_lanes() -> None:
    a = feed()
    waker = Waker([a], poll=60.0)
    quiet(waker, a)
    waker.pause("q")
    thread, got = waiting(waker)
    waker.resume("*")
    thread.join(5)
    assert got == [(a, 1000)]


def test_what_is_on_its_way_to_the_taker_takes_room(clock: Clock) -> None:
    one = feed()
    waker = Waker([one], clock=clock)
    assert waker.next(0) == (one, 1000)
    waker.claimed(one, full=True, jobs=400)
    assert waker.next(0) == (one, 600)
    waker.claimed(one, full=True, jobs=600)
    assert waker.next(0) is None
    waker.handed(one, 400)
    clock.now += CLOSED
    assert waker.next(0) == (one, 400)
