"""Breaker, outlet and route: one outcome for each job, whatever the sinks do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence

import pytest

from riverbridge.bridge.breaker import MISCONFIGURED_REST, UNREACHABLE_REST, Breaker
from riverbridge.bridge.envelope import Envelope
from riverbridge.bridge.outlet import Outlet
from riverbridge.bridge.route import Route, Unmatched
from riverbridge.bridge.template import Template
from riverbridge.engine.batch import Batch
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import (
    Cancelled,
    Delivered,
    Misconfigured,
    Outcome,
    Parked,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
)
from riverbridge.sinks.base import Message
from tests.support.jobs import job
from tests.support.wait import eventually
from tests.unit.test_waking import Clock

DOWN, WRONG = Unreachable("down"), Misconfigured("no such topic")


@pytest.fixture
def clock() -> Clock:
    return Clock()


def probe_after(breaker: Breaker, clock: Clock) -> float:
    """Seconds until `breaker` lets a probe through."""
    began = clock.now
    while not breaker.room(10):
        clock.now += 0.01
        assert clock.now - began < 100
    assert breaker.room(10) == 1
    assert breaker.state == "half_open"
    return clock.now - began


@pytest.mark.parametrize("kind", [Delivered(), Retry("x"), Permanent("x"), Snoozed(1.0)], ids=str)
def test_any_answer_keeps_the_breaker_closed(clock: Clock, kind: Outcome) -> None:
    breaker = Breaker("s", clock)
    breaker.probing()
    breaker.heard([kind])
    breaker.heard([])
    assert breaker.state == "closed"
    assert breaker.room(10) == 10


@pytest.mark.parametrize(
    ("fault", "rests"), [(DOWN, UNREACHABLE_REST), (WRONG, MISCONFIGURED_REST)]
)
def test_the_rest_doubles_up_to_its_longest(
    clock: Clock, fault: Outcome, rests: tuple[float, float]
) -> None:
    breaker = Breaker("s", clock)
    first, longest = rests
    expected = first
    for _ in range(8):
        breaker.probing()
        breaker.heard([fault])
        assert breaker.state == "open"
        assert probe_after(breaker, clock) == pytest.approx(expected, rel=0.25)
        expected = min(longest, 2 * expected)
    assert expected == longest
    breaker.probing()
    breaker.heard([Delivered()])
    assert breaker.state == "closed"
    breaker.heard([fault])
    assert probe_after(breaker, clock) == pytest.approx(first, rel=0.25)


def test_one_fault_among_answers_opens_it(clock: Clock) -> None:
    breaker = Breaker("s", clock)
    breaker.heard([Delivered(), DOWN, Delivered()])
    assert breaker.state == "open"
    assert breaker.reason == "down"
    assert breaker.room(10) == 0


def test_only_one_probe_is_out(clock: Clock) -> None:
    breaker = Breaker("s", clock)
    breaker.heard([DOWN])
    probe_after(breaker, clock)
    breaker.probing()
    assert breaker.room(10) == 0
    clock.now += MISCONFIGURED_REST[1] - 0.01
    assert breaker.room(10) == 0
    clock.now += 0.02  # its answer is lost
    assert breaker.room(10) == 1


def test_a_probe_that_sent_nothing_is_due_again_at_once(clock: Clock) -> None:
    breaker = Breaker("s", clock)
    breaker.heard([DOWN])
    probe_after(breaker, clock)
    breaker.probing()
    breaker.heard([])
    assert breaker.room(10) == 1


class ASink:
    """Answers with what `reply` gives, or raises it."""

    def __init__(self, reply: Callable[[Sequence[Message]], Sequence[Outcome]]) -> None:
        self.reply = reply
        self.got: list[Message] = []
        self.closed = 0

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        self.got.extend(messages)
        return self.reply(messages)

    def close(self) -> None:
        self.closed += 1


def always(outcome: Outcome) -> ASink:
    return ASink(lambda messages: [outcome] * len(messages))


@pytest.fixture
def outlet() -> Iterator[Callable[..., Outlet]]:
    made: list[Outlet] = []

    def make(sink: ASink, name: str = "s", threads: int = 2) -> Outlet:
        made.append(Outlet(name, sink, threads=threads))
        return made[-1]

    yield make
    for one in made:
        one.close()


def raw(**more: Template) -> Envelope:
    return Envelope("raw", source="src", **more)  # type: ignore[arg-type]


def jobs(count: int = 3) -> list[ClaimedJob]:
    return [job(id=number, args=f'{{"n": {number}}}') for number in range(1, count + 1)]


def deliver(route: Route, some: Sequence[ClaimedJob]) -> list[Outcome | None]:
    batch = Batch(some, time.monotonic() + 10)
    route.take(batch)
    assert batch.wait(10), "the batch was never answered"
    return batch.outcomes()


def broken(messages: Sequence[Message]) -> Sequence[Outcome]:
    raise RuntimeError("boom")


@pytest.mark.parametrize(
    ("reply", "error"),
    [
        (broken, "boom"),
        (lambda messages: [Delivered()], "1 outcomes for 3 messages"),
        (lambda messages: [], "0 outcomes for 3 messages"),
        (lambda messages: [Delivered()] * 4, "4 outcomes for 3 messages"),
    ],
    ids=["raises", "few", "none", "many"],
)
def test_a_sink_that_breaks_its_promise_costs_an_attempt_and_no_thread(
    outlet: Callable[..., Outlet], reply: Callable[..., Sequence[Outcome]], error: str
) -> None:
    out = outlet(ASink(reply))
    for _ in range(5):
        for outcome in deliver(Route("r", {out: raw()}), jobs()):
            assert isinstance(outcome, Retry)
            assert outcome.ambiguous
            assert error in outcome.error
        eventually(lambda: out._free == 2)
    assert out.breaker.state == "closed"


def test_room_ends_with_the_threads_and_with_the_breaker(outlet: Callable[..., Outlet]) -> None:
    go = threading.Event()

    def wait(messages: Sequence[Message]) -> Sequence[Outcome]:
        assert go.wait(10)
        return [DOWN] * len(messages)

    slow = outlet(ASink(wait))
    route = Route("r", {slow: raw()})
    assert route.room() > 1000
    batches = [Batch(jobs(), time.monotonic() + 10) for _ in range(2)]
    for batch in batches:
        route.take(batch)
    assert route.room() == 0
    go.set()
    for batch in batches:
        assert batch.wait(10)
        assert batch.outcomes() == [DOWN] * 3
    eventually(lambda: slow._free == 2)
    assert slow.breaker.room(9) == 0
    assert route.room() == 0


GRAVEST_FIRST: list[Outcome] = [
    Permanent("no"),
    Cancelled("old"),
    Snoozed(1.0),
    Retry("later"),
    WRONG,
    DOWN,
    Delivered(),
]


@pytest.mark.parametrize("one", GRAVEST_FIRST, ids=str)
@pytest.mark.parametrize("other", GRAVEST_FIRST, ids=str)
def test_of_several_sinks_the_gravest_outcome_counts(
    outlet: Callable[..., Outlet], one: Outcome, other: Outcome
) -> None:
    route = Route("r", {outlet(always(one), "a"): raw(), outlet(always(other), "b"): raw()})
    gravest = min(one, other, key=GRAVEST_FIRST.index)
    # Not reached by one sink, and delivered by the other: it waits. Reached by none: untouched.
    waits = gravest in (WRONG, DOWN) and Delivered() in (one, other)
    for outcome in deliver(route, jobs(2)):
        assert type(outcome) is (Parked if waits else type(gravest))
        if isinstance(outcome, Retry | Permanent):
            assert outcome.error.startswith(("a: ", "b: "))
        if isinstance(outcome, Retry):
            assert not outcome.ambiguous


def test_the_longest_that_a_sink_asked_to_be_left_alone_counts(
    outlet: Callable[..., Outlet],
) -> None:
    sinks = {"a": Retry("x"), "b": Retry("busy", after=60.0), "c": Retry("y", after=5.0)}
    route = Route("r", {outlet(always(one), name): raw() for name, one in sinks.items()})
    assert deliver(route, jobs(1)) == [Retry("b: busy", after=60.0)]


def test_a_job_that_cannot_be_rendered_holds_no_other(outlet: Callable[..., Outlet]) -> None:
    sink = always(Delivered())
    route = Route("r", {outlet(sink): raw(key=Template.parse("{args.n}"))})
    some = [job(id=1), job(id=2, args='{"n": 5}'), job(id=3)]
    first, second, third = deliver(route, some)
    assert second == Delivered()
    assert [message.key for message in sink.got] == ["5"]
    for outcome in (first, third):
        assert isinstance(outcome, Permanent)
        assert "args.n" in outcome.error
    [only] = deliver(route, [job()])
    assert isinstance(only, Permanent)


def test_an_expired_job_is_not_sent_and_holds_no_other(outlet: Callable[..., Outlet]) -> None:
    sink = always(Delivered())
    route = Route("r", {outlet(sink): raw()})
    some = [
        job(id=1, metadata='{"expires_at": "2020-01-01T00:00:00Z"}'),
        job(id=2, metadata='{"expires_at": "2999-01-01T00:00:00Z"}'),
        job(id=3, metadata='{"expires_at": "tomorrow"}'),
    ]
    first, second, third = deliver(route, some)
    assert first == Cancelled("not delivered: it expired at 2020-01-01T00:00:00Z")
    assert second == Delivered()
    assert isinstance(third, Permanent)
    assert "metadata.expires_at: 'tomorrow' is no instant" in third.error
    assert [message.id for message in sink.got] == ["src:2"]
    assert deliver(route, some[:1]) == [first]


def test_a_defect_in_rendering_costs_that_job_an_attempt(
    outlet: Callable[..., Outlet], caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(Envelope):
        def render(self, job: ClaimedJob) -> Message:
            if job.id == 1:
                raise KeyError("a defect")
            return super().render(job)

    route = Route("r", {outlet(always(Delivered())): Faulty("raw", source="src")})
    first, second, third = deliver(route, jobs())
    assert isinstance(first, Retry)
    assert "a defect" in first.error
    assert second == third == Delivered()


def test_a_batch_given_up_before_it_was_sent_is_not_sent(outlet: Callable[..., Outlet]) -> None:
    go = threading.Event()

    def wait(messages: Sequence[Message]) -> Sequence[Outcome]:
        assert go.wait(10)
        return [Delivered()] * len(messages)

    sink = ASink(wait)
    out = outlet(sink, threads=1)
    route = Route("r", {out: raw()})
    first, second = (Batch(jobs(), time.monotonic() + 10) for _ in range(2))
    route.take(first)
    route.take(second)
    second.abandon()
    go.set()
    assert first.wait(10)
    assert second.wait(10)
    assert second.outcomes() == [Unreachable("dropped unsent")] * 3
    eventually(lambda: out._free == 1)
    assert len(sink.got) == 3


def test_jobs_answered_before_are_not_sent(outlet: Callable[..., Outlet]) -> None:
    sink = always(Delivered())
    batch = Batch(jobs(), time.monotonic() + 10)
    batch.answer([Cancelled("old")], 1)
    route = Route("r", {outlet(sink): raw()})
    route.take(batch)
    assert batch.wait(10)
    assert batch.outcomes() == [Delivered(), Cancelled("old"), Delivered()]
    assert [message.id for message in sink.got] == ["src:1", "src:3"]
    route.take(batch)
    assert len(sink.got) == 2


def test_what_no_route_takes_fails_and_says_so() -> None:
    batch = Batch(jobs(2), 0.0)
    Unmatched().take(batch)
    assert batch.outcomes() == [Retry("no route of queue q takes the kind order.placed")] * 2


def test_closing_an_outlet_closes_its_sink_once_waits_for_nobody_and_ends_its_threads() -> None:
    go = threading.Event()

    def wait(messages: Sequence[Message]) -> Sequence[Outcome]:
        assert go.wait(10)
        return [Delivered()] * len(messages)

    sink = ASink(wait)
    out = Outlet("closing", sink)
    Route("r", {out: raw()}).take(Batch(jobs(), time.monotonic() + 10))
    out.close()
    assert sink.closed == 1
    go.set()
    eventually(lambda: not [t for t in threading.enumerate() if t.name.startswith("sink-closing")])
