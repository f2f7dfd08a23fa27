"""The keeper on a real table: what dead, frozen and forgetful processes held comes back."""

from __future__ import annotations

import logging
import threading
from collections.abc import Collection
from typing import Any

import psycopg
import pytest

from riverbridge.engine.batch import Feed
from riverbridge.engine.keeper import Keeper
from riverbridge.engine.settling import Aside
from riverbridge.engine.waking import Waker
from riverbridge.model.retry import FixedRetry
from riverbridge.store.database import connector
from riverbridge.store.jobs import JobTable
from riverbridge.store.processes import ProcessTable
from riverbridge.store.queues import QueueTable
from tests.support.database import Database
from tests.support.jobs import add, feed, fill, row
from tests.support.running import running
from tests.support.wait import eventually

DEAD = "riverbridge_dead"


def processes(id_: str = "riverbridge_me") -> ProcessTable:
    return ProcessTable(None, id=id_, host="h", pid=1, version="0")


def keeper(
    tables: Database,
    *,
    id_: str = "riverbridge_me",
    feeds: list[Feed] | None = None,
    wakers: list[Waker] | None = None,
    aside: Aside | None = None,
    crashed: list[str] | None = None,
    held: Collection[int] = (),
) -> Keeper:
    return Keeper(
        connect=connector(tables.dsn),
        jobs=JobTable(None, id_),
        processes=processes(id_),
        queues=QueueTable(None),
        feeds=feeds if feeds is not None else [feed()],
        wakers=wakers or [],
        aside=aside or Aside(),
        crashed=crashed or [],
        held=lambda: held,
    )


def record(
    connection: psycopg.Connection[Any],
    id_: str = DEAD,
    *,
    silent: str = "1 minute",
    queues: str = "q",
) -> None:
    connection.execute(
        "INSERT INTO riverbridge_process (id, host, pid, version, queues, heartbeat_at)"
        " VALUES (%s, 'h', 1, '0', %s, now() - %s::interval)",
        (id_, [queues], silent),
    )


def leased(connection: psycopg.Connection[Any], owner: str = DEAD, **columns: Any) -> int:
    given = {
        "state": "'running'",
        "attempt": "1",
        "attempted_at": "now()",
        "attempted_by": f"ARRAY['{owner}']",
    } | columns
    return add(connection, **given)


def records(connection: psycopg.Connection[Any]) -> set[str]:
    return {id_ for (id_,) in connection.execute("SELECT id FROM riverbridge_process")}


def state(connection: psycopg.Connection[Any], id_: int) -> str:
    return str(row(connection, id_)["state"])


def test_a_dead_process_s_leases_come_back_with_their_attempt_spent(tables: Database) -> None:
    with tables.connect() as look:
        record(look)
        first = leased(look)
        later = leased(look, attempt="3", errors="ARRAY['{}'::jsonb, '{}'::jsonb]")
        spent = leased(look, attempt="25", metadata="""'{"river:rescue_count": 2, "a": 1}'""")
        marked = leased(look, metadata="""'{"cancel_attempted_at": "2026-01-01T00:00:00Z"}'""")
        with running(keeper(tables)):
            eventually(lambda: state(look, first) != "running")
        assert state(look, first) == "available"  # T7: the next attempt is near
        assert row(look, first)["attempt"] == 1
        [error] = row(look, first)["errors"]
        assert error["attempt"] == 1
        assert DEAD in error["error"]
        assert set(error) == {"at", "attempt", "error", "trace"}
        assert state(look, later) == "retryable"
        wait = row(look, later)["scheduled_at"] - row(look, later)["attempted_at"]
        assert 70 <= wait.total_seconds() <= 95  # the third failure: 81 s, a tenth more or less
        assert state(look, spent) == "discarded"
        assert row(look, spent)["finalized_at"] is not None
        assert row(look, spent)["metadata"] == {"river:rescue_count": 3, "a": 1}
        assert row(look, first)["metadata"] == {"river:rescue_count": 1}
        assert state(look, marked) == "cancelled"
        assert row(look, marked)["attempt"] == 1


def test_only_dead_riverbridge_processes_lose_their_leases(tables: Database) -> None:
    with tables.connect() as look:
        record(look)
        record(look, "riverbridge_alive", silent="0 seconds")
        kept = [
            leased(look, "riverbridge_alive"),
            leased(look, "a_go_client"),
            leased(look, queue="'other'"),
        ]
        lost = leased(look)
        with running(keeper(tables)):
            eventually(lambda: state(look, lost) == "available")
        assert [state(look, id_) for id_ in kept] == ["running"] * 3


