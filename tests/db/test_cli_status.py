"""`riverbridge status` as somebody on call sees it."""

from __future__ import annotations

import json
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg.conninfo import make_conninfo

from riverbridge.cli import main
from riverbridge.cli import status as command
from tests.support.database import Database
from tests.support.jobs import fill
from tests.support.roles import grants, new_role
from tests.support.standing import REASON, stand

PARTS = ["queues", "discarded", "pauses", "leader", "processes", "sources"]


def status(dsn: str, *args: str) -> Result:
    environment = {"DATABASE_URL": dsn, "RIVERBRIDGE_SCHEMA": None}
    result = CliRunner().invoke(main, ["status", *args], env=environment)
    assert "Traceback" not in result.output
    return result


def shown(dsn: str) -> str:
    result = status(dsn)
    assert result.exit_code == 0, result.output
    return result.stdout


def told(dsn: str) -> dict[str, Any]:
    result = status(dsn, "--json")
    assert result.exit_code == 0, result.output
    (line,) = result.stdout.splitlines()
    found: dict[str, Any] = json.loads(line)
    return found


def test_programs_are_told_everything(tables: Database, look: psycopg.Connection[Any]) -> None:
    stand(look)
    found = told(tables.dsn)
    assert list(found) == ["at", *PARTS, "unread"]
    mail, orders = found["queues"]
    assert (mail["name"], mail["available"]["jobs"], orders["retryable"]["jobs"]) == ("mail", 2, 1)
    assert 724 <= mail["oldest_seconds"] < 784
    assert found["discarded"] == [
        {"queue": "orders", "kind": "order.placed", "jobs": 1, "last_id": 4, "error": REASON}
    ]
    assert [(pause["what"], pause["name"]) for pause in found["pauses"]] == [("sink", "events")]
    assert found["leader"]["leader_id"] == "web-1_2026"
    assert [each["id"] for each in found["processes"]] == ["web-1_2026", "web-2_2026"]
    (source,) = found["sources"]
    assert (source["name"], source["partitions"], source["quarantined"]) == ("signups", 2, 1)
    assert found["unread"] == {}


def test_of_nothing_it_says_so(tables: Database) -> None:
    lines = shown(tables.dsn).split("\n")
    assert [line for line in lines[1:] if line] == [
        "no queues",
        "discarded in the last hour: none",
        "routes and sinks paused: none",
        "leader: nobody, so nothing is scheduled, rescued or cleaned up",
        "no processes",
        "no sources have positions or events in quarantine",
    ]


def test_instants_are_in_utc_wherever_the_server_is(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    stand(look)
    look.execute("UPDATE riverbridge_pause SET paused_at = '2026-01-02 03:04:05Z'")
    look.execute("UPDATE river_queue SET paused_at = '2026-01-02 03:04:06Z'")
    look.execute("UPDATE river_leader SET elected_at = '2026-01-02 03:04:07Z'")
    text = shown(make_conninfo(tables.dsn, options="-c TimeZone=Pacific/Kiritimati"))
    assert "paused by ann@shop since 2026-01-02T03:04:05Z" in text
    assert text.count("2026-01-02 03:04:06Z") == 2
    assert "leader: web-1_2026, since 2026-01-02 03:04:07Z" in text


def test_a_term_that_has_run_out_is_nobodys(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    stand(look)
    look.execute("UPDATE river_leader SET expires_at = now() - interval '1 s'")
    assert "leader: nobody, so nothing is scheduled" in shown(tables.dsn)


def test_a_screen_has_room_for_so_much(tables: Database, look: psycopg.Connection[Any]) -> None:
    look.execute(
        "INSERT INTO river_queue (name, updated_at)"
        " SELECT 'queue_' || n, now() FROM generate_series(10, 29) AS n"
    )
    fill(look, 10_001, queue="'queue_29'")
    lines = shown(tables.dsn).split("\n")
    assert lines[3].split()[:4] == ["queue_29", ">", "10000", "0"]
    assert lines[14].split()[0] == "queue_20"
    assert lines[15] == "and 8 more: --json has all"
    assert len(told(tables.dsn)["queues"]) == 20


def test_what_cannot_be_read_hides_nothing_else(database: Database) -> None:
    rights = grants("status")
    with new_role(database) as role, database.connect() as owner:
        stand(owner)
        role.grant(rights)
        assert told(role.database.dsn)["unread"] == {}
        for right in rights:
            named = right.removeprefix("GRANT ").removesuffix(" TO riverbridge")
            owner.execute(f"REVOKE {named} FROM {role.name}".encode())
            assert told(role.database.dsn)["unread"], right
            role.grant([right])
        owner.execute(f"REVOKE SELECT ON riverbridge_quarantine FROM {role.name}".encode())
        owner.execute("DROP TABLE riverbridge_pause")
        found = told(role.database.dsn)
        assert found["unread"] == {
            "pauses": 'relation "riverbridge_pause" does not exist: run `riverbridge migrate up`, '
            "or name the schema",
            "sources": "permission denied for table riverbridge_quarantine",
        }
        assert set(found) == {"at", *PARTS, "unread"} - {"pauses", "sources"}
        text = shown(role.database.dsn)
        assert "sources: permission denied for table riverbridge_quarantine" in text
        assert "leader: web-1_2026" in text


def test_what_takes_too_long_is_given_up(
    tables: Database, look: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "LIMIT", 0.3)
    stand(look)
    with tables.connect(autocommit=False) as other:
        other.execute("LOCK TABLE river_queue")
        text = shown(tables.dsn)
    assert "queues: takes longer than 0.3 s" in text
    assert "discarded in the last hour: 1" in text


def test_a_database_that_does_not_answer() -> None:
    result = status("postgresql://app:secret@127.0.0.1:1/app")
    assert result.exit_code == 1
    assert result.stderr.startswith("error: database: ")
    assert "secret" not in result.output
    assert status("").exit_code == 78
