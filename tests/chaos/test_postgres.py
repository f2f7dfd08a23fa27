"""Faults of Postgres and of the way to it: the bridge goes on by itself, and loses nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from riverbridge.embedded.postgres import Postgres
from riverbridge.testing.proxy import Proxy
from tests.chaos.processes import Scene
from tests.support.database import Database, build_template, new_name
from tests.support.wait import eventually

RECOVER = 5.0
"""Seconds from a fault to the next delivery."""

MakeProxy = Callable[[int], Proxy]


def _terminate(scene: Scene, listener: bool) -> int:
    """End the sessions of all bridges, or only the listening ones; how many there were."""
    rows = scene.connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'riverbridge%%'"
        " AND (application_name LIKE '%% listener' OR NOT %s)",
        (listener,),
    ).fetchall()
    return len(rows)


def _delivered_soon(scene: Scene, count: int = 10) -> None:
    ids = scene.insert(count)
    eventually(lambda: set(ids) <= set(scene.ledger.counts()), RECOVER)


@pytest.mark.every_major
def test_terminated_sessions_are_replaced_while_idle(scene: Scene) -> None:
    process = scene.start("one").until_serving()
    _delivered_soon(scene)
    # Two lanes, keeper, listener and leader.
    eventually(lambda: scene.sessions("riverbridge%") == 5)
    assert _terminate(scene, listener=False) == 5
    _delivered_soon(scene)
    assert process.running
    eventually(lambda: scene.sessions("riverbridge%") == 5)


@pytest.mark.every_major
def test_jobs_whose_session_was_terminated_are_delivered_again(scene: Scene) -> None:
    scene.keep_history()
    scene.start("one", {"RIVERBRIDGE_HOLD": "3"}, delay=1).until_serving()
    ids = scene.insert(50)
    eventually(lambda: len(scene.ledger.entries("begin")) == 50)
    _terminate(scene, listener=False)
    scene.until({"completed": 50}, RECOVER + 1)
    assert set(scene.ledger.counts()) == set(ids)
    assert max(scene.ledger.counts().values()) <= 2
    assert [state for _, state, _, _ in scene.history()] == ["completed"] * 50
    assert {attempt for _, _, attempt, _ in scene.history()} == {1}


def test_the_listener_comes_back(scene: Scene) -> None:
    # Without it a job would wait for the next look, a minute later.
    scene.start("one", {"RIVERBRIDGE_POLL_INTERVAL": "60"}).until_serving()
    eventually(lambda: scene.sessions("% listener") == 1)
    assert _terminate(scene, listener=True) == 1
    eventually(lambda: scene.sessions("% listener") == 1, RECOVER)

    def heard() -> bool:
        (id_,) = scene.insert(1)
        scene.connection.execute(
            "SELECT pg_notify(current_schema() || '.river_insert', '{\"queue\": \"outbox\"}')"
        )
        eventually(lambda: id_ in scene.ledger.counts(), 1)
        return True

    eventually(heard, RECOVER)


def test_a_crash_of_postgres_under_load_loses_nothing(
    own_postgres: Postgres, tmp_path: Path
) -> None:
    name = new_name()
    template = build_template(own_postgres)
    database = Database(name, own_postgres.create_database(name, template), own_postgres)
    with Scene(database, tmp_path) as before:
        process = before.start("one", delay=0.05).until_serving()
        ids = before.insert(10_000)
        eventually(lambda: len(before.ledger.entries("acked")) > 1000)
        own_postgres.kill()
        own_postgres.start()
        ready = time.monotonic()
        acked = len(before.ledger.entries("acked"))
        eventually(lambda: len(before.ledger.entries("acked")) > acked, 10)
        print(f"first delivery {time.monotonic() - ready:.1f} s after Postgres was ready")
        with database.connect() as connection:
            before.connection = connection
            before.until({"completed": 10_000}, 30)
            assert set(before.ledger.counts()) == set(ids)
            # Only what was out at the crash came twice.
            twice = sum(count - 1 for count in before.ledger.counts().values())
            assert twice <= 2 * 1000
            assert connection.execute("SELECT DISTINCT attempt FROM river_job").fetchall() == [(1,)]
            process.send(signal.SIGTERM)
            assert process.wait(20) == 0


def _through(scene: Scene, proxy: MakeProxy) -> tuple[Proxy, str]:
    port = scene.connection.info.port
    between = proxy(port)
    return between, scene.database.dsn.replace(f":{port}/", f":{between.port}/")


def test_a_commit_whose_answer_is_lost_is_a_commit(scene: Scene, proxy: MakeProxy) -> None:
    scene.keep_history()
    # Said while the lane's transaction commits, and in no other one. Said once: a server that
    # cannot send a second line would roll back.
    scene.connection.execute(
        """
        CREATE FUNCTION tell() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE NOTICE 'a lane commits'; RETURN NULL; END $$;
        CREATE CONSTRAINT TRIGGER tell AFTER UPDATE ON river_job DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW WHEN (new.id = 1) EXECUTE FUNCTION tell();
        -- Lanes have constraints checked at once; this one is to speak at the commit all the same.
        CREATE FUNCTION put_off() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN SET CONSTRAINTS tell DEFERRED; RETURN NULL; END $$;
        CREATE TRIGGER put_off BEFORE UPDATE ON river_job EXECUTE FUNCTION put_off();
        """
    )
    between, dsn = _through(scene, proxy)
    between.cut_on(b"a lane commits")
    process = scene.start("one", dsn=dsn).until_serving()
    ids = scene.insert(50)
    scene.until({"completed": 50})
    eventually(lambda: between.cuts == 1)
    eventually(lambda: process.said("lost the connection to Postgres"))
    ids += scene.insert(50)
    scene.until({"completed": 100}, RECOVER)
    assert scene.ledger.counts() == dict.fromkeys(ids, 1)
    assert [state for _, state, _, _ in scene.history()] == ["completed"] * 100


def _waiting_lane(scene: Scene) -> int:
    """The backend of a lane that waits for its sink; 0 while there is none."""
    row = scene.connection.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name LIKE 'riverbridge%' AND state = 'idle in transaction'"
        " AND state_change < clock_timestamp() - interval '100 ms'"
    ).fetchone()
    return 0 if row is None else int(row[0])


def test_a_hung_server_is_given_up_and_its_jobs_are_delivered(scene: Scene) -> None:
    """SIGSTOP of a lane's backend: it keeps the connection and answers nothing."""
    settings = {"RIVERBRIDGE_DEADLINE": "1", "RIVERBRIDGE_HOLD": "1", "RIVERBRIDGE_LANES": "1"}
    process = scene.start("one", settings, delay=0.7).until_serving()
    scene.insert(10)
    eventually(lambda: len(scene.ledger.entries("begin")) == 10)
    backend = eventually(lambda: _waiting_lane(scene), every=0.05)
    os.kill(backend, signal.SIGSTOP)
    try:
        began = time.monotonic()
        eventually(lambda: process.said("its connection is cut"), 25)
        assert time.monotonic() - began < 1 + 15 + 5
    finally:
        os.kill(backend, signal.SIGCONT)
    scene.until({"completed": 10})
    assert process.running
