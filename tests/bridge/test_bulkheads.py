"""Sinks and routes that are paused from another process, and what limits a sink."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from riverbridge.cli import main
from riverbridge.model.outcome import Outcome
from riverbridge.sinks.base import Message
from tests.support.bridge import ScriptedSink, environment, running_bridge
from tests.support.database import Database
from tests.support.jobs import add, fill
from tests.support.wait import eventually

ROUTES = {"ROUTES__ORDERS__QUEUES": "orders", "ROUTES__ORDERS__SINKS": "a"}
BOTH = {"ROUTES__ORDERS__QUEUES": "orders", "ROUTES__ORDERS__SINKS": "a,b"}
SINKS = {
    f"SINKS__{name}__{key}": value
    for name in ("A", "B")
    for key, value in {"TYPE": "file", "PATH": "-"}.items()
}
JOB = {"queue": "'orders'"}
OBEYED = 2.0
"""Seconds within which every bridge has to obey; it looks twice in one."""


def run(database: Database, *args: str, env: dict[str, str] | None = None) -> Result:
    given = environment(database, SINKS | ROUTES if env is None else env)
    result = CliRunner().invoke(main, list(args), env=given)
    assert "Traceback" not in result.output
    return result


def states(look: psycopg.Connection[Any]) -> dict[str, int]:
    return dict(look.execute("SELECT state::text, count(*) FROM river_job GROUP BY 1").fetchall())


def attempts(look: psycopg.Connection[Any]) -> Counter[int]:
    return Counter(attempt for (attempt,) in look.execute("SELECT attempt FROM river_job"))


@pytest.mark.parametrize("what", ["sink", "route"])
def test_one_that_is_paused_gets_nothing_until_it_goes_on(
    tables: Database, look: psycopg.Connection[Any], what: str
) -> None:
    name = {"sink": "a", "route": "orders"}[what]
    sink = ScriptedSink()
    with running_bridge(tables, {"a": sink}, ROUTES) as bridge:
        add(look, **JOB)
        eventually(lambda: len(sink.received) == 1)
        paused = run(tables, f"{what}s", "pause", name, "--reason", "moving it")
        assert paused.exit_code == 0, paused.output
        note = eventually(lambda: bridge.notes().get(f"{what}-{name}", ""), within=OBEYED)
        assert note.startswith("paused by ")
        assert note.endswith(": moving it")
        assert bridge.checks()["sink-a"] is None  # as it is meant
        fill(look, 20, **JOB)
    assert len(sink.received) == 1
    # A bridge that starts knows before it claims anything.
    with running_bridge(tables, {"a": sink}, ROUTES) as bridge:
        assert f"{what}-{name}" in bridge.notes()
        time.sleep(0.3)  # nothing is to happen
        assert len(sink.received) == 1
        assert attempts(look) == {0: 20, 1: 1}
        assert run(tables, f"{what}s", "resume", name).output == f"{what} {name}: goes on\n"
        eventually(lambda: len(sink.received) == 21, within=OBEYED)
        eventually(lambda: states(look) == {"completed": 21})
        assert bridge.notes() == {}


def test_a_paused_one_of_several_sinks_holds_no_other_and_gets_its_jobs_later(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    a, b = ScriptedSink(), ScriptedSink()
    assert run(tables, "sinks", "pause", "b").exit_code == 0
    with running_bridge(tables, {"a": a, "b": b}, BOTH):
        fill(look, 50, **JOB)
        eventually(lambda: states(look) == {"scheduled": 50})
        assert len(a.received) == 50
        assert b.received == []
        assert attempts(look) == {0: 50}
        run(tables, "sinks", "resume", "b")
        eventually(lambda: states(look) == {"completed": 50})
        assert (len(a.received), len(b.received)) == (50, 50)


def test_a_pause_may_end_by_itself(tables: Database, look: psycopg.Connection[Any]) -> None:
    sink = ScriptedSink()
    assert run(tables, "sinks", "pause", "a", "--until", "+1s").exit_code == 0
    with running_bridge(tables, {"a": sink}, ROUTES) as bridge:
        add(look, **JOB)
        assert "until" in bridge.notes()["sink-a"]
        assert sink.received == []
        eventually(lambda: len(sink.received) == 1, within=1 + OBEYED)
    listed = run(tables, "sinks", "list", "--json").stdout.splitlines()
    assert [json.loads(line)["pause"] for line in listed] == [None, None]


def test_what_is_paused_is_listed_and_a_slip_of_the_pen_is_refused(tables: Database) -> None:
    wrong = run(tables, "sinks", "pause", "aa")
    assert (wrong.exit_code, "no sink aa; did you mean a?" in wrong.output) == (2, True)
    assert (
        run(tables, "routes", "pause", "orders", "--until", "2020-01-01T00:00:00Z").exit_code == 2
    )
    assert run(tables, "routes", "pause", "orders", "--reason", "two\nlines").exit_code == 2
    assert run(tables, "routes", "resume", "orders").output == "route orders: was not paused\n"
    for reason in ("first", "second"):
        assert run(tables, "routes", "pause", "orders", "--reason", reason).exit_code == 0
    # Without settings that name any, nobody can tell what is right.
    assert run(tables, "routes", "pause", "gone", env={}).exit_code == 0
    table = run(tables, "routes", "list").stdout.splitlines()
    assert table[0].split()[:3] == ["route", "queues", "sinks"]
    assert [line.split()[0] for line in table[1:]] == ["gone", "orders"]
    assert "second" in table[2]
    [gone, orders] = map(json.loads, run(tables, "routes", "list", "--json").stdout.splitlines())
    assert (gone["in_settings"], orders["in_settings"]) == (False, True)
    assert orders["pause"]["reason"] == "second"
    assert run(tables, "routes", "resume", "gone", "orders").exit_code == 0


def test_a_limited_sink_gets_as_many_as_is_said_and_no_rows_wait_for_it_locked(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    sink = ScriptedSink()
    fill(look, 3000, **JOB)
    with running_bridge(tables, {"a": sink}, ROUTES | {"SINKS__A__RATE_LIMIT": "400/s"}):
        began = eventually(lambda: sink.received)[0][0]
        while time.monotonic() < began + 2.5:
            # What is locked is what is out, which this sink answers at once.
            assert _locked(look) <= 100
            time.sleep(0.05)
    times = [at for at, _ in sink.received]
    within = sum(at < began + 2.5 for at in times)
    assert 0.85 * 1000 <= within <= 1000 + 100
    assert len(set(sink.job_ids)) == len(sink.job_ids)
    assert max(Counter(times).values()) <= 100
    assert set(attempts(look)) == {0, 1}


def _locked(look: psycopg.Connection[Any]) -> int:
    """How many jobs somebody holds just now; to ask by locking them would keep them from others."""
    row = look.execute(
        "SELECT count(*) FROM river_job WHERE state = 'available' AND xmax <> '0'::xid"
        " AND pg_xact_status(xmax::text::xid8) = 'in progress'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_several_sinks_go_at_the_pace_of_the_limited_one_and_nothing_is_parked(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    a, b = ScriptedSink(), ScriptedSink()
    fill(look, 80, queue="CASE n % 2 WHEN 0 THEN 'orders' ELSE 'others' END")
    env = BOTH | {
        "ROUTES__OTHERS__QUEUES": "others",
        "ROUTES__OTHERS__SINKS": "a,b",
        "SINKS__B__RATE_LIMIT": "80/s",
    }
    with running_bridge(tables, {"a": a, "b": b}, env):
        eventually(lambda: states(look) == {"completed": 80})
    assert sorted(a.job_ids) == sorted(b.job_ids) == list(range(1, 81))
    assert look.execute("SELECT DISTINCT metadata::text FROM river_job").fetchall() == [("{}",)]


class Weighing(ScriptedSink):
    """Knows the most bytes that it ever had at one time."""

    def __init__(self) -> None:
        super().__init__(delay=0.02)
        self.most = self.alone = 0
        self._now: list[int] = []
        self._lock = threading.Lock()

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        sizes = [len(message.body or b"") for message in messages]
        with self._lock:
            self._now += sizes
            if max(sizes) > 10_000:
                self.alone = max(self.alone, len(self._now))
            else:
                self.most = max(self.most, sum(self._now))
        try:
            return super().deliver(messages, deadline)
        finally:
            with self._lock:
                for size in sizes:
                    self._now.remove(size)


def test_bytes_in_flight_are_bounded_and_a_larger_job_goes_alone(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    sink = Weighing()
    text = "jsonb_build_object('x', repeat('y', CASE n WHEN 50 THEN 50000 ELSE 1000 END))"
    fill(look, 100, queue="CASE n % 2 WHEN 0 THEN 'orders' ELSE 'others' END", args=text)
    both = ROUTES | {"ROUTES__OTHERS__QUEUES": "others", "ROUTES__OTHERS__SINKS": "a"}
    with running_bridge(tables, {"a": sink}, both | {"SINKS__A__MAX_IN_FLIGHT_BYTES": "10000"}):
        eventually(lambda: states(look) == {"completed": 100})
    assert sorted(sink.job_ids) == list(range(1, 101))
    assert 5_000 < sink.most <= 10_000
    assert sink.alone == 1
    assert attempts(look) == {1: 100}


def test_an_ordered_route_keeps_its_order_within_the_limits(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    sink = ScriptedSink()
    fill(look, 60, **JOB, args="jsonb_build_object('k', n % 3)")
    env = ROUTES | {
        "ROUTES__ORDERS__KEY": "{args.k}",
        "ROUTES__ORDERS__ORDERED": "true",
        "SINKS__A__RATE_LIMIT": "80/s",
        "SINKS__A__MAX_IN_FLIGHT_BYTES": "1KiB",
    }
    with running_bridge(tables, {"a": sink}, env):
        eventually(lambda: states(look) == {"completed": 60})
    for key in range(3):
        assert [i for i in sink.job_ids if i % 3 == key] == [
            i for i in range(1, 61) if i % 3 == key
        ]
