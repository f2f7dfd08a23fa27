"""Several sinks, one of them down or slow: the others have all, once, and it has all in the end."""

from __future__ import annotations

import json
import signal
from collections import Counter

import pytest

from riverbridge.client.client import Client
from riverbridge.model.outcome import Delivered, Outcome, Permanent, Retry, Unreachable
from riverbridge.sinks.base import Message
from tests.chaos.processes import SCRIPTED, Scene
from tests.support.bridge import ScriptedSink, job_id, running_bridge
from tests.support.database import Database
from tests.support.jobs import add, fill, row
from tests.support.wait import eventually

OTHER = {name.replace("__TEST__", "__OTHER__"): value for name, value in SCRIPTED.items()}
QUEUE = {"queue": "'outbox'", "kind": "'test'"}
RETRY = {
    "ROUTES__R__QUEUES": "outbox",
    "ROUTES__R__RETRY": "fixed",
    "ROUTES__R__RETRY_DELAY": "0.1",
}


def down(message: Message) -> Outcome:
    return Unreachable("down")


def up(message: Message) -> Outcome:
    return Delivered()


def states(database: Database) -> dict[str, int]:
    with database.connect() as connection:
        return dict(
            connection.execute("SELECT state::text, count(*) FROM river_job GROUP BY 1").fetchall()
        )


def test_what_one_sink_has_is_not_sent_to_it_again_by_a_retry(database: Database) -> None:
    seen: Counter[int] = Counter()

    def twice_no(message: Message) -> Outcome:
        seen[job_id(message)] += 1
        return Retry("busy") if seen[job_id(message)] <= 2 else Delivered()

    a, b = ScriptedSink(), ScriptedSink(twice_no)
    with database.connect() as connection, running_bridge(database, {"a": a, "b": b}, RETRY):
        fill(connection, 10, **QUEUE)
        eventually(lambda: states(database) == {"completed": 10})
        assert Counter(a.job_ids) == dict.fromkeys(range(1, 11), 1)
        assert Counter(b.job_ids) == dict.fromkeys(range(1, 11), 3)
        job = row(connection, 1)
        assert (job["attempt"], len(job["errors"])) == (3, 2)
        assert job["metadata"]["riverbridge:delivered"] == []


def test_jobs_wait_parked_for_a_sink_that_is_down_and_come_when_it_is_back(
    database: Database,
) -> None:
    a, b = ScriptedSink(), ScriptedSink(down)
    garbage = ["'[]'", "'null'", """'{"riverbridge:delivered": "a", "riverbridge:parked": 7}'"""]
    with database.connect() as connection, running_bridge(database, {"a": a, "b": b}):
        fill(connection, 100, **QUEUE, max_attempts="1")
        eventually(lambda: states(database) == {"scheduled": 100})
        assert connection.execute(
            "SELECT DISTINCT attempt, coalesce(array_length(errors, 1), 0),"
            " metadata -> 'riverbridge:delivered', metadata -> 'riverbridge:parked' -> 'for'"
            " FROM river_job"
        ).fetchall() == [(0, 0, ["a"], ["b"])]
        cancelled = Client(connection).job_cancel(50)
        assert cancelled.state == "cancelled"
        for text in garbage:
            add(connection, **QUEUE, metadata=text)
        eventually(lambda: len(set(a.job_ids)) == 103)
        b.script = up
        # Long before they would have come by themselves.
        eventually(lambda: states(database) == {"completed": 102, "cancelled": 1}, 20)
        assert max(Counter(id_ for id_ in a.job_ids if id_ <= 100).values()) == 1
        assert set(b.job_ids) >= set(range(1, 104)) - {50}
        assert row(connection, 50)["metadata"]["riverbridge:parked"]["for"] == ["b"]
        assert connection.execute(
            "SELECT DISTINCT attempt, coalesce(array_length(errors, 1), 0) FROM river_job"
            " WHERE state = 'completed'"
        ).fetchall() == [(1, 0)]


def test_a_slow_sink_gets_each_job_once_and_holds_nobody(database: Database) -> None:
    a, b = ScriptedSink(), ScriptedSink(delay=1.0)
    with database.connect() as connection, running_bridge(database, {"a": a, "b": b}):
        fill(connection, 20, **QUEUE)
        eventually(lambda: states(database) == {"scheduled": 20})
        for _ in range(20):
            add(connection, **QUEUE)
        eventually(lambda: len(a.job_ids) == 40, 2)
        eventually(lambda: states(database) == {"completed": 40}, 30)
        assert Counter(a.job_ids) == Counter(b.job_ids) == dict.fromkeys(range(1, 41), 1)


def test_a_parked_job_is_deleted_in_the_end_where_the_route_deletes(database: Database) -> None:
    a, b = ScriptedSink(), ScriptedSink(down)
    route = {"ROUTES__R__QUEUES": "outbox", "ROUTES__R__ON_SUCCESS": "delete"}
    with database.connect() as connection, running_bridge(database, {"a": a, "b": b}, route):
        fill(connection, 5, **QUEUE)
        eventually(lambda: states(database) == {"scheduled": 5})
        b.script = up
        eventually(lambda: states(database) == {}, 20)


def test_a_process_that_is_killed_leaves_the_memory_in_the_rows(scene: Scene) -> None:
    scene.ledger.down("other", True)
    first = scene.start("one", OTHER).until_serving()
    ids = scene.insert(100, max_attempts=1)
    scene.until({"scheduled": 100})
    first.send(signal.SIGKILL)
    first.wait(10)
    scene.ledger.down("other", False)
    # The next one serves single leases first, as a process died; then it brings the parked forward.
    scene.start("two", OTHER).until_serving()
    scene.until({"completed": 100}, 40)
    acked = {sink: Counter(e.id for e in scene.ledger.entries("acked") if e.sink == sink)
             for sink in ("test", "other")}  # fmt: skip
    assert acked["test"] == dict.fromkeys(ids, 1)
    assert set(acked["other"]) == set(ids)


@pytest.mark.parametrize("several", [False, True], ids=["one sink", "two sinks"])
def test_nothing_is_discarded_before_its_dead_letter_is_acknowledged(
    database: Database, several: bool
) -> None:
    refusing, dead = ScriptedSink(lambda message: Permanent("no")), ScriptedSink(down)
    sinks = {"a": refusing, "dead": dead} | ({"b": ScriptedSink()} if several else {})
    route = {"ROUTES__R__QUEUES": "outbox", "ROUTES__R__DEAD_LETTERS": "dead"}
    with database.connect() as connection, running_bridge(database, sinks, route):
        fill(connection, 3, **QUEUE, args="""'{"n": 1}'""")
        eventually(lambda: states(database) == {"scheduled": 3})
        job = row(connection, 1)
        assert job["attempt"] == 0
        assert "a: no (not discarded" in job["errors"][0]["error"]
        dead.script = up
        eventually(lambda: states(database) == {"discarded": 3}, 20)
        job = row(connection, 1)
        assert job["attempt"] == 1
        assert [error["error"] for error in job["errors"]][1:] == ["a: no"]
        letters = [message for _, message in dead.received if job_id(message) == 1]
        assert json.loads(letters[-1].body or b"") == {"n": 1}
        assert dict(letters[-1].headers)["riverbridge-error"] == "a: no"
        if several:
            assert job["metadata"]["riverbridge:delivered"] == ["b"]
