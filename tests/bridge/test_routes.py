"""Which route takes a job, on Postgres: globs as queues come, conditions, what no route takes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from riverbridge import telemetry
from riverbridge.engine import followed, keeper, sieve
from riverbridge.model.outcome import Delivered, Outcome, Retry, Unreachable
from riverbridge.service.running import Bridge
from riverbridge.sinks.base import Message
from riverbridge.store.jobs import JobTable
from tests.support.bridge import ScriptedSink, job_id, running_bridge
from tests.support.database import Database
from tests.support.jobs import add, fill, row
from tests.support.wait import eventually

BIG_AND_OTHERS = {
    "ROUTES__BIG__QUEUES": "q",
    "ROUTES__BIG__WHEN": "args.total > 100",
    "ROUTES__BIG__SINKS": "big",
    "ROUTES__OTHERS__QUEUES": "q",
    "ROUTES__OTHERS__SINKS": "others",
}
ONLY_BIG = {name: value for name, value in BIG_AND_OTHERS.items() if "__BIG__" in name}


@contextmanager
def bridge(tables: Database, env: dict[str, str], *names: str) -> Iterator[dict[str, ScriptedSink]]:
    sinks = {name: ScriptedSink() for name in names or ("big",)}
    with running_bridge(tables, sinks, env | {"POLL_INTERVAL": "100ms"}):
        yield sinks


def total(number: object) -> str:
    return "'" + json.dumps({"total": number}) + "'"


def states(look: psycopg.Connection[Any]) -> dict[str, int]:
    return dict(look.execute("SELECT state::text, count(*) FROM river_job GROUP BY 1").fetchall())


def test_conditions_split_one_queue_over_two_routes(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    big = [add(look, args=total(n)) for n in (101, 102.5)]
    small = [add(look, args=args) for args in (total(100), "'{}'")]
    with bridge(tables, BIG_AND_OTHERS, "big", "others") as sinks:
        eventually(lambda: states(look) == {"completed": 4})
        assert sorted(sinks["big"].job_ids) == big
        assert sorted(sinks["others"].job_ids) == small


def test_a_condition_that_cannot_judge_fails_the_job_in_its_row(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    bad = add(look, args=total("12"))
    with bridge(tables, BIG_AND_OTHERS | {"ROUTES__BIG__RETRY": "fixed"}, "big", "others") as sinks:
        [error] = eventually(lambda: row(look, bad)["errors"])
        assert "route big" in error["error"]
        assert "args.total > 100" in error["error"]
        assert row(look, bad)["state"] in ("available", "retryable")
        assert sinks["others"].received == []


def test_jobs_no_route_takes_hold_up_nobody_and_stay_as_they_are(
    tables: Database, look: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "MEASURE", 0.2)
    fill(look, 10_000, args=total(1), scheduled_at="now() - interval '1 minute'")
    before = look.execute("SELECT min(xmin::text), max(ctid) FROM river_job").fetchone()
    behind = add(look, args=total(200))
    with bridge(tables, ONLY_BIG) as sinks:
        eventually(lambda: sinks["big"].job_ids == [behind], within=30)
        later = add(look, args=total(300))
        eventually(lambda: sinks["big"].job_ids == [behind, later], within=5)
        eventually(lambda: states(look) == {"available": 10_000, "completed": 2})
    look.execute("DELETE FROM river_job WHERE state = 'completed'")
    after = look.execute("SELECT min(xmin::text), max(ctid) FROM river_job").fetchone()
    assert after == before
    again = add(look, args=total(400))
    with bridge(tables, ONLY_BIG) as sinks:
        eventually(lambda: sinks["big"].job_ids == [again], within=30)


def test_more_than_are_remembered_hold_up_nobody_either(
    tables: Database, look: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sieve, "MOST", 100)
    fill(look, 5_000, args=total(1), scheduled_at="timestamptz '2026-01-01'")
    behind = [add(look, args=total(200 + n), priority="4") for n in range(3)]
    with bridge(tables, ONLY_BIG) as sinks:
        eventually(lambda: sorted(sinks["big"].job_ids) == behind, within=30)
        later = add(look, args=total(300), scheduled_at="now() - interval '1 second'")
        eventually(lambda: later in sinks["big"].job_ids, within=30)


def test_what_is_left_is_counted_with_its_age_and_forgotten_when_gone(
    tables: Database,
    look: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: dict[str, float] = {}
    monkeypatch.setattr(keeper, "MEASURE", 0.1)
    monkeypatch.setattr(telemetry.unmatched_jobs, "set", lambda n, _: seen.update(jobs=n))
    monkeypatch.setattr(telemetry.unmatched_oldest, "set", lambda n, _: seen.update(oldest=n))
    fill(look, 3, args=total(1), scheduled_at="now() - interval '1 hour'")
    add(look, args=total(1), kind="'other'")
    env = ONLY_BIG | {"ROUTES__BIG__KINDS": "k"}
    with bridge(tables, env):
        eventually(lambda: seen.get("jobs") == 4 and seen["oldest"] > 3000)
        assert "queue q: no route takes" in caplog.text
        look.execute("DELETE FROM river_job WHERE kind = 'k'")
        eventually(lambda: seen["jobs"] == 1)


def test_what_no_condition_takes_fails_where_that_is_asked_for(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    left = add(look, args=total(1))
    stray = add(look, args=total(1), kind="'other'")
    env = ONLY_BIG | {"ROUTES__BIG__KINDS": "k", "ROUTES__BIG__UNMATCHED": "fail"}
    with bridge(tables, env):
        for id_ in (left, stray):
            [error] = eventually(lambda id_=id_: row(look, id_)["errors"])  # type: ignore[misc]
            assert "no route of queue q takes" in error["error"]


def test_a_closed_sink_holds_up_only_its_own_route(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    def down(_: Message) -> Outcome:
        return Unreachable("down")

    with bridge(tables, BIG_AND_OTHERS, "big", "others") as sinks:
        sinks["big"].script = down
        waits = add(look, args=total(200))
        eventually(lambda: waits in sinks["big"].job_ids)
        fill(look, 2_000, args=total(200))
        goes = [add(look, args=total(1)) for _ in range(3)]
        eventually(lambda: sorted(sinks["others"].job_ids) == goes)
        sinks["big"].script = lambda _: Delivered()
        eventually(lambda: states(look) == {"completed": 2_004}, within=20)
        assert row(look, waits)["attempt"] == 1


def test_each_route_tries_again_in_its_own_way(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    once, often = add(look, args=total(200)), add(look, args=total(1))
    env = BIG_AND_OTHERS | {
        "ROUTES__BIG__MAX_ATTEMPTS": "1",
        "ROUTES__OTHERS__RETRY": "fixed",
        "ROUTES__OTHERS__RETRY_DELAY": "1h",
    }
    with bridge(tables, env, "big", "others") as sinks:
        for sink in sinks.values():
            sink.script = lambda _: Retry("no")
        eventually(lambda: row(look, once)["state"] == "discarded")
        eventually(lambda: row(look, often)["state"] == "retryable")
        waits = row(look, often)["scheduled_at"] - row(look, often)["attempted_at"]
        assert 3000 < waits.total_seconds() < 4000  # an hour, with jitter


def test_a_queue_that_matches_is_served_once_it_has_jobs_and_dropped_when_it_has_none(
    tables: Database, look: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(followed, "IDLE", 1.0)
    monkeypatch.setattr(followed, "LINGER", 0.1)
    monkeypatch.setattr(keeper, "FIND", 0.1)
    env = {
        "ROUTES__EU__QUEUES": "orders-eu",
        "ROUTES__EU__SINKS": "eu",
        "ROUTES__ALL__QUEUES": "orders-*",
        "ROUTES__ALL__SINKS": "all",
    }
    first = add(look, queue="'orders-us'")
    alien = add(look, queue="'invoices'")
    add(look, queue="'orders-eu'")
    sinks = {"eu": ScriptedSink(), "all": ScriptedSink()}
    with running_bridge(tables, sinks, env | {"POLL_INTERVAL": "100ms"}) as running:
        eventually(lambda: sinks["all"].job_ids == [first])
        eventually(lambda: len(sinks["eu"].received) == 1)
        new = add(look, queue="'orders-jp'")
        eventually(lambda: sinks["all"].job_ids == [first, new], within=5)
        eventually(lambda: queues(running) == {"orders-eu"})
        again = add(look, queue="'orders-us'")
        eventually(lambda: sinks["all"].job_ids == [first, new, again], within=5)
        assert row(look, alien)["state"] == "available"
        assert {job_id(m) for _, m in sinks["eu"].received}.isdisjoint({first, new, again})


def test_a_queue_that_is_paused_when_it_is_found_is_not_claimed_from(
    tables: Database, look: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keeper, "FIND", 0.1)
    look.execute(
        "INSERT INTO river_queue (name, created_at, metadata, paused_at, updated_at)"
        " VALUES ('orders-us', now(), '{}', now(), now())"
    )
    sinks = {"all": ScriptedSink()}
    env = {"ROUTES__ALL__QUEUES": "*", "POLL_INTERVAL": "100ms"}
    with running_bridge(tables, sinks, env) as running:
        held = add(look, queue="'orders-us'")
        eventually(lambda: "orders-us" in queues(running))
        goes = add(look, queue="'orders-jp'")
        eventually(lambda: sinks["all"].job_ids == [goes])
        look.execute("UPDATE river_queue SET paused_at = NULL WHERE name = 'orders-us'")
        eventually(lambda: sinks["all"].job_ids == [goes, held])


def test_sinks_of_a_route_may_differ_in_what_they_are_sent(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    add(look, args='\'{"account": "a1", "region": "eu"}\'', queue="'q'")
    env = {
        "ROUTES__A__QUEUES": "q",
        "ROUTES__A__ORDERED": "false",
        "ROUTES__A__KEY": "{args.account}",
        "ROUTES__A__OVERRIDES__AUDIT__TOPIC": "audit.{args.region}",
        "ROUTES__A__OVERRIDES__AUDIT__KEY": "{kind}",
        "ROUTES__A__OVERRIDES__AUDIT__ENVELOPE": "raw",
        "ROUTES__A__OVERRIDES__AUDIT__HEADERS": '{"region": "{args.region}"}',
    }
    with bridge(tables, env, "audit", "events") as sinks:
        eventually(lambda: states(look) == {"completed": 1})
        [(_, audit)], [(_, events)] = sinks["audit"].received, sinks["events"].received
    assert (audit.destination, audit.key) == ("audit.eu", "k")
    assert dict(audit.headers).keys() == {"event-id", "region"}
    assert (events.destination, events.key) == ("unused", "a1")
    assert "ce_type" in dict(events.headers)


def test_the_newest_job_is_tried_at_start(
    tables: Database, look: psycopg.Connection[Any], caplog: pytest.LogCaptureFixture
) -> None:
    old = add(look, args="'{\"id\": 1}'", state="'completed'", finalized_at="now()")
    newest = add(look, state="'completed'", finalized_at="now()")
    env = {
        "ROUTES__A__QUEUES": "q",
        "ROUTES__A__OVERRIDES__BIG__TOPIC": "t.{args.id}",
    }
    with bridge(tables, env):
        [warning] = [r.getMessage() for r in caplog.records if "tried on job" in r.getMessage()]
    assert f"job {newest} for sink big" in warning
    assert "needs args.id" in warning
    assert f"job {old}" not in warning


def test_large_jobs_are_not_all_read_to_be_tried(look: psycopg.Connection[Any]) -> None:
    fill(look, 5, args="jsonb_build_object('x', repeat('y', 600000), 'n', n)")
    jobs = JobTable(None, "").newest(look, limit=100, byte_budget=1 << 20)
    assert [job.id for job in jobs] == [5, 4]


def queues(running: Bridge) -> set[str]:
    return {feed.queue for feed in running._crew._feeds()}
