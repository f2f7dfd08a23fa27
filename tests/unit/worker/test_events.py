"""Subscriptions: what they tell, when, and what happens when nobody reads (contract 10)."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from riverbridge.engine.batch import Batch
from riverbridge.model.job import JobState
from riverbridge.model.retry import RiverRetry
from riverbridge.model.settlement import settlement
from riverbridge.worker.events import Event, EventKind, Events, Subscription
from riverbridge.worker.job import JobCancel, JobSnooze, RunningJob
from riverbridge.worker.runtime import Runtime
from tests.support.jobs import job
from tests.support.worker import KIND, Shop, answered, shop_of

Job = RunningJob[dict[str, Any]]
ALL = list(EventKind)
PAUSED = Event(EventKind.QUEUE_PAUSED, queue="orders")


def settle(batch: Batch, *places: int, state: JobState | None = None) -> None:
    """As the lane does after its commit; without `places`, the whole batch. state: what the rows
    got, where it is not what the outcomes ask for."""
    assert batch.on_settled is not None
    told = []
    for row, outcome in zip(batch.jobs, answered(batch), strict=True):
        wanted = settlement(row, outcome, retry=RiverRetry())
        assert wanted is not None
        told.append((row, outcome, state or wanted.state))
    batch.on_settled([told[place] for place in places or range(len(told))])


def endings(job: Job) -> None:
    """By the job's id."""
    match job.id:
        case 1:
            raise RuntimeError("x\x00y")
        case 2:
            raise JobCancel("no")
        case 3:
            raise JobSnooze(60)
        case 4:
            job.record_output(1)


def test_what_becomes_of_jobs(runtime: Runtime) -> None:
    events = Events()
    shop = shop_of(runtime, endings, events=events)
    rows = [job(id=n) for n in range(6)]
    rows += [
        job(id=1, failures=3, attempt=3),
        job(id=1, attempt=24),
        job(id=9, kind="nobody.knows"),
    ]
    with events.subscribe(ALL) as subscription:
        for row in rows:
            settle(shop.take(row))
    found = list(subscription)
    assert [(event.kind, event.state, event.error) for event in found] == [
        ("job_completed", JobState.COMPLETED, None),
        ("job_failed", JobState.AVAILABLE, "x\\u0000y"),
        ("job_cancelled", JobState.CANCELLED, "JobCancelError: no"),
        ("job_snoozed", JobState.SCHEDULED, None),
        ("job_completed", JobState.COMPLETED, None),
        ("job_completed", JobState.COMPLETED, None),
        ("job_failed", JobState.RETRYABLE, "x\\u0000y"),
        ("job_failed", JobState.DISCARDED, "x\\u0000y"),
        (
            "job_failed",
            JobState.AVAILABLE,
            "job kind is not registered in the client's Workers bundle: nobody.knows",
        ),
    ]
    jobs = [event.job for event in found if event.job is not None]
    assert [(each.id, each.attempt) for each in jobs[5:8]] == [(5, 1), (1, 4), (1, 25)]


@pytest.mark.parametrize(
    ("id_", "state", "told"),
    [
        (1, JobState.CANCELLED, ("job_cancelled", JobState.CANCELLED, "x\\u0000y")),
        (3, JobState.CANCELLED, ("job_cancelled", JobState.CANCELLED, None)),
        # It completed itself in a transaction of its own, and failed after that.
        (1, JobState.COMPLETED, ("job_completed", JobState.COMPLETED, None)),
    ],
)
def test_what_the_row_got_is_told_not_what_was_asked_for(
    runtime: Runtime, id_: int, state: JobState, told: tuple[str, JobState, str | None]
) -> None:
    events = Events()
    with events.subscribe(ALL) as subscription:
        settle(shop_of(runtime, endings, events=events).take(job(id=id_)), state=state)
    (event,) = subscription
    assert (event.kind, event.state, event.error) == told


def test_an_interruption_is_told(runtime: Runtime) -> None:
    events = Events()
    shop = shop_of(runtime, endings, events=events)
    shop.executor.interrupt()
    subscription = events.subscribe([EventKind.JOB_INTERRUPTED])
    settle(shop.take())
    event = subscription.get(10)
    assert event is not None
    assert (event.kind, event.state) == (EventKind.JOB_INTERRUPTED, JobState.AVAILABLE)


def test_nothing_is_told_before_it_is_in_the_row(runtime: Runtime) -> None:
    events = Events()
    subscription = events.subscribe(["job_completed"])
    batch = shop_of(runtime, lambda job: None, events=events).take(job(id=1), job(id=2))
    answered(batch)
    assert subscription.get(0) is None
    settle(batch, 1)
    assert (event := subscription.get(0)) is not None
    assert event.job is not None
    assert event.job.id == 2
    settle(batch, 0)
    assert subscription.get(0) is not None
    assert subscription.get(0) is None


