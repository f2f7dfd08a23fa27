"""Several sinks: whom a job waits for, what it remembers, and what is done with late answers."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest

from riverbridge.bridge.alarms import Alarms
from riverbridge.bridge.breaker import Breaker
from riverbridge.bridge.fan_out import parking_time
from riverbridge.bridge.lagging import LONGEST_TRIAL, MOST, Lag, LateAnswers
from riverbridge.bridge.memory import FORGOTTEN, Memory, recall
from riverbridge.bridge.recovery import SETTLED, Lot
from riverbridge.model.outcome import (
    Completed,
    Delivered,
    Misconfigured,
    Outcome,
    Parked,
    Permanent,
    Retry,
    Unreachable,
)
from riverbridge.model.receipt import Receipt
from tests.support.by_hand import FannedOut, HandOutlet, again
from tests.support.jobs import job
from tests.unit.test_waking import Clock

DOWN = Unreachable("down")


def parked(outcome: Outcome | None) -> dict[str, Any]:
    """The metadata of a job that is parked, without an error."""
    assert isinstance(outcome, Parked)
    assert outcome.error == ""
    noted: dict[str, Any] = json.loads(outcome.metadata or "")
    return noted


def remembering(*delivered: str, times: int = 1, **columns: Any) -> Any:
    metadata = {
        "riverbridge:delivered": delivered,
        "riverbridge:parked": {"for": ["x"], "times": times},
    }
    return job(metadata=json.dumps(metadata), **columns)


def test_what_all_have_is_delivered_and_notes_nothing() -> None:
    fan = FannedOut()
    batch = fan.take(job(id=1), job(id=2, metadata='{"riverbridge:replay": 1}'))
    fan["a"].answer()
    assert not batch.answered
    fan["b"].answer()
    assert [type(outcome) for outcome in batch.outcomes()] == [Delivered] * 2


def test_a_job_waits_for_the_others_as_long_as_the_patience_from_the_first_answer() -> None:
    fan = FannedOut("a", "b", "c", patience=0.4)
    batch = fan.take()
    fan.alarms.pass_time(5.0)  # nobody has answered yet: the fastest is waited for
    fan["b"].answer()
    fan.alarms.pass_time(0.3)
    fan["c"].answer()
    fan.alarms.pass_time(0.09)
    assert not batch.answered
    fan.alarms.pass_time(0.02)
    [outcome] = batch.outcomes()
    assert parked(outcome) == {
        "riverbridge:delivered": ["b", "c"],
        "riverbridge:parked": {"for": ["a"], "times": 1},
    }
    assert isinstance(outcome, Parked)
    assert 5 <= outcome.seconds <= 7.5


def test_patience_is_paid_once_and_not_batch_after_batch() -> None:
    fan = FannedOut()
    fan.lags("b")
    for number in range(3):
        batch = fan.take(job(id=number))
        fan["a"].answer()
        assert parked(batch.outcomes()[0])["riverbridge:parked"]["for"] == ["b"]
    # Its share was sent while it had a thread (one of two was out), and then no more.
    assert fan["b"].sent == ["s:999", "s:0"]
    assert fan.route.room() > 1000


def test_a_sink_that_answers_in_time_again_is_waited_for() -> None:
    fan = FannedOut()
    fan.lags("b")
    fan["b"].answer()  # late
    batch = fan.take()
    fan["b"].answer()
    assert not batch.answered
    fan["a"].answer()
    assert batch.outcomes() == [Delivered()]
    batch = fan.take()
    fan["a"].answer()
    assert not batch.answered


def test_a_sink_that_lags_is_late_also_with_jobs_that_only_it_lacks() -> None:
    fan = FannedOut()
    fan.lags("b")
    batch = fan.take(remembering("a", id=1))
    assert batch.answered
    fan.alarms.pass_time(0.3)
    fan["b"].answer(call=1)
    assert fan.take(remembering("a", id=2)).answered


@pytest.mark.parametrize("fault", [DOWN, Misconfigured("no such topic")], ids=str)
def test_for_a_sink_that_did_not_answer_nobody_waits(fault: Outcome) -> None:
    fan = FannedOut("a", "b", "c")
    batch = fan.take()
    fan["b"].answer(fault)
    fan["a"].answer()
    assert not batch.answered
    fan["c"].answer()
    assert parked(batch.outcomes()[0])["riverbridge:delivered"] == ["a", "c"]
    # Its breaker is open: it is not called, and the lane claims for the others.
    assert fan.route.room() > 1000
    batch = fan.take()
    fan["a"].answer()
    fan["c"].answer()
    assert parked(batch.outcomes()[0])["riverbridge:parked"]["for"] == ["b"]
    assert len(fan["b"].sent) == 1


def test_a_probe_is_one_job_and_nobody_waits_for_it() -> None:
    fan = FannedOut()
    fan["b"].breaker = Breaker("b", clock := Clock())
    fan["b"].breaker.heard([DOWN])
    clock.now += 10
    assert fan["b"].breaker.state == "half_open"
    first, second = job(id=1), job(id=2)
    batch = fan.take(first, second)
    fan["a"].answer()
    assert fan["b"].sent == ["s:1"]
    one, two = batch.outcomes()
    assert parked(one) == parked(two)
    fan["b"].answer()
    batch = fan.take(again(first, one), again(second, two))
    assert fan["b"].sent == ["s:1", "s:2"]
    fan["b"].answer()
    assert batch.outcomes() == [Completed(FORGOTTEN)] * 2


def test_where_no_sink_is_reached_the_job_is_released_as_it_was() -> None:
    fan = FannedOut()
    batch = fan.take()
    fan["a"].answer(DOWN)
    fan["b"].answer(Misconfigured("no rights"))
    assert batch.outcomes() == [Misconfigured("no rights")]
    assert fan.route.room() == 0
    batch = fan.take()  # claimed just before
    assert batch.outcomes() == [DOWN]


def test_what_one_has_waits_for_the_other_though_none_is_open() -> None:
    # Released it would be claimed again at once, and again, as long as `a` is open.
    fan = FannedOut()
    fan["b"].breaker.heard([DOWN])
    batch = fan.take(remembering("a", times=3))
    assert fan["a"].sent == fan["b"].sent == []
    [outcome] = batch.outcomes()
    assert parked(outcome) == {
        "riverbridge:delivered": ["a"],
        "riverbridge:parked": {"for": ["b"], "times": 4},
    }


def test_a_later_attempt_goes_to_those_that_lack_it() -> None:
    fan = FannedOut("a", "b", "c")
    batch = fan.take(before := job())
    fan["a"].answer()
    fan["b"].answer(Retry("busy", delay=7.0))
    fan["c"].answer()
    [outcome] = batch.outcomes()
    assert outcome == Retry("b: busy", delay=7.0, metadata='{"riverbridge:delivered":["a","c"]}')
    batch = fan.take(again(before, outcome))
    assert [len(fan[name].sent) for name in "abc"] == [1, 2, 1]
    fan["b"].answer(Permanent("too large"))
    assert batch.outcomes() == [
        Permanent("b: too large", metadata='{"riverbridge:delivered":["a","c"]}')
    ]


def test_jobs_of_one_batch_go_each_where_it_is_lacking() -> None:
    fan = FannedOut()
    batch = fan.take(remembering("a", id=1), job(id=2), remembering("b", id=3))
    assert (fan["a"].sent, fan["b"].sent) == (["s:2", "s:3"], ["s:1", "s:2"])
    fan["a"].answer()
    fan["b"].answer()
    assert batch.outcomes() == [Completed(FORGOTTEN), Delivered(), Completed(FORGOTTEN)]


def test_what_all_have_already_is_not_sent() -> None:
    fan = FannedOut()
    assert fan.take(remembering("a", "b")).outcomes() == [Completed(FORGOTTEN)]
    assert fan["a"].sent == fan["b"].sent == []


def test_a_job_that_only_one_lacks_does_not_wait_for_it_longer_either() -> None:
    fan = FannedOut()
    batch = fan.take(remembering("a"))
    fan.alarms.pass_time(0.24)
    assert not batch.answered
    fan.alarms.pass_time(0.02)
    assert parked(batch.outcomes()[0])["riverbridge:parked"] == {"for": ["b"], "times": 2}


@pytest.mark.parametrize(
    ("delivered", "known"),
    [
        ('"a"', set()),
        ("null", set()),
        ('{"a": 1}', set()),
        ('["a", 1, null, ["b"], "x"]', {"a"}),
        ("[" * 200 + "]" * 200, set()),
        ("1e400", set()),
    ],
)
def test_garbage_in_the_memory_is_as_if_it_were_not_there(delivered: str, known: set[str]) -> None:
    for parking in ('"x"', "[]", '{"for": 1, "times": "3"}', '{"times": -1}', '{"times": 1e30}'):
        text = f'{{"riverbridge:delivered": {delivered}, "riverbridge:parked": {parking}}}'
        assert recall(job(metadata=text), {"a", "b"}) == Memory(frozenset(known))
        fan = FannedOut()
        batch = fan.take(job(id=1, metadata=text), job(id=2))
        for name in "ab":
            wanted = ["s:2"] if name in known else ["s:1", "s:2"]
            assert fan[name].sent == wanted
            fan[name].answer()
        assert batch.answered


@pytest.mark.parametrize("text", ["[]", '"riverbridge:delivered"', "null", "[" * 2000 + "]" * 2000])
def test_metadata_that_is_no_object_remembers_nothing(text: str) -> None:
    assert recall(job(metadata=text + '"riverbridge:'), {"a"}) == Memory()


def test_a_late_answer_settles_the_parked_job_without_a_second_send() -> None:
    fan = FannedOut()
    fan.lags("b")
    fan["b"].answer()
    batch = fan.take(before := job(id=1))
    fan["a"].answer()
    [outcome] = batch.outcomes()
    fan.alarms.pass_time(5.0)
    fan["b"].answer()
    batch = fan.take(again(before, outcome))
    assert batch.outcomes() == [Completed(FORGOTTEN)]
    assert fan["b"].sent == ["s:999", "s:1"]
    assert fan["a"].sent == ["s:999", "s:1"]


def test_a_receipt_is_kept_with_the_answer_that_it_is_part_of() -> None:
    fan = FannedOut(receipts=True)
    fan.lags("b")
    fan["b"].answer()
    batch = fan.take(before := job(id=1))
    fan["a"].answer(Delivered("first"))
    fan["b"].answer(Delivered("late"))
    assert batch.take_receipts() == [Receipt(1, "a", 1, "first")]
    batch = fan.take(again(before, batch.outcomes()[0]))
    assert batch.outcomes() == [Completed(FORGOTTEN)]
    assert batch.take_receipts() == [Receipt(1, "b", 1, "late")]


def test_a_job_whose_answer_is_still_out_is_not_sent_again() -> None:
    fan = FannedOut()
    fan.lags("b")
    batch = fan.take(before := job(id=1))
    fan["a"].answer()
    [outcome] = batch.outcomes()
    batch = fan.take(before := again(before, outcome))
    [outcome] = batch.outcomes()
    assert parked(outcome)["riverbridge:parked"]["times"] == 2
    assert fan["b"].sent == ["s:999", "s:1"]
    # It counts for the second parking as well.
    fan["b"].answer(call=1)
    assert fan.take(again(before, outcome)).outcomes() == [Completed(FORGOTTEN)]


def test_an_answer_that_never_comes_is_given_up_after_the_deadline() -> None:
    fan = FannedOut()
    fan.lags("b")
    batch = fan.take(before := job(id=1))
    fan["a"].answer()
    fan.alarms.pass_time(11.5)
    fan.take(again(before, batch.outcomes()[0]))
    assert fan["b"].sent == ["s:999", "s:1"]  # no thread is free
    fan["b"].answer()
    fan.take(again(before, batch.outcomes()[0]))
    assert fan["b"].sent == ["s:999", "s:1", "s:1"]


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (Permanent("no"), Permanent("b: no", metadata='{"riverbridge:delivered":["a"]}')),
        (Retry("busy"), Retry("b: busy", metadata='{"riverbridge:delivered":["a"]}')),
    ],
    ids=str,
)
def test_a_late_refusal_counts_when_the_job_comes_again(answer: Outcome, outcome: Outcome) -> None:
    fan = FannedOut()
    fan.lags("b")
    batch = fan.take(before := job(id=1))
    fan["a"].answer()
    fan["b"].answer(answer, call=1)
    assert fan.take(again(before, batch.outcomes()[0])).outcomes() == [outcome]
    assert fan["b"].sent == ["s:999", "s:1"]


def test_a_late_answer_counts_also_for_a_job_that_was_not_parked() -> None:
    fan = FannedOut()
    fan.lags("b")
    batch = fan.take(before := job(id=1))
    fan["a"].answer(Retry("busy"))
    fan["b"].answer(call=1)
    [outcome] = batch.outcomes()
    assert outcome == Retry("a: busy")
    batch = fan.take(again(before, outcome))
    fan["a"].answer()
    assert batch.outcomes() == [Delivered()]
    assert fan["b"].sent == ["s:999", "s:1"]


def test_what_was_late_and_not_reached_is_sent_again() -> None:
    fan = FannedOut()
    fan.lags("b")
    batch = fan.take(before := job(id=1))
    fan["a"].answer()
    fan["b"].answer(DOWN, call=1)
    fan["b"].answer()  # the older call: the breaker closes
    fan.take(again(before, batch.outcomes()[0]))
    assert fan["b"].sent == ["s:999", "s:1", "s:1"]


def test_a_late_answer_is_none_to_another_attempt() -> None:
    fan = FannedOut()
    fan.lags("b")
    batch = fan.take(job(id=1))
    fan["a"].answer()
    assert parked(batch.outcomes()[0])
    fan["b"].answer(call=1)
    # Settled by another process meanwhile, and retried by hand.
    fan.take(job(id=1, attempt=1, metadata=FORGOTTEN))
    assert fan["b"].sent == ["s:999", "s:1", "s:1"]


def test_a_late_answer_is_none_to_a_replay() -> None:
    fan = FannedOut()
    fan.lags("b")
    fan.take(job(id=1))
    fan["a"].answer(Permanent("no"))
    fan["b"].answer(call=1)
    fan.take(job(id=1, attempt=1, metadata='{"riverbridge:replay": 1}'))
    assert fan["b"].sent == ["s:999", "s:1", "s:1"]


def test_an_answer_that_comes_twice_is_heard_once() -> None:
    fan = FannedOut()
    batch = fan.take()
    _, done = fan["a"].calls[0]
    fan["a"].answer()
    done([Delivered()])
    assert not batch.answered
    fan["b"].answer(Retry("busy"))
    done([Permanent("no")])
    [outcome] = batch.outcomes()
    assert isinstance(outcome, Retry)


def test_a_lane_waits_for_a_busy_sink_as_long_as_the_patience() -> None:
    fan = FannedOut(patience=0.25)
    full = 0.0
    fan["b"].full_for = lambda: full  # type: ignore[method-assign]
    assert fan.route.room() > 1000
    full = 0.2
    assert fan.route.room() == 0
    full = 0.3
    assert fan.route.room() > 1000
    full = 0.01  # it has taken another, and is not waited for again
    assert fan.route.room() > 1000


def test_the_wait_doubles_and_grows_with_the_outage() -> None:
    for times, out, least in [(0, 0, 5), (1, 0, 10), (5, 0, 160), (6, 0, 200), (999, 0, 200),
                              (0, 15, 60), (5, 15, 160), (0, 9999, 200)]:  # fmt: skip
        found = [parking_time(times, out) for _ in range(50)]
        assert all(least <= seconds <= min(300, 1.5 * least) for seconds in found)
        assert max(found) > 1.2 * least


def test_the_wait_of_a_parked_job_grows_with_the_outage_of_its_sink() -> None:
    fan = FannedOut()
    fan.lags("b")
    fan.alarms.pass_time(15.0)
    batch = fan.take()
    fan["a"].answer()
    [outcome] = batch.outcomes()
    assert isinstance(outcome, Parked)
    assert 60 <= outcome.seconds <= 90.1


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_sink_that_lags_again_and_again_is_on_trial_for_longer_each_time(clock: Clock) -> None:
    lag = Lag("s", clock)
    trials = []
    for _ in range(9):
        lag.late(clock.now)
        began = clock.now
        while lag.lagging:
            lag.in_time(clock.now)
            clock.now += 0.5
        trials.append(clock.now - began - 0.5)
    assert trials == [0, 1, 2, 4, 8, 16, 32, LONGEST_TRIAL, LONGEST_TRIAL]
    clock.now += LONGEST_TRIAL
    lag.late(clock.now)
    lag.in_time(clock.now)
    assert lag.seconds() == 0


def test_an_answer_to_an_old_batch_says_nothing_of_now(clock: Clock) -> None:
    lag = Lag("s", clock)
    old = clock.now
    lag.late(old)
    clock.now += 5
    lag.in_time(clock.now)
    lag.late(old)
    assert lag.seconds() == 0


def test_late_answers_are_bounded(clock: Clock) -> None:
    late = LateAnswers(clock)
    for id_ in range(MOST + 1):
        late.expect(id_, (0, 1), clock.now + 10)
    assert len(late.out()) == MOST
    assert late.recall(0, (0, 1)) == (False, None)
    assert late.recall(1, (0, 1)) == (True, None)
    late.heard(1, Delivered())
    assert len(late.out()) == MOST - 1
    assert late.recall(1, (0, 1)) == (True, Delivered())
    assert late.recall(1, (0, 1)) == (False, None)


def test_alarms_ring_in_order_and_one_that_fails_holds_no_other() -> None:
    alarms, rung = Alarms(), threading.Event()
    order: list[int] = []

    def fail() -> None:
        order.append(1)
        raise RuntimeError("boom")

    def ring() -> None:
        order.append(2)
        rung.set()

    now = alarms.clock()
    alarms.at(now + 0.02, ring)
    alarms.at(now + 0.01, fail)
    assert rung.wait(10)
    assert order == [1, 2]


def test_jobs_are_looked_for_at_the_start_and_while_their_rows_may_be_on_the_way(
    clock: Clock,
) -> None:
    outlet = HandOutlet("b")
    lot = Lot(outlet, lambda: ["q"], clock=clock)
    assert lot.room() > 1000  # those of an earlier process
    lot._none_at = clock.now
    assert lot.room() == 0
    outlet.parked_at = clock.now
    assert lot.room() > 1000
    outlet.breaker.heard([DOWN])
    clock.now += 10 * SETTLED
    assert lot.room() == 0
    outlet.breaker.heard([Delivered()])
    assert lot.room() > 1000  # however long it was closed
    lot._none_at = clock.now
    assert lot.room() == 0
