"""`riverbridge doctor` as somebody on call sees it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from riverbridge.cli import main
from riverbridge.service import examining
from tests.support.database import Database
from tests.support.jobs import add
from tests.support.roles import grants, new_role
from tests.support.standing import stand

SINK = "RIVERBRIDGE_SINKS__EVENTS__"


def doctor(dsn: str, *args: str, **settings: str) -> Result:
    environment = {"DATABASE_URL": dsn, "RIVERBRIDGE_SCHEMA": None, **settings}
    result = CliRunner().invoke(main, ["doctor", *args], env=environment)
    assert "Traceback" not in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def found(dsn: str, **settings: str) -> dict[str, list[tuple[str, str, str]]]:
    """By check, the level of each finding, what was said, and what to do."""
    result = doctor(dsn, "--json", **settings)
    (line,) = result.stdout.splitlines()
    findings: dict[str, list[tuple[str, str, str]]] = {}
    for each in json.loads(line)["findings"]:
        told = (each["level"], each["said"], each["do"])
        findings.setdefault(each["check"], []).append(told)
    return findings


def healthy(connection: psycopg.Connection[Any]) -> None:
    connection.execute(
        "WITH seat AS (INSERT INTO river_leader (leader_id, elected_at, expires_at)"
        " VALUES ('me', now(), now() + interval '1 day'))"
        " INSERT INTO riverbridge_process (id, host, pid, version) VALUES ('me', 'h', 1, '1')"
    )


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def look(tables: Database) -> Iterator[psycopg.Connection[Any]]:
    with tables.connect() as connection:
        yield connection


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def kafka(*ports: int) -> dict[str, str]:
    servers = ",".join(f"127.0.0.1:{port}" for port in ports)
    return {f"{SINK}TYPE": "kafka", f"{SINK}BOOTSTRAP_SERVERS": servers, f"{SINK}TOPIC": "jobs"}


def test_where_all_is_well_it_says_so(
    tables: Database, look: psycopg.Connection[Any], listening: int
) -> None:
    healthy(look)
    result = doctor(tables.dsn, **kafka(listening))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    for line in (
        "ok    tables: are as this release needs them",
        "ok    clock: this machine's and the server's agree",
        "ok    queues: none is paused, and no due job waits for long",
        "ok    periodic: no durable job is late or paused",
        "ok    processes: 1 at work",
        "ok    quarantine: holds no event",
        "ok    sink events: can be reached",
    ):
        assert line in lines
    assert any(line.startswith("ok    leader: me, since 20") for line in lines)
    assert not [line for line in lines if line.startswith("fail")]


def test_what_is_wrong_comes_with_what_to_do(
    tables: Database, look: psycopg.Connection[Any], listening: int
) -> None:
    stand(look)
    look.execute("UPDATE river_queue SET paused_at = '2026-01-02 03:04:06Z' WHERE name = 'orders'")
    look.execute("UPDATE river_leader SET expires_at = now() - interval '1 s'")
    add(look, state="'running'", attempt="1", attempted_by="ARRAY['web-2_2026']",
        attempted_at="now() - interval '3 hours'")  # fmt: skip
    look.execute(
        "INSERT INTO riverbridge_periodic_job (id, schedule, next_run_at, paused_at) VALUES"
        " ('nightly', 's', now() - interval '1 h', '2026-01-02 03:04:06Z'),"
        " ('hourly', 's', '2026-01-02 04:00:00Z', NULL), ('later', 's', now(), NULL)"
    )
    told = found(tables.dsn, **kafka(listening, 1))
    assert [(level, said) for level, said, _ in told["periodic"]] == [
        ("warn", "hourly was to run at 2026-01-02T04:00:00Z"),
        ("warn", "nightly is paused since 2026-01-02T03:04:06Z"),
    ]
    assert [(level, said[:22], do) for level, said, do in told["queues"]] == [
        ("warn", "a job of mail has been", "see docs/operations.md, Is it delivering?"),
        ("warn", "orders is paused since", "riverbridge queues resume orders"),
        ("warn", "sink events is paused ", "riverbridge sinks resume events"),
    ]
    [(level, said, _)] = told["processes"]
    assert (level, said) == ("fail", "web-2_2026 is silent for 3 h 1 m and holds 1 jobs")
    assert told["leader"][0][:2] == (
        "fail", "nobody leads, so nothing is scheduled, rescued or cleaned up",
    )  # fmt: skip
    assert told["quarantine"] == [
        ("warn", "1 events of signups could not become jobs",
         "riverbridge quarantine list --source signups"),
    ]  # fmt: skip
    [(level, said, _)] = told["sink events"]
    assert (level, said[:34]) == ("warn", "cannot be reached: 127.0.0.1:1: Co")
    assert doctor(tables.dsn).exit_code == 1


def test_a_sink_that_cannot_be_reached_is_a_failure(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    healthy(look)
    assert found(tables.dsn, **kafka(1))["sink events"][0][0] == "fail"
    assert doctor(tables.dsn, **kafka(1)).exit_code == 1
    file = {f"{SINK}TYPE": "file", f"{SINK}PATH": "/nowhere/jobs"}
    assert found(tables.dsn, **file)["sink events"][0][:2] == (
        "fail", "cannot be reached: /nowhere: is not there",
    )  # fmt: skip
    river = {f"{SINK}TYPE": "river", f"{SINK}DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/x"}
    text = doctor(tables.dsn, **river).output
    assert "fail  sink events: cannot be reached" in text
    assert "secret" not in text


def test_what_the_settings_or_the_tables_get_wrong_is_78(
    tables: Database, empty_database: Database
) -> None:
    result = doctor(tables.dsn, RIVERBRIDGE_SINKS__EVENTS__TYPE="pigeon")
    assert result.exit_code == 78
    assert "RIVERBRIDGE_SINKS__EVENTS__TYPE" in result.stderr
    result = doctor(empty_database.dsn)
    assert result.exit_code == 78
    assert "fail  tables: River's tables are not there" in result.stdout


def test_a_database_that_does_not_answer(listening: int) -> None:
    result = doctor("postgresql://u:secret@127.0.0.1:1/x", **kafka(listening))
    assert result.exit_code == 1
    assert "fail  database: " in result.stdout
    assert "ok    sink events: can be reached" in result.stdout
    assert "secret" not in result.output


def test_the_rights_that_are_missing_are_named(database: Database, listening: int) -> None:
    with new_role(database) as role, database.connect() as owner:
        healthy(owner)
        names = ("bridge", "upkeep", "console", "console-changes")
        role.grant([right for name in names for right in grants(name)])
        [(level, said, _)] = found(role.database.dsn, **kafka(listening))["rights"]
        assert (level, said) == ("ok", f"role {role.name} has what these settings need")
        owner.execute(f"REVOKE UPDATE (errors) ON river_job FROM {role.name}".encode())
        owner.execute(f"REVOKE DELETE ON riverbridge_audit FROM {role.name}".encode())
        owner.execute(f"REVOKE SELECT ON riverbridge_view FROM {role.name}".encode())
        told = found(role.database.dsn, **kafka(listening))["rights"]
        assert [(level, do.partition(": ")[2]) for level, _, do in told] == [
            ("fail", f"GRANT UPDATE (errors) ON river_job TO {role.name}"),
            ("fail", f"GRANT DELETE ON riverbridge_audit TO {role.name}"),
            ("warn", f"GRANT SELECT ON riverbridge_view TO {role.name}"),
        ]  # fmt: skip
        assert doctor(role.database.dsn, **kafka(listening)).exit_code == 1
        owner.execute(f"REVOKE SELECT ON river_leader FROM {role.name}".encode())
        [(level, said, _)] = found(role.database.dsn, **kafka(listening))["leader"]
        assert (level, said) == ("warn", "cannot be told: permission denied for table river_leader")


def test_a_clock_that_is_wrong(tables: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    from datetime import datetime, timedelta

    class Slow(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Slow:
            return super().now(tz) - timedelta(minutes=3, seconds=30)

    monkeypatch.setattr(examining, "datetime", Slow)
    [(level, said, _)] = found(tables.dsn)["clock"]
    assert level == "warn"
    assert said.startswith("this machine's and the server's are 3 m")


def test_the_slot_of_a_source_is_asked_of_its_server(tables: Database) -> None:
    source = "RIVERBRIDGE_SOURCES__SHOP__"
    settings = {f"{source}TYPE": "postgres", f"{source}URL": tables.dsn, f"{source}KIND": "changed"}
    assert found(tables.dsn, **settings)["source shop"] == [
        ("warn", "there is no replication slot riverbridge_shop",
         "the first start makes it; if there was one, see docs/postgres-source.md"),
    ]  # fmt: skip
    settings[f"{source}URL"] = "postgresql://u:secret@127.0.0.1:1/x"
    result = doctor(tables.dsn, **settings)
    assert "fail  source shop: cannot be reached" in result.output
    assert "secret" not in result.output
