"""Resumable jobs: each case is an attempt, and what the next one finds in the row."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from riverbridge.errors import InvalidJob, WorkerError
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Delivered, Retry, Snoozed
from riverbridge.worker.job import JobSnooze, RunningJob
from riverbridge.worker.runtime import Runtime
from tests.support.jobs import job
from tests.support.worker import notes, shop_of

STEP, CURSOR = "river:resumable_step", "river:resumable_cursor"
Job = RunningJob[dict[str, Any]]


@dataclass
class Trail:
    """Does the steps a, b and c, and says which were done; those in `failing` raise."""

    failing: dict[str, Exception]
    done: list[str]

    def make(self, name: str) -> None:
        if name in self.failing:
            raise self.failing[name]
        self.done.append(name)

    async def make_later(self, name: str) -> None:
        await asyncio.sleep(0)
        self.make(name)

    def plain(self, job: Job) -> None:
        for name in ("a", "b", "c"):
            job.step(name, self.make, name)

    async def in_loop(self, job: Job) -> None:
        await job.step("a", self.make_later, "a")
        await job.step("b", self.make, name="b")
        await job.step("c", lambda: self.make_later("c"))


def stored(**metadata: Any) -> ClaimedJob:
    """A row with this metadata; keys are `step` and `cursor`."""
    return job(metadata=json.dumps({f"river:resumable_{key}": v for key, v in metadata.items()}))


@pytest.fixture(params=["plain", "in_loop"])
def way(request: pytest.FixtureRequest) -> str:
    """Whether in a thread or in the loop."""
    found: str = request.param
    return found


@pytest.mark.parametrize(
    ("row", "failing", "done", "left"),
    [
        (job(), {}, "abc", {}),
        (job(), {"a": ValueError("x")}, "", {}),
        (job(), {"b": ValueError("x")}, "a", {STEP: "a"}),
        (job(), {"c": JobSnooze(9)}, "ab", {STEP: "b"}),
        (stored(step="a"), {"c": ValueError("x")}, "b", {STEP: "b"}),
        (stored(step="a"), {"b": ValueError("x")}, "", {STEP: "a"}),
        (stored(step="b"), {}, "c", {}),
        (stored(step="c"), {}, "", {}),
        (stored(step="b", cursor={"c": 1}), {}, "c", {}),
        (stored(step=7), {}, "abc", {}),
        (stored(step=""), {}, "abc", {}),
    ],
    ids=range(11),
)
def test_what_was_done_is_not_done_again(
    runtime: Runtime,
    way: str,
    row: ClaimedJob,
    failing: dict[str, Exception],
    done: str,
    left: dict[str, Any],
) -> None:
    trail = Trail(failing, [])
    outcome = shop_of(runtime, getattr(trail, way)).one(row)
    assert "".join(trail.done) == done
    assert notes(outcome) == left
    expected: type[Any] = Delivered if not failing else Retry
    assert isinstance(outcome, Snoozed if "c" in failing and row == job() else expected)


@pytest.mark.parametrize("steps", [True, False])
def test_a_step_that_does_not_come_is_an_error(runtime: Runtime, way: str, steps: bool) -> None:
    trail = Trail({}, [])
    function = getattr(trail, way) if steps else (lambda job: None)
    outcome = shop_of(runtime, function).one(stored(step="gone"))
    assert isinstance(outcome, Retry)
    assert outcome.error == "river: resumable step 'gone' not found in Worker"
    assert outcome.metadata is None
    assert trail.done == []


def test_a_key_of_that_name_elsewhere_is_none(runtime: Runtime) -> None:
    nested = job(metadata=json.dumps({"x": {STEP: "gone"}}))
    assert shop_of(runtime, lambda job: None).one(nested) == Delivered()


def test_a_step_that_failed_fails_the_job_though_it_was_caught(runtime: Runtime) -> None:
    done: list[str] = []

    def function(job: Job) -> None:
        job.step("a", done.append, "a")
        with pytest.raises(ZeroDivisionError):
            job.step("b", lambda: 1 / 0)
        job.step("c", done.append, "c")
        done.append("after")

    outcome = shop_of(runtime, function).one()
    assert isinstance(outcome, Retry)
    assert outcome.error == "division by zero"
    assert done == ["a", "after"]
    assert notes(outcome) == {STEP: "a"}


@pytest.mark.parametrize(
    ("names", "message"), [(("a", "a"), "a name of its own"), (("",), "a name of its own")]
)
def test_names_are_unique(runtime: Runtime, names: tuple[str, ...], message: str) -> None:
    def function(job: Job) -> None:
        for name in names:
            job.step(name, lambda: None)

    outcome = shop_of(runtime, function).one()
    assert isinstance(outcome, Retry)
    assert message in outcome.error


def test_an_async_step_of_a_plain_job_is_an_error(runtime: Runtime) -> None:
    outcome = shop_of(runtime, lambda job: job.step("a", asyncio.sleep, 0)).one()
    assert isinstance(outcome, Retry)
    assert outcome.error == "step 'a': its function is async, but not the job's"


class TestCursors:
    """A step that was left half done."""

    def copies(self, upto: int, seen: list[int]) -> Callable[[Job], object]:
        """Copies the numbers up to 5 in step b, but fails at `upto`."""

        def copy(job: Job, cursor: int | None) -> None:
            for number in range(cursor or 0, 5):
                if number == upto:
                    raise ValueError(f"at {number}")
                seen.append(number)
                job.set_cursor(number + 1)

        def function(job: Job) -> None:
            job.step("a", lambda: None)
            job.step_cursor("b", lambda cursor: copy(job, cursor))

        return function

    def test_it_goes_on_where_it_stood(self, runtime: Runtime) -> None:
        seen: list[int] = []
        first = shop_of(runtime, self.copies(2, seen)).one()
        assert notes(first) == {STEP: "a", CURSOR: {"b": 2}}
        # The step before it is the one that is stored: it is met, and b is not skipped.
        second = shop_of(runtime, self.copies(4, seen)).one(stored(step="a", cursor={"b": 2}))
        assert notes(second) == {STEP: "a", CURSOR: {"b": 4}}
        assert (
            shop_of(runtime, self.copies(9, seen)).one(stored(step="a", cursor={"b": 4}))
            == Delivered()
        )
        assert seen == [0, 1, 2, 3, 4]

    def test_a_stored_step_with_a_cursor_is_run_again(self, runtime: Runtime, way: str) -> None:
        seen: list[Any] = []

        async def again(job: Job) -> None:
            await job.step_cursor("b", seen.append)

        def plain(job: Job) -> None:
            job.step_cursor("b", seen.append)

        function = plain if way == "plain" else again
        for cursor in ({"b": [1]}, {"other": 1}, {}, None, [1]):
            row = stored(step="b", cursor=cursor)
            assert shop_of(runtime, function).one(row) == Delivered()
        assert seen == [[1]]

    def test_cursors_that_are_used_up_become_null(self, runtime: Runtime) -> None:
        def function(job: Job) -> None:
            job.step_cursor("b", lambda cursor: None)
            raise ValueError("later")

        outcome = shop_of(runtime, function).one(stored(step="b", cursor={"b": 1}))
        assert notes(outcome) == {STEP: "b", CURSOR: None}

    def test_a_cursor_may_have_a_type(self, runtime: Runtime) -> None:
        @dataclass
        class Page:
            number: int

        seen: list[Any] = []

        def function(job: Job) -> None:
            def step(cursor: Page | None) -> None:
                seen.append(cursor)
                job.set_cursor(Page(3))
                raise ValueError("x")

            job.step("a", lambda: None)
            job.step_cursor("b", step, type=Page)

        shop = shop_of(runtime, function)
        first = shop.one()
        assert notes(first) == {STEP: "a", CURSOR: {"b": {"number": 3}}}
        shop.one(stored(step="a", cursor={"b": {"number": 3}}))
        assert seen == [None, Page(3)]
        unfit = shop.one(stored(step="a", cursor={"b": {"number": "x"}}))
        assert isinstance(unfit, Retry)
        assert unfit.error == "Expected `int`, got `str` - at `$.number`"

    def test_where_it_cannot_be_set(self, runtime: Runtime) -> None:
        def function(job: Job) -> None:
            with pytest.raises(WorkerError, match="no step is running"):
                job.set_cursor(1)
            with pytest.raises(InvalidJob, match="no form in JSON"):
                job.step_cursor("b", lambda cursor: job.set_cursor(object()))
            raise ValueError("x")

        outcome = shop_of(runtime, function).one()
        assert isinstance(outcome, Retry)
        assert outcome.metadata is None
