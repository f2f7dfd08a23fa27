"""What a sink gets at most; time is the test's."""

from __future__ import annotations

import pytest

from riverbridge.bridge.envelope import Envelope
from riverbridge.bridge.limits import BURST, ByteLimit, RateLimit
from riverbridge.bridge.outlet import Outlet
from riverbridge.bridge.route import Route
from riverbridge.engine.batch import Batch
from riverbridge.engine.pace import within
from riverbridge.model.outcome import Delivered, Unreachable, Withheld
from riverbridge.model.pause import Pause
from tests.support.bridge import ScriptedSink
from tests.support.by_hand import FannedOut, HandOutlet
from tests.support.jobs import job
from tests.unit.test_waking import Clock


@pytest.mark.parametrize("rate", [0.5, 2, 7, 500, 30_000])
@pytest.mark.parametrize("look", [0.001, 0.02, 0.1])
def test_the_rate_is_kept_and_no_more_goes_at_once_than_is_said(rate: float, look: float) -> None:
    clock = Clock()
    limit = RateLimit(rate, clock)
    clock.now += 1000  # a long rest saves nothing up
    began, took = clock.now, list[tuple[float, int]]()
    while clock.now < began + 20:
        if room := limit.room():
            granted = limit.take(room)
            assert granted == room
            took.append((clock.now, granted))
        clock.now += look
    total = sum(count for _, count in took)
    burst = max(1, rate * BURST)
    assert 0.97 * rate * 20 - 1 <= total <= rate * 20 + burst
    for start, _ in took[:: max(1, len(took) // 20)]:
        second = sum(count for at, count in took if start <= at < start + 1)
        assert second <= rate + burst + 1


def test_batches_are_not_tiny() -> None:
    limit = RateLimit(1000, clock := Clock())
    assert limit.take(10_000) == 250
    clock.now += 0.09
    assert limit.room() == 0
    clock.now += 0.02
    assert limit.room() == 110


def test_what_is_taken_beyond_the_room_does_not_go() -> None:
    limit = RateLimit(100, Clock())
    assert [limit.take(20), limit.take(20)] == [20, 5]


def test_bytes_are_bounded_and_a_larger_message_goes_alone() -> None:
    limit = ByteLimit(100)
    assert limit.take([40, 40, 40]) == 2
    assert limit.room() == 0  # 20 are left, and 40 are wanted
    assert limit.take([10]) == 1  # somebody who had seen room before
    limit.give_back(80)
    assert limit.take([500]) == 0
    assert limit.room() == 0  # smaller ones do not keep it out
    limit.give_back(10)
    assert limit.room() == 100
    assert limit.take([500, 1]) == 1
    assert limit.room() == 0
    limit.give_back(500)
    assert limit.take([1] * 100) == 100


def test_a_claim_is_cut_where_the_budget_ends() -> None:
    some = [job(id=n, args="x" * 40) for n in range(4)]
    assert len(within(some, 100)) == 2
    assert len(within(some, 1)) == 1
    assert len(within(some, 160)) == 4


def test_what_a_race_let_through_is_put_back_and_costs_nothing() -> None:
    sink = ScriptedSink()
    outlet = Outlet("s", sink, rate_limit=8, max_in_flight_bytes=1000)
    route = Route("r", {outlet: Envelope("raw", source="s")})
    assert route.room() == 2
    batch = Batch([job(id=n, args='"' + "x" * 98 + '"') for n in range(4)], 1e9)
    route.take(batch)
    assert batch.wait(10)
    kinds = [type(outcome) for outcome in batch.outcomes()]
    assert kinds == [Delivered, Delivered, Withheld, Withheld]
    assert len(sink.received) == 2
    assert route.room() == 0
    assert route.bytes_left() == 1000  # also of what the rate kept back
    outlet.close()


def test_the_lowest_limit_sets_the_pace_while_its_sink_keeps_up() -> None:
    fan = FannedOut("a", "b")
    slow = HandOutlet("slow", rate_limit=40)
    fan.outlets["slow"] = slow
    fan.route = Route(
        "r",
        {outlet: Envelope("raw", source="s") for outlet in fan.outlets.values()},
        alarms=fan.alarms,
    )
    assert fan.route.room() == 10
    slow.breaker.heard([Unreachable("down")])
    assert fan.route.room() > 1000
    slow.breaker.heard([Delivered()])
    assert slow.admit([job()] * 10) == 10
    assert fan.route.room() == 0


def test_of_several_sinks_none_gets_what_one_has_no_room_for() -> None:
    fan = FannedOut("a", "b")
    fan.outlets["b"] = HandOutlet("b", max_in_flight_bytes=100, rate_limit=100)
    fan.route = Route(
        "r",
        {outlet: Envelope("raw", source="s") for outlet in fan.outlets.values()},
        alarms=fan.alarms,
    )
    some = [job(id=n, args='"' + "x" * 28 + '"') for n in range(5)]
    batch = fan.take(*some)
    assert fan["a"].sent == fan["b"].sent == ["s:0", "s:1", "s:2"]
    assert [type(outcome) for outcome in batch.outcomes()[3:]] == [Withheld] * 2
    fan["a"].answer()
    fan["b"].answer()
    assert [type(outcome) for outcome in batch.outcomes()[:3]] == [Delivered] * 3
    # With another limit before it, what that one had let through is free again.
    fan["b"].take_back(some[:3])  # which the test's own answers do not
    fan.outlets["a"] = HandOutlet("a", max_in_flight_bytes=1000)
    fan.route = Route(
        "r",
        {outlet: Envelope("raw", source="s") for outlet in fan.outlets.values()},
        alarms=fan.alarms,
    )
    batch = fan.take(*some)
    assert fan["a"].sent == ["s:0", "s:1", "s:2"]
    assert fan["a"].bytes_left() == 1000 - 90


def pause(what: str = "sink") -> Pause:
    moment = job().created_at
    return Pause(what, "b", moment, "ann@shop", "broker is moved")  # type: ignore[arg-type]


def test_a_paused_sink_is_as_a_closed_one_whatever_it_answers() -> None:
    fan = FannedOut()
    fan["b"].breaker.pause(str(pause()))
    assert not fan.route._branches[1].awaited
    assert fan["b"].room() == 0
    assert fan.route.room() > 1000
    batch = fan.take()
    fan["a"].answer()
    assert batch.answered
    assert fan["b"].sent == []
    fan["b"].breaker.heard([Delivered()])
    assert fan["b"].room() == 0
    fan["a"].breaker.pause(str(pause()))
    assert fan.route.room() == 0
    fan["b"].breaker.heard([Unreachable("down")])
    fan["b"].breaker.pause("")
    assert fan["b"].breaker.state == "open"  # what it answered meanwhile counts again
    assert fan["b"].breaker.reason == "down"


def test_a_paused_route_has_no_room() -> None:
    fan = FannedOut()
    fan.route.pause(str(pause("route")))
    assert fan.route.room() == 0
    fan.route.pause("")
    assert fan.route.room() > 1000
