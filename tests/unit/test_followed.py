"""Queues that match a glob come and go."""

from __future__ import annotations

import pytest

from riverbridge.engine import followed
from riverbridge.engine.batch import Feed
from riverbridge.engine.followed import Followed
from tests.support.jobs import feed
from tests.unit.test_waking import Clock


class Crew:
    """What is done to the feeds, in order."""

    def __init__(self) -> None:
        self.done: list[tuple[str, str]] = []
        self.clock = Clock()

    def followed(self, *served: str) -> Followed:
        return Followed(
            lambda queue: [(1, feed("r", queue))] if queue.startswith("o-") else [],
            add=lambda one, lanes: self.done.append((f"add {lanes}", one.queue)),
            remove=lambda one: self.done.append(("remove", one.queue)),
            forget=lambda one: self.done.append(("forget", one.queue)),
            served={queue: [(0, feed("r", queue))] for queue in served}.items(),
            clock=self.clock,
        )


def names(feeds: list[Feed]) -> list[str]:
    return [one.queue for one in feeds]


def test_a_queue_is_claimed_from_a_round_after_it_was_found() -> None:
    crew = Crew()
    one = crew.followed("o-a")
    assert names(one.look(["o-a", "o-b", "x"])) == ["o-b"]
    assert crew.done == []
    one.admit()
    assert crew.done == [("add 1", "o-b")]
    assert names(one.look(["o-b"])) == []


def test_a_queue_without_jobs_is_dropped_and_comes_back() -> None:
    crew = Crew()
    one = crew.followed("o-a", "o-b")
    crew.clock.now += followed.IDLE - 1
    one.look(["o-b"])
    crew.clock.now += 1
    one.look([])
    assert crew.done == [("remove", "o-a")]
    crew.clock.now += followed.LINGER
    assert names(one.look(["o-a"])) == ["o-a"]
    assert crew.done[1:] == [("forget", "o-a")]


def test_not_more_than_so_many(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(followed, "MOST", 2)
    one = Crew().followed("o-a")
    assert names(one.look(["o-a", "o-b", "o-c"])) == ["o-b"]
    one.look(["o-c"])
    assert caplog.text.count("the others wait") == 1
