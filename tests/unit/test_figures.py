"""What sinks did is counted, and nothing of it is lost to a database that does not take it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from riverbridge.bridge.figures import REFUSED, Figures, Recording
from riverbridge.model.history import BOUNDS, place_of
from riverbridge.model.outcome import Delivered, Permanent, Retry, Unreachable


class Failing:
    """A connection on which nothing works."""

    def __init__(self, error: psycopg.Error) -> None:
        self.error = error
        self.asked = 0

    @property
    def pgconn(self) -> Any:
        """What a cursor begins with."""
        self.asked += 1
        raise self.error


def counted() -> Figures:
    figures = Figures()
    figures.heard([Delivered(), Retry("x"), Delivered()], 0.03)
    figures.heard([Permanent("x"), Unreachable("x")], 3)
    return figures


def test_each_outcome_counts_once() -> None:
    figures = counted()
    taken = figures.take()
    assert (taken.delivered, taken.failed) == (2, 3)
    assert {place: n for place, n in enumerate(taken.took) if n} == {place_of(0.03): 2}
    assert figures.take() == (0, 0, [0] * (len(BOUNDS) + 1))


def test_what_cannot_be_written_is_kept_with_what_comes() -> None:
    figures = counted()
    recording = Recording({"events": figures}, None)
    broken: Any = Failing(psycopg.OperationalError("gone"))
    with pytest.raises(psycopg.OperationalError):
        recording.write(broken)
    figures.heard([Delivered()], 0.03)
    taken = figures.take()
    assert (taken.delivered, taken.failed, sum(taken.took)) == (3, 3, 3)
    recording.write(broken)  # nothing is to be written, so nothing is asked
    assert broken.asked == 1


def test_a_right_that_is_missing_is_asked_for_now_and_then() -> None:
    clock = iter([0.0, 0.0, 1.0, REFUSED, REFUSED])
    figures = counted()
    recording = Recording({"events": figures}, None, lambda: next(clock))
    refusing: Any = Failing(psycopg.errors.InsufficientPrivilege("no"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        recording.write(refusing)
    recording.write(refusing)
    assert refusing.asked == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        recording.write(refusing)
    assert figures.take().delivered == 2