def test_a_row_held_by_another_session_is_taken_back_later(
    tables: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riverbridge.engine.keeper.LOOK_AGAIN", 0.5)
    me = keeper(tables)
    with tables.connect() as look, tables.connect() as holder:
        record(look)
        lost = leased(look)
        with holder.transaction():
            holder.execute("SELECT FROM river_job WHERE id = %s FOR UPDATE", (lost,))
            with running(me):
                eventually(lambda: DEAD in me._empty)
        with running(me):
            eventually(lambda: state(look, lost) == "available")


def test_a_record_stays_while_its_process_has_leases(tables: Database) -> None:
    with tables.connect() as look, tables.connect() as holder:
        record(look, silent="3 days")
        record(look, "riverbridge_done", silent="3 days")
        lost = leased(look)
        with holder.transaction():
            holder.execute("SELECT FROM river_job WHERE id = %s FOR UPDATE", (lost,))
            with running(keeper(tables, crashed=[DEAD, "riverbridge_done"])):
                eventually(lambda: "riverbridge_done" not in records(look))
            assert DEAD in records(look)
        with running(keeper(tables, crashed=[DEAD])):
            eventually(lambda: state(look, lost) == "available")
            eventually(lambda: DEAD not in records(look))


def test_two_keepers_share_what_they_take_back(
    tables: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with tables.connect() as look:
        record(look)
        fill(
            look,
            2500,
            state="'running'",
            attempt="1",
            attempted_at="now()",
            attempted_by=f"ARRAY['{DEAD}']",
        )
        with running(keeper(tables, id_="riverbridge_x"), keeper(tables, id_="riverbridge_y")):
            eventually(
                lambda: (
                    look.execute(
                        "SELECT count(*) = 0 FROM river_job WHERE state = 'running'"
                    ).fetchone()
                    == (True,)
                )
            )
        cursor = look.execute(
            "SELECT DISTINCT state::text, attempt, array_length(errors, 1) FROM river_job"
        )
        assert cursor.fetchall() == [("available", 1, 1)]


def test_the_route_that_takes_the_kind_says_how_a_job_comes_back(tables: Database) -> None:
    feeds = [
        feed("orders", kinds=(r"order.%",), retry=FixedRetry(1000.0)),
        feed("rest", kinds=("%",), max_attempts=1),
    ]
    with tables.connect() as look:
        record(look)
        order, rest = leased(look, kind="'order.placed'"), leased(look, kind="'other'")
        with running(keeper(tables, feeds=feeds)):
            eventually(lambda: state(look, order) != "running")
        assert state(look, order) == "retryable"
        assert state(look, rest) == "discarded"


def test_where_there_are_dead_letters_the_route_discards_what_was_lost(tables: Database) -> None:
    with tables.connect() as look:
        record(look)
        given = {"attempt": "25", "metadata": """'{"a": 1}'"""}
        spent, odd = leased(look, **given), leased(look, attempt="25", metadata="'[]'")
        cancelled = leased(look, **(given | {"metadata": """'{"cancel_attempted_at": "x"}'"""}))
        with running(keeper(tables, feeds=[feed("a", dead_letters=True)])):
            eventually(lambda: state(look, spent) != "running")
        found = row(look, spent)
        assert (found["state"], found["attempt"], found["finalized_at"]) == ("available", 25, None)
        [error] = found["errors"]
        assert found["metadata"] == {
            "a": 1,
            "river:rescue_count": 1,
            "riverbridge:lost": {"attempt": 25, "error": error["error"]},
        }
        assert state(look, odd) == "discarded"  # it could not be told from others
        assert state(look, cancelled) == "cancelled"


def test_a_lease_that_no_lane_knows_of_is_found_by_its_own_process(tables: Database) -> None:
    with tables.connect() as look:
        lost = leased(look, "riverbridge_me", attempted_at="now() - interval '61 seconds'")
        out = leased(look, "riverbridge_me", attempted_at="now() - interval '61 seconds'")
        new = leased(look, "riverbridge_me", attempted_at="now() - interval '2 seconds'")
        with running(keeper(tables, held=[out])):
            eventually(lambda: state(look, lost) == "available")
        assert "lost track" in row(look, lost)["errors"][0]["error"]
        assert state(look, out) == state(look, new) == "running"


def test_a_clean_stop_leaves_no_lease_and_no_record(tables: Database) -> None:
    me = keeper(tables)
    me.sign_on(threading.Event())
    with tables.connect() as look:
        assert records(look) == {"riverbridge_me"}
        left = leased(look, "riverbridge_me")
        me.sign_off()
        assert state(look, left) == "available"
        assert records(look) == set()


def test_a_stop_that_cannot_settle_leaves_its_record_for_others(
    tables: Database, caplog: pytest.LogCaptureFixture
) -> None:
    me = keeper(tables)
    me.sign_on(threading.Event())
    with tables.connect() as look, tables.connect() as holder:
        left = leased(look, "riverbridge_me")
        with holder.transaction():
            holder.execute("SELECT FROM river_job WHERE id = %s FOR UPDATE", (left,))
            me.sign_off()
        assert records(look) == {"riverbridge_me"}
    assert "others will take them back" in caplog.text


def test_a_row_that_cannot_be_taken_back_rests_and_holds_no_other(
    tables: Database, caplog: pytest.LogCaptureFixture
) -> None:
    aside = Aside()
    with tables.connect() as look:
        record(look)
        bad, good = leased(look, args="""'{"bad": true}'"""), leased(look)
        look.execute(
            "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN RAISE 'not this one'; END$$"
        )
        look.execute(
            "CREATE TRIGGER guard BEFORE UPDATE ON river_job FOR EACH ROW"
            " WHEN (OLD.args ? 'bad') EXECUTE FUNCTION guard()"
        )
        me = keeper(tables, aside=aside)
        with running(me):
            eventually(lambda: state(look, good) == "available")
            again = leased(look)
            eventually(lambda: state(look, again) == "available")
        assert state(look, bad) == "running"
    assert aside.ids() == [bad]
    assert caplog.text.count("not this one") == 1


def test_pauses_are_read_and_queue_rows_made_and_kept(tables: Database) -> None:
    a, b = feed("a", "q"), feed("b", "other")
    waker = Waker([a, b])
    with tables.connect() as look:
        look.execute(
            "INSERT INTO river_queue (name, created_at, metadata, paused_at, updated_at) VALUES"
            " ('q', '2020-01-01', '{\"x\": 1}', '2020-01-01', '2020-01-01')"
        )
        with running(keeper(tables, feeds=[a, b], wakers=[waker])):
            eventually(lambda: waker._paused == {"q"})
            eventually(lambda: look.execute("SELECT count(*) FROM river_queue").fetchone() == (2,))
            kept = look.execute(
                "SELECT metadata, paused_at IS NOT NULL, updated_at > '2021-01-01'"
                " FROM river_queue WHERE name = 'q'"
            ).fetchone()
            assert kept == ({"x": 1}, True, True)
            look.execute("UPDATE river_queue SET paused_at = NULL")
            eventually(lambda: waker._paused == set())


def test_who_else_works_a_bridged_queue_is_named_once(
    tables: Database, caplog: pytest.LogCaptureFixture
) -> None:
    with tables.connect() as look:
        leased(look, "a_go_client")
        add(
            look,
            state="'completed'",
            finalized_at="now()",
            attempted_by="ARRAY['another', 'riverbridge_x']",
        )
        with running(keeper(tables)):
            eventually(lambda: "a_go_client works jobs" in caplog.text)
    assert "another works" not in caplog.text


def test_unmatched_jobs_are_alarmed_with_their_age(
    tables: Database, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    with tables.connect() as look:
        add(look, kind="'order.placed'")
        add(look, kind="'stray'", scheduled_at="now() - interval '100 seconds'")
        add(look, kind="'stray'", scheduled_at="now() + interval '100 seconds'")
        with running(keeper(tables, feeds=[feed(kinds=(r"order.%",))])):
            eventually(lambda: "left untouched" in caplog.text)
    assert "no route takes 1 due jobs, the oldest for 100 s" in caplog.text


def test_the_heartbeat_goes_on_after_the_connection_is_lost(tables: Database) -> None:
    with tables.connect() as look, running(keeper(tables)):
        eventually(lambda: records(look) == {"riverbridge_me"})
        look.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        look.execute("DELETE FROM riverbridge_process")
        eventually(lambda: records(look) == {"riverbridge_me"})
