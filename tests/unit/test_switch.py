"""Routes of one queue: each job to the first that takes it, and what is left is not read again."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from riverbridge.bridge.condition import Condition
from riverbridge.bridge.switch import Case, Switch
from riverbridge.engine import sieve
from riverbridge.engine.batch import Batch, Terms
from riverbridge.engine.sieve import Sieve, Sorted
from riverbridge.model.outcome import Cancelled, Delivered, Outcome, Retry
from riverbridge.model.receipt import Receipt
from riverbridge.model.retry import FixedRetry, RiverRetry
from tests.support.jobs import A_JOB, ATaker, job
from tests.unit.test_waking import Clock


def case(name: str, when: str | None = None, **more: Any) -> Case:
    condition = None if when is None else Condition.parse(when)
    terms = Terms(more.pop("retry", RiverRetry()), more.pop("max_attempts", None))
    return Case(name, ATaker(), terms, condition=condition, **more)


def n(number: int, **more: Any) -> Any:
    return job(id=number, args=f'{{"n": {number}}}', **more)


def batches(one: Case) -> list[list[int]]:
    assert isinstance(one.taker, ATaker)
    return [[job.id for job in batch.jobs] for batch in one.taker.batches]


def test_each_job_goes_to_the_first_route_that_takes_it_and_its_answer_comes_back() -> None:
    low, even = case("low", "args.n < 3"), case("even", "args.n % 2 == 0")
    late = case("late", kinds=("late.*",), oldest=A_JOB.scheduled_at + timedelta(seconds=1))
    switch = Switch([low, even, late], fail=True)
    jobs = [n(1), n(2), n(3), n(4), n(5, kind="late.x"), job(id=6, args='{"n": "x"}')]
    batch = Batch(jobs, 1e12)
    assert [j.id for j in switch.sort(jobs).taken] == [1, 2, 3, 4, 5, 6]
    switch.take(batch)
    assert (batches(low), batches(even), batches(late)) == ([[1, 2]], [[4]], [])
    two: list[Outcome] = [Delivered("one"), Delivered("two")]
    low.taker.batches[0].answer(two[1:], 1)  # type: ignore[attr-defined]
    low.taker.batches[0].answer(two[:1])  # type: ignore[attr-defined]
    one, other, untaken, unanswered, old, bad = batch.outcomes()
    assert [one, other, unanswered] == [*two, None]
    assert isinstance(untaken, Retry)
    assert "no route of queue q takes" in untaken.error
    assert isinstance(old, Cancelled)
    assert isinstance(bad, Retry)
    assert "route low: the condition 'args.n < 3'" in bad.error
    receipt = Receipt(4, "events", 1, None)
    even.taker.batches[0].add_receipts([receipt])  # type: ignore[attr-defined]
    assert batch.take_receipts() == [receipt]
    batch.abandon()
    assert even.taker.batches[0].abandoned  # type: ignore[attr-defined]


def test_a_batch_for_one_route_is_handed_on_as_it_is() -> None:
    one = case("one", "args.n < 3")
    batch = Batch([n(1), n(2)], 1e12)
    Switch([one], fail=False).take(batch)
    assert one.taker.batches == [batch]  # type: ignore[attr-defined]


def test_what_has_no_route_or_no_room_is_left() -> None:
    low, rest = case("low", "args.n < 3"), case("rest", "args.n < 5")
    low.taker.free = 1  # type: ignore[attr-defined]
    rest.taker.free = 0  # type: ignore[attr-defined]
    switch = Switch([low, rest], fail=False)
    assert switch.room() == 1
    found = switch.sort([n(1), n(2), n(3), n(9)])
    assert [[j.id for j in jobs] for jobs in found] == [[1], [9], [2, 3]]


def test_how_a_job_is_tried_again_is_its_routes_word() -> None:
    retry = FixedRetry(5.0)
    switch = Switch([case("low", "args.n < 3", retry=retry, max_attempts=4)], fail=False)
    assert switch.terms(n(1)) == Terms(retry, 4)
    assert switch.terms(n(9)) is None


def test_what_is_left_is_not_claimed_until_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sieve, "MOST", 4)
    clock = Clock()
    verdict = Sorted([n(1)], [n(2), n(3)], [n(4)])
    one = Sieve(lambda jobs: verdict, clock)
    assert [j.id for j in one.sift([])] == [1]
    assert sorted(one.ids()) == [2, 3, 4]
    assert one.unmatched() == [2, 3]
    assert not one.crowded()
    clock.now += sieve.SOON + 0.01
    assert sorted(one.ids()) == [2, 3]
    verdict = Sorted([], [n(5), n(6), n(7)], [])
    one.sift([])
    assert one.crowded()
    assert sorted(one.unmatched()) == [2, 3, 5, 6]
    one.forget([2, 3])
    assert not one.crowded()
    clock.now += sieve.AGAIN
    assert one.ids() == []
    assert one.unmatched() == [5, 6]
