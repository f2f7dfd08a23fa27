"""`riverbridge work`: killed, stopped and called wrongly."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import psycopg
import pytest

import riverbridge
from riverbridge.client.client import Client
from riverbridge.embedded.process import ChildProcess, free_port, plain_environment
from riverbridge.model.args import RawArgs
from tests.support.database import Database
from tests.support.wait import eventually

JOBS = """
import asyncio, os, time
from riverbridge.model.args import RawArgs
from riverbridge.worker.registry import Workers

workers = Workers()
nothing = object()


@workers.work(RawArgs, kind="wait")
async def wait(job):
    with open("begun", "a") as file:
        print(os.getpid(), job.id, job.attempt, file=file, flush=True)
    while not os.path.exists("go"):
        await asyncio.sleep(0.01)


@workers.work(RawArgs, kind="sleep")
def sleep(job):
    time.sleep(0.1)
"""
COMMAND = ["-c", "from riverbridge.cli import main; main()", "work"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "jobs.py").write_text(JOBS)
    return tmp_path


def environment(tables: Database) -> Mapping[str, str]:
    return plain_environment(
        PYTHONPATH=str(Path(riverbridge.__file__).parents[1]),
        DATABASE_URL=tables.dsn,
        RIVERBRIDGE_PROBES__PORT=str(free_port()),
        RIVERBRIDGE_GRACE="0.5",
        RIVERBRIDGE_HOLD="0.2",
    )


@pytest.fixture
def look(tables: Database) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with psycopg.connect(tables.dsn, autocommit=True) as connection:
        yield connection


def process(home: Path, tables: Database, name: str) -> ChildProcess:
    return ChildProcess(
        [sys.executable, *COMMAND, "jobs", "--queue", "default=5"],
        log=home / f"{name}.log",
        cwd=home,
        env=environment(tables),
    )


def begun(home: Path) -> list[list[int]]:
    """Process, job and attempt of each call."""
    try:
        lines = (home / "begun").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [[int(part) for part in line.split()] for line in lines]


def test_what_a_killed_process_held_runs_again_and_costs_an_attempt(
    tables: Database, home: Path, look: psycopg.Connection[tuple[object, ...]]
) -> None:
    states = "SELECT state::text FROM river_job ORDER BY id"
    with Client(tables.dsn) as client:
        ids = [client.insert(RawArgs("wait", json.dumps({"n": n}))).job.id for n in range(3)]
    first, second = process(home, tables, "first"), process(home, tables, "second")
    first.start(lambda: look.execute(states).fetchall() == [("running",)] * 3, within=30)
    second.start(lambda: True, within=30)
    try:
        first.kill()
        eventually(lambda: len(begun(home)) == 6, within=30)
        (home / "go").touch()
        eventually(lambda: look.execute(states).fetchall() == [("completed",)] * 3)
    finally:
        second.stop(within=20)
    calls = begun(home)
    assert sorted(job for _, job, _ in calls[:3]) == sorted(job for _, job, _ in calls[3:]) == ids
    assert {attempt for _, _, attempt in calls[:3]} == {1}
    assert {attempt for _, _, attempt in calls[3:]} == {2}
    rows = look.execute("SELECT attempt, errors[1] ->> 'error' FROM river_job").fetchall()
    assert {attempt for attempt, _ in rows} == {2}
    assert all("died with this job" in str(error) for _, error in rows)


def test_a_stop_cancels_what_takes_too_long_and_gives_it_back(
    tables: Database, home: Path, look: psycopg.Connection[tuple[object, ...]]
) -> None:
    with Client(tables.dsn) as client:
        client.insert_many([RawArgs("wait", "{}"), *[RawArgs("sleep", "{}")] * 20])
    one = process(home, tables, "one")
    left = "SELECT count(*) FROM river_job WHERE kind = 'sleep' AND state <> 'completed'"
    one.start(lambda: bool(begun(home)) and look.execute(left).fetchone() == (0,), within=30)
    one.stop(within=20)
    row = look.execute(
        "SELECT state::text, attempt, errors FROM river_job WHERE kind = 'wait'"
    ).fetchone()
    assert row == ("available", 0, None)
    assert look.execute("SELECT count(*) FROM riverbridge_process").fetchone() == (0,)
    assert "Traceback" not in (home / "one.log").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "there is no module nowhere"),
        (["jobs:absent"], "absent is NoneType, not riverbridge.Workers"),
        (["jobs:nothing"], "nothing is object, not riverbridge.Workers"),
        (["jobs", "--queue", "default"], "give name=jobs"),
        (["jobs", "--queue", "default=0"], "out of range"),
        (["jobs", "--queue", "Wrong=1"], "queue 'Wrong'"),
    ],
)
def test_what_cannot_work_is_said_in_a_line(
    tables: Database, home: Path, arguments: list[str], said: str
) -> None:
    done = subprocess.run(
        [sys.executable, *COMMAND, *arguments],
        cwd=home,
        env=environment(tables),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 78
    assert said in done.stderr
    assert "Traceback" not in done.stderr
