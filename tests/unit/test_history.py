"""Histograms, and how what was found is counted into stretches of time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from riverbridge.model.history import (
    BOUNDS,
    NAMES_MAX,
    OTHERS,
    STEPS,
    Finished,
    Line,
    Tally,
    floor,
    place_of,
    quantile,
)

AT = datetime(2026, 3, 4, 5, 17, 42, tzinfo=UTC)


def histogram(*seconds: float) -> list[int]:
    found = [0] * (len(BOUNDS) + 1)
    for each in seconds:
        found[place_of(each)] += 1
    return found


def test_a_stretch_begins_on_a_whole_step() -> None:
    assert [floor(AT, step).strftime("%H:%M:%S") for step in STEPS] == [
        "05:17:00", "05:10:00", "05:00:00"
    ]  # fmt: skip


def test_a_quantile_is_within_the_bounds_around_the_true_one() -> None:
    chance = random.Random(7)
    values = sorted(chance.lognormvariate(-2, 2) for _ in range(5000))
    for share in (0.5, 0.95, 0.99):
        exact = values[int(share * len(values)) - 1]
        place = place_of(exact)
        found = quantile(histogram(*values), share)
        assert found is not None
        assert (BOUNDS[place - 1] if place else 0) <= found <= BOUNDS[min(place, len(BOUNDS) - 1)]


@pytest.mark.parametrize(
    ("seconds", "share", "expected"),
    [((), 0.5, None), ((1e9,), 0.5, BOUNDS[-1]), ((-3.0,), 1.0, BOUNDS[0]), ((1.5,), 1.0, 2.0)],
)
def test_quantiles_at_the_ends(
    seconds: tuple[float, ...], share: float, expected: float | None
) -> None:
    assert quantile(histogram(*seconds), share) == expected


def test_a_job_counts_for_all_for_its_queue_and_for_its_kind_in_every_step() -> None:
    tally = Tally()
    tally.inserted(AT, "q", "k", 3)
    tally.failed(AT, "q", "k", 2)
    tally.finished(AT, Finished("q", "k", "completed", 4, 9, 5, 1))
    tally.finished(AT, Finished("q", "k", "discarded", None, None, 1, 0))
    tally.finished(AT, Finished("q", "k", "cancelled", 4, None, 1, 0))
    lines = tally.lines()
    assert {(line.step, line.facet, line.name) for line in lines} == {
        (step, facet, name)
        for step in STEPS
        for facet, name in (("all", ""), ("queue", "q"), ("kind", "k"))
    }
    for line in lines:
        assert (line.inserted, line.failed) == (3, 3)
        assert (line.completed, line.discarded, line.cancelled) == (5, 1, 1)
        assert (line.wait[4], sum(line.wait)) == (6, 6)
        assert (line.run[9], sum(line.run)) == (5, 5)
        assert line.available is None


def test_the_backlog_is_the_most_there_was() -> None:
    tally = Tally()
    tally.backlog(AT, {"a": (5, 1.0), "b": (2, 9.0)})
    tally.backlog(AT + timedelta(seconds=1), {"a": (3, 2.0)})
    found = {line.name: line for line in tally.lines() if line.step == 60}
    assert (found[""].available, found[""].oldest) == (7, 9.0)
    assert (found["a"].available, found["a"].oldest) == (5, 2.0)


def test_beyond_so_many_names_the_others_count_together() -> None:
    tally = Tally()
    for n in range(NAMES_MAX + 50):
        tally.inserted(AT, "q", f"k{n}", 1)
    kinds = [line for line in tally.lines() if line.step == 60 and line.facet == "kind"]
    assert len(kinds) == NAMES_MAX + 1
    assert sum(line.inserted for line in kinds) == NAMES_MAX + 50
    assert {line.name: line.inserted for line in kinds}[OTHERS] == 50


def test_lines_add_up() -> None:
    one = Line(60, AT, "all", "", inserted=1, wait=histogram(0.1), available=4, oldest=2.0)
    one.add(Line(60, AT, "all", "", inserted=2, wait=histogram(0.1, 5), run=histogram(1)))
    assert (one.inserted, sum(one.wait), sum(one.run), one.oldest) == (3, 3, 1, 2.0)
