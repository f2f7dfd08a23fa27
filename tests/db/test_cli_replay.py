"""`riverbridge replay` as a user sees it: what it says, asks and does, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import psycopg
import pytest
from click.testing import CliRunner, Result

from riverbridge.bridge.replay import BATCH
from riverbridge.cli import main
from riverbridge.embedded.process import plain_environment
from tests.support.bridge import environment
from tests.support.database import Database
from tests.support.jobs import add, fill
from tests.support.wait import eventually

DONE = {"state": "'completed'", "finalized_at": "now() - interval '1 hour'"}
SETTINGS = {
    "SINKS__EVENTS__TYPE": "kafka",
    "SINKS__EVENTS__BOOTSTRAP_SERVERS": "127.0.0.1:9",
    "SINKS__EVENTS__TOPIC": "jobs",
    "SINKS__BILLING__TYPE": "file",
    "SINKS__BILLING__PATH": "/tmp/unused",
    "ROUTES__A__QUEUES": "q",
    "ROUTES__A__SINKS": "events,billing",
    "ROUTES__A__KEY": "{args.customer}",
    "ROUTES__A__ORDERED": "false",
    "ROUTES__GONE__QUEUES": "gone",
    "ROUTES__GONE__SINKS": "events",
    "ROUTES__GONE__ON_SUCCESS": "delete",
    "ROUTES__GONE__ORDERED": "false",
}


def run(database: Database, *args: object, answer: str = "", **env: str) -> Result:
    given = environment(database, SETTINGS | env)
    result = CliRunner().invoke(
        main, ["replay", *(str(arg) for arg in args)], input=answer, env=given
    )
    assert "Traceback" not in result.output
    return result


def all_of(terminal: int) -> str:
    """What was written to a terminal whose other side is closed."""
    text = b""
    with contextlib.suppress(OSError), open(terminal, "rb", buffering=0) as reader:
        while piece := reader.read(4096):
            text += piece
    return text.decode()


def available(look: psycopg.Connection[Any]) -> list[int]:
    rows = look.execute("SELECT id FROM river_job WHERE state = 'available' ORDER BY id").fetchall()
    return [id for (id,) in rows]


def test_a_dry_run_counts_shows_and_changes_nothing(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    fill(look, 12, **DONE, kind="'order.placed'", args="""'{"customer": "c1"}'""")
    add(look, **DONE, queue="'stray'")
    result = run(tables, "--finalized-from", "-2h", "--dry-run")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[:3] == [
        "would replay 12 jobs",
        "  12 completed of route a",
        "the first of them:",
    ]
    assert result.stdout.count("order.placed") == 10
    assert "1 job more match, which no route in question takes" in result.stderr
    found = json.loads(run(tables, "--key", "c1", "--dry-run", "--json").stdout)
    assert (found["total"], len(found["sample"])) == (12, 10)
    assert found["jobs"] == [{"route": "a", "state": "completed", "jobs": 12}]
    assert run(tables, "--finalized-before", "-2h", "--dry-run").stdout == "would replay 0 jobs\n"
    assert available(look) == []
    assert run(tables, "list").stdout.splitlines() == [
        "id  state  jobs  done  skipped  sink  started at  by"
    ]


def test_it_asks_and_does_and_lists(tables: Database, look: psycopg.Connection[Any]) -> None:
    fill(look, 3, **DONE)
    refused = run(tables, "--queue", "q", answer="n\n")
    assert refused.exit_code == 1
    assert "replay 3 jobs to all sinks of the route? [y/N]" in refused.stderr
    assert available(look) == []
    done = run(tables, "--id", "1", "--id", "3", "--sink", "billing", answer="y\n")
    assert done.exit_code == 0
    assert "replay 2 jobs to billing?" in done.stderr
    assert done.stdout.splitlines() == ["replay 1: 2 jobs", "replay 1 finished: 2 of 2 done"]
    assert available(look) == [1, 3]
    metadata = look.execute("SELECT metadata FROM river_job WHERE id = 1").fetchone()
    assert metadata == ({"riverbridge:replay": 1, "riverbridge:delivered": ["events"]},)
    [listed] = map(json.loads, run(tables, "list", "--json").stdout.splitlines())
    assert (listed["id"], listed["state"], listed["done"]) == (1, "finished", 2)
    assert listed["plan"]["filter"] == {"ids": [1, 3]}
    assert "finished  2     2     0        billing" in run(tables, "list").stdout
    nothing = run(tables, "--id", "99", "--yes")
    assert (nothing.exit_code, nothing.stdout) == (0, "replay 2 finished: 0 of 0 done\n")


def test_what_was_skipped_is_said_and_ends_with_1(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    add(look, **DONE, metadata="'[]'")
    add(look, **DONE)
    result = run(tables, "--all", "--yes", "--json")
    assert result.exit_code == 1
    assert result.stderr.startswith("skipped: job 1: its metadata is no JSON object")
    assert json.loads(result.stdout)["skipped"] == 1
    assert available(look) == [2]


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        ([], 2, "give filters or --all"),
        (["--all", "--kind", "k"], 2, "give filters or --all"),
        (["--queue", "gone"], 2, "ON_SUCCESS=delete"),
        (["--queue", "none"], 2, "no route takes its jobs"),
        (["--queue", "q", "--sink", "nowhere"], 2, "their sinks are billing, events"),
        (["--queue", "q", "--state", "running"], 2, "'running' is not one of"),
        (["--created-from", "yesterday"], 2, "neither an instant"),
        (["--created-from", "2026-01-01T00:00:00"], 2, "neither an instant"),
        (["--queue", "q", "--metadata", "[1]"], 2, "metadata: must be a JSON object"),
        (["--queue", "q", "--rate", "0"], 2, "--rate"),
        (["--kind", "k", "list"], 2, "options before `list`"),
        (["resume"], 2, "Missing argument"),
        (["resume", "7"], 1, "replay 7 is not there"),
        (["cancel", "7"], 1, "replay 7 is not there"),
    ],
)
def test_wrong_usage_and_failures(tables: Database, args: list[str], code: int, text: str) -> None:
    result = run(tables, *args)
    assert (result.exit_code, result.stdout) == (code, "")
    assert text in result.stderr


def test_wrong_settings_and_missing_tables_are_78(
    tables: Database, empty_database: Database
) -> None:
    assert run(tables, "--all", ROUTES__A__SINKS="none").exit_code == 78
    result = run(empty_database, "list")
    assert result.exit_code == 78
    assert "riverbridge migrate up" in result.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_it_resumable(
    tables: Database, look: psycopg.Connection[Any], tmp_path: Path, number: signal.Signals
) -> None:
    """On a terminal, where a bar shows how far it is."""
    fill(look, 100, **DONE)
    code = "from riverbridge.cli import main; main()"
    terminal, side = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-c", code, "replay", "--all", "--yes", "--rate", "50"],
        env=plain_environment(
            TERM="xterm",
            PYTHONPATH=str(Path(__file__).parents[2]),
            **environment(tables, SETTINGS),
        ),
        cwd=tmp_path, stdout=subprocess.PIPE, stderr=side, text=True,
    ) as process:  # fmt: skip
        os.close(side)
        eventually(lambda: len(available(look)) >= 20, within=30)
        os.kill(process.pid, number)
        out, _ = process.communicate(timeout=30)
    shown = all_of(terminal)
    assert process.returncode == 1
    half = len(available(look))
    assert 20 <= half < 100
    assert out.splitlines()[-1] == f"replay 1 stopped: {half} of 100 done"
    assert "stopped; go on with: riverbridge replay resume 1" in shown
    assert re.search(r"[0-9]+/100", shown)
    assert "stopped" in run(tables, "list").stdout
    again = run(tables, "resume", "1", "--rate", "100000")
    assert again.exit_code == 0, again.output
    assert again.stdout.splitlines()[-1] == "replay 1 finished: 100 of 100 done"
    assert len(available(look)) == 100
    over = run(tables, "resume", "1")
    assert (over.exit_code, "is finished" in over.stderr) == (1, True)


def test_a_lost_connection_is_said_and_leaves_it_resumable(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    """In the second batch, by a trigger."""
    fill(look, BATCH + 1, **DONE)
    look.execute(
        "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN"
        f" IF NEW.id > {BATCH} THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;"
        " RETURN NEW; END'".encode()
    )
    look.execute(
        "CREATE TRIGGER guard BEFORE UPDATE ON river_job FOR EACH ROW EXECUTE FUNCTION guard()"
    )
    failed = run(tables, "--all", "--yes")
    assert failed.exit_code == 1
    assert "stopped; go on with: riverbridge replay resume 1" in failed.stderr
    assert "error: database: " in failed.stderr
    assert len(available(look)) == BATCH
    look.execute("DROP FUNCTION guard() CASCADE")
    too_soon = run(tables, "resume", "1")
    assert (too_soon.exit_code, "is being run by" in too_soon.stderr) == (1, True)
    look.execute("UPDATE riverbridge_replay SET beat_at = beat_at - interval '10 s'")
    assert run(tables, "resume", "1").exit_code == 0
    assert len(available(look)) == BATCH + 1


def test_a_replay_that_others_cancelled(tables: Database, look: psycopg.Connection[Any]) -> None:
    fill(look, 2, **DONE)
    run(tables, "--all", "--yes")
    look.execute("UPDATE riverbridge_replay SET state = 'open', ended_at = NULL, done = 1")
    cancelled = run(tables, "cancel", "1")
    assert (cancelled.exit_code, cancelled.stdout) == (0, "replay 1 cancelled: 1 of 2 done\n")
    resumed = run(tables, "resume", "1")
    assert resumed.exit_code == 1
    assert "replay 1 is cancelled, with 1 of 2 jobs done" in resumed.stderr
