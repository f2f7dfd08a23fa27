"""`riverbridge replay --sink` and what jobs with several sinks remember, while the bridge runs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import psycopg
from click.testing import CliRunner

from riverbridge.cli import main
from riverbridge.model.outcome import Delivered, Unreachable
from riverbridge.sinks.base import REPLAY
from tests.support.bridge import ScriptedSink, environment, job_id, running_bridge
from tests.support.database import Database
from tests.support.jobs import fill, row
from tests.support.wait import eventually

NAMES = ("events", "billing", "search")
ENV = {
    f"SINKS__{name.upper()}__{key}": value
    for name in NAMES
    for key, value in {"TYPE": "kafka", "BOOTSTRAP_SERVERS": "127.0.0.1:9", "TOPIC": "t"}.items()
} | {"ROUTES__R__QUEUES": "outbox", "ROUTES__R__SINKS": ",".join(NAMES)}
JOBS = 5
DONE: dict[str, Any] = {
    "riverbridge:delivered": [],
    "riverbridge:parked": {"for": [], "times": 0},
}


def replay(database: Database, *args: str) -> None:
    given = environment(database, ENV)
    result = CliRunner().invoke(main, ["replay", *args, "--yes"], env=given)
    assert result.exit_code == 0, result.output


def came(sink: ScriptedSink) -> Counter[tuple[int, str | None]]:
    """How often each job came, by the number of its replay."""
    return Counter(
        (job_id(message), dict(message.headers).get(REPLAY)) for _, message in sink.received
    )


def until_completed(connection: psycopg.Connection[Any]) -> None:
    def all_are() -> bool:
        done = "SELECT count(*) FROM river_job WHERE state = 'completed' AND attempt >= 1"
        return connection.execute(done).fetchone() == (JOBS,)

    eventually(all_are, 20)


def test_a_replay_to_one_of_three_sinks_is_sent_there_and_nowhere_else(database: Database) -> None:
    sinks = {name: ScriptedSink() for name in NAMES}
    events, billing, search = sinks.values()
    everything = Counter({(id_, None): 1 for id_ in range(1, JOBS + 1)})
    with database.connect() as connection, running_bridge(database, sinks, ENV):
        fill(connection, JOBS, queue="'outbox'")
        until_completed(connection)
        assert [came(sink) for sink in sinks.values()] == [everything] * 3

        replay(database, "--id", "1", "--id", "2", "--sink", "billing")
        until_completed(connection)
        again = everything + Counter([(1, "1"), (2, "1")])
        assert [came(sink) for sink in sinks.values()] == [everything, again, everything]
        assert row(connection, 1)["metadata"] == DONE | {"riverbridge:replay": 1}
        assert row(connection, 3)["metadata"] == {}

        # While it is down, the job waits for that sink alone, and remembers who has it already.
        billing.script = lambda message: Unreachable("down")
        replay(database, "--id", "1", "--sink", "billing")
        eventually(lambda: row(connection, 1)["state"] == "scheduled")
        waiting = row(connection, 1)["metadata"]
        assert waiting["riverbridge:parked"]["for"] == ["billing"]
        assert sorted(waiting["riverbridge:delivered"]) == ["events", "search"]
        tried = len(billing.received)
        billing.script = lambda message: Delivered()
        until_completed(connection)
        assert came(events) == came(search) == everything
        assert came(billing)[(1, "2")] >= 1
        assert [job_id(message) for _, message in billing.received[tried:]] == [1]
        assert row(connection, 1)["metadata"] == DONE | {"riverbridge:replay": 2}

        # What it remembers of a replay to one does not keep the next from going to all.
        replay(database, "--id", "1", "--id", "3")
        until_completed(connection)
        further = Counter([(1, "3"), (3, "1")])
        assert came(events) == came(search) == everything + further
        assert came(billing)[(1, "3")] == came(billing)[(3, "1")] == 1
        assert row(connection, 1)["metadata"]["riverbridge:replay"] == 3
        assert row(connection, 3)["metadata"] == {"riverbridge:replay": 1}
        attempts = [row(connection, id_)["attempt"] for id_ in range(1, JOBS + 1)]
        assert attempts == [4, 2, 2, 1, 1]