def test_the_time_it_took(runtime: Runtime) -> None:
    events = Events()
    subscription = events.subscribe(["job_completed"])
    due = datetime.now(UTC) - timedelta(seconds=100)
    batch = shop_of(runtime, lambda job: time.sleep(0.02), events=events).take(
        job(scheduled_at=due)
    )
    answered(batch)
    time.sleep(0.03)
    settle(batch)
    assert (event := subscription.get(0)) is not None
    assert event.stats is not None
    assert 100 <= event.stats.queue_wait < 110
    assert 0.02 <= event.stats.run < 10
    assert 0.03 <= event.stats.complete < 10


def test_each_gets_what_it_asked_for() -> None:
    events = Events()
    queues, jobs = events.subscribe(["queue_paused"]), events.subscribe(["job_failed"])
    events.publish(PAUSED)
    events.publish(Event(EventKind.QUEUE_RESUMED, queue="orders"))
    assert queues.get(0) == PAUSED
    assert queues.get(0) is None
    assert jobs.get(0) is None


def test_what_nobody_reads_is_dropped_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    events = Events()
    slow, other = events.subscribe(ALL, size=2), events.subscribe(ALL)
    for _ in range(4):
        events.publish(PAUSED)
    assert caplog.text.count("events are dropped from here on, the first one queue_paused") == 1
    assert slow.get(0) == PAUSED
    for _ in range(2):
        events.publish(PAUSED)
    assert caplog.text.count("events are dropped from here on") == 2
    events.close()
    assert list(slow) == [PAUSED] * 2
    assert list(other) == [PAUSED] * 6


def test_a_closed_one_ends_and_is_forgotten() -> None:
    events = Events()
    closed = events.subscribe(ALL)
    events.publish(PAUSED)
    closed.close()
    events.publish(PAUSED)
    assert list(closed) == [PAUSED]
    assert closed.get() is None, "at once"
    other = events.subscribe(ALL)
    events.publish(PAUSED)
    assert other.get(0) == PAUSED


@pytest.mark.parametrize(
    ("kinds", "size"), [(["job_finished"], 1), ([], 1), ("job_failed", 1), (["job_failed"], 0)]
)
def test_what_cannot_be_subscribed_to(kinds: Any, size: int) -> None:
    with pytest.raises(ValueError, match=r"job_finished|kinds: must be|size: 0"):
        Events().subscribe(kinds, size)


def test_a_thread_waits_for_the_next(runtime: Runtime) -> None:
    events = Events()
    subscription = events.subscribe(ALL)
    found: list[Event] = []

    def read() -> None:
        found.extend(subscription)

    thread = threading.Thread(target=read)
    thread.start()
    for _ in range(3):
        events.publish(PAUSED)
    events.close()
    thread.join(10)
    assert found == [PAUSED] * 3


def test_an_event_loop_waits_for_the_next() -> None:
    events = Events()
    subscription = events.subscribe(ALL)

    async def read(count: int) -> list[Event]:
        found = []
        async for event in subscription:
            found.append(event)
            if len(found) == count:
                break
        return found

    async def main() -> list[Event]:
        given_up = asyncio.create_task(read(1))
        await asyncio.sleep(0)
        given_up.cancel()
        first = asyncio.create_task(read(1))
        await asyncio.sleep(0)
        thread = threading.Thread(target=publish)
        thread.start()
        found = await asyncio.wait_for(first, 10) + await asyncio.wait_for(read(9), 10)
        thread.join(10)
        return found

    def publish() -> None:
        for _ in range(3):
            events.publish(PAUSED)
        events.close()

    assert asyncio.run(main()) == [PAUSED] * 3
    # A loop that is gone does not keep others from hearing.
    left: Subscription = events.subscribe(ALL)

    async def read_one() -> None:
        await anext(aiter(left))

    async def leaves() -> None:
        task = asyncio.create_task(read_one())
        await asyncio.sleep(0)
        task.cancel()

    asyncio.run(leaves())
    events.publish(PAUSED)
    assert left.get(0) == PAUSED


def test_a_subscriber_costs_nothing_else(runtime: Runtime) -> None:
    events = Events()
    shop: Shop = shop_of(runtime, endings, events=events)
    settle(shop.take(job(id=0, kind=KIND)))
    assert events.subscribe(ALL).get(0) is None, "it hears of what comes after it"
