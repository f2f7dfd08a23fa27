"""Periodic jobs as values, and the bundle they are in."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest

from riverbridge.errors import ConfigurationError
from riverbridge.model.args import RawArgs
from riverbridge.model.schedule import PeriodicInterval
from riverbridge.upkeep.periodic import PeriodicJob, PeriodicJobs
from tests.support.running import at_once

HOURLY = PeriodicInterval(timedelta(hours=1))


def job(**options: Any) -> PeriodicJob:
    return PeriodicJob(HOURLY, lambda: RawArgs("report", "{}"), **options)


@pytest.mark.parametrize("id_", ["nightly", "a.b/c:d+e", "Report[x]", "ab", "x" * 127, "a·b"])
def test_ids_that_river_takes(id_: str) -> None:
    assert job(id=id_).id == id_


@pytest.mark.parametrize(
    ("id_", "said"),
    [
        ("", "not allowed"),
        ("a", "at least 2"),
        ("x" * 128, "has 128 characters"),
        ("a b", "not allowed"),
        ("a,b", "not allowed"),
        (".ab", "not allowed"),
        ("äb", "not allowed"),
        ("ab\n", "not allowed"),
        (7, "must be text"),
    ],
)
def test_ids_that_river_refuses(id_: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        job(id=id_)


def test_a_durable_job_needs_an_id_and_a_schedule_that_says_what_it_is() -> None:
    with pytest.raises(ConfigurationError, match="needs an id"):
        job(durable=True)

    class Nameless:
        def next(self, after: datetime) -> datetime:
            return after + timedelta(hours=1)

    with pytest.raises(ConfigurationError, match="__repr__"):
        PeriodicJob(Nameless(), lambda: None, id="nightly", durable=True)
    PeriodicJob(Nameless(), lambda: None, id="nightly")


def test_a_policy_that_there_is_not() -> None:
    with pytest.raises(ConfigurationError, match="'run_twice'; use 'run_once'"):
        job(missed="run_twice")


def test_handles_count_up_and_are_never_used_again() -> None:
    jobs = PeriodicJobs([job(id="first"), job()])
    assert list(jobs.all()) == [0, 1]
    assert jobs.remove(1)
    assert not jobs.remove(1)
    assert jobs.add(job()) == 2
    jobs.clear()
    assert jobs.all() == {}
    assert jobs.add(job(id="first")) == 3
    assert jobs.remove_by_id("first")
    assert not jobs.remove_by_id("first")


def test_an_id_is_there_once() -> None:
    jobs = PeriodicJobs([job(id="first")])
    with pytest.raises(ConfigurationError, match="'first' already"):
        jobs.add(job(id="first"))
    with pytest.raises(ConfigurationError, match="'first' already"):
        PeriodicJobs([job(id="first"), job(id="first")])
    jobs.add(job())
    jobs.add(job())  # without one, any number


def test_threads_share_a_bundle() -> None:
    jobs = PeriodicJobs()
    told: list[None] = []
    jobs.on_change = lambda: told.append(None)
    together = threading.Barrier(4)
    handles: list[int] = []

    def work() -> None:
        together.wait(10)
        for _ in range(200):
            handle = jobs.add(job())
            handles.append(handle)
            if handle % 2:
                jobs.remove(handle)

    at_once(*[work] * 4)
    assert sorted(handles) == list(range(800))
    assert set(jobs.all()) == set(range(0, 800, 2))
    assert len(told) == 800
