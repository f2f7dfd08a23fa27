"""Bridges in processes of their own, and what they leave behind: ledgers, logs, row histories."""

from __future__ import annotations

import collections
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import psycopg

from tests.chaos.scripted import VARIABLE
from tests.support.database import Database
from tests.support.wait import eventually

ROOT = Path(__file__).resolve().parents[2]

Rows = psycopg.Connection[tuple[Any, ...]]

SCRIPTED = {
    "RIVERBRIDGE_SINKS__TEST__TYPE": "kafka",
    "RIVERBRIDGE_SINKS__TEST__BOOTSTRAP_SERVERS": "127.0.0.1:9",
    "RIVERBRIDGE_SINKS__TEST__TOPIC": "test",
    "RIVERBRIDGE_SINKS__TEST__ENVELOPE": "raw",
}
"""One sink called `test`; its type only satisfies the settings, as its script takes its place."""


class Entry(NamedTuple):
    """One line of a ledger."""

    what: str
    sink: str
    pid: int
    at: float
    id: int


class Ledger:
    """What the scripted sinks of all processes of a test were given, in order."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def entries(self, what: str, *, last: int | None = None) -> list[Entry]:
        """last: only those of about so many bytes at the end."""
        if not self.path.exists():
            return []
        found = []
        with self.path.open("rb") as file:
            if last is not None and self.path.stat().st_size > last:
                file.seek(-last, os.SEEK_END)
                file.readline()
            text = file.read().decode()
        whole, _, _ = text.rpartition("\n")  # the last line may be half written
        for line in whole.splitlines():
            kind, sink, pid, at, id_ = line.split()
            if kind == what:
                found.append(Entry(kind, sink, int(pid), float(at), int(id_)))
        return found

    def counts(self, what: str = "acked") -> collections.Counter[int]:
        """How often each job was."""
        return collections.Counter(entry.id for entry in self.entries(what))

    def down(self, sink: str, down: bool) -> None:
        """From now on `sink` answers nothing, or answers again."""
        switch = Path(f"{self.path}.{sink}.down")
        if down:
            switch.touch()
        else:
            switch.unlink()

    def refuse(self, sink: str, *ids: int) -> None:
        """From now on `sink` refuses these jobs, and takes all others."""
        told = Path(f"{self.path}.{sink}.refused")
        new = told.with_suffix(".new")
        new.write_text("".join(f"{id_}\n" for id_ in ids))
        new.rename(told)


class Process:
    """One `riverbridge run`. Its log is JSON lines in a file; it is killed at the end."""

    def __init__(self, directory: Path, name: str, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = directory / f"{name}.log"
        kept = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR") if key in os.environ}
        defaults = {
            "RIVERBRIDGE_NAME": name,
            "RIVERBRIDGE_SOURCE_NAME": "chaos",
            "RIVERBRIDGE_HTTP__PORT": "0",
            "RIVERBRIDGE_PROBES__PORT": "0",
            "RIVERBRIDGE_HTTP__CONSOLE": "false",
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.scripted"],
                cwd=ROOT,
                env=kept | defaults | dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait(10)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self, within: float) -> int:
        """The exit code; negative is a signal's number."""
        return self._process.wait(within)

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    def messages(self) -> list[str]:
        """What it has logged so far: the messages, and lines that are no JSON as they are."""
        found = []
        for line in self.log.read_text().splitlines():
            try:
                found.append(str(json.loads(line)["message"]))
            except (ValueError, KeyError, TypeError):
                found.append(line)
        return found

    def said(self, *words: str) -> bool:
        """Whether one line of the log has all of `words`."""
        return any(all(word in message for word in words) for message in self.messages())

    def until_serving(self, within: float = 20.0) -> Self:
        def serving() -> bool:
            assert self.running, self.log.read_text()
            return self.said("serves")

        eventually(serving, within)
        return self


class Scene:
    """One database, one ledger, and the processes of a test."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.directory = directory
        self.ledger = Ledger(directory / "ledger")
        self._stack = contextlib.ExitStack()
        self.connection: Rows = self._stack.enter_context(database.connect())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()

    def start(
        self,
        name: str,
        environment: Mapping[str, str] | None = None,
        *,
        dsn: str | None = None,
        **script: Any,
    ) -> Process:
        """A bridge with a scripted sink on queue `outbox`; `script` as scripted.VARIABLE has it."""
        return self._stack.enter_context(self.process(name, environment, dsn=dsn, **script))

    def process(
        self,
        name: str,
        environment: Mapping[str, str] | None = None,
        *,
        dsn: str | None = None,
        **script: Any,
    ) -> Process:
        """As `start`, for a process whose end is the caller's to see to."""
        told = {VARIABLE: json.dumps({"ledger": str(self.ledger.path)} | script)}
        url = {"DATABASE_URL": dsn or self.database.dsn}
        return Process(self.directory, name, url | SCRIPTED | told | dict(environment or {}))

    def launch(
        self, name: str, environment: Mapping[str, str], *, dsn: str | None = None
    ) -> Process:
        """A bridge with real sinks, as `environment` says."""
        url = {"DATABASE_URL": dsn or self.database.dsn}
        process = Process(self.directory, name, url | dict(environment))
        return self._stack.enter_context(process)

    def insert(self, count: int, **columns: Any) -> list[int]:
        """Insert `count` available jobs in one transaction; returns their ids."""
        given = {"kind": "test", "queue": "outbox", "max_attempts": 25, "args": "{}"} | columns
        names = ", ".join(given)
        values = ", ".join(f"%({name})s" for name in given)
        rows = self.connection.execute(
            f"INSERT INTO river_job ({names}) SELECT {values} FROM generate_series(1, %(n)s)"
            " RETURNING id",
            given | {"n": count},
        ).fetchall()
        return [id_ for (id_,) in rows]

    def keep_history(self) -> None:
        """From now on every change of a job is written down, with who made it."""
        self.connection.execute(
            """
            CREATE TABLE history (
                place bigserial, id bigint, state text, attempt int, by text, at timestamptz
            );
            CREATE FUNCTION remember() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                INSERT INTO history (id, state, attempt, by, at)
                VALUES (new.id, new.state, new.attempt, current_setting('application_name'),
                        clock_timestamp());
                RETURN new;
            END $$;
            CREATE TRIGGER remember AFTER UPDATE ON river_job
            FOR EACH ROW EXECUTE FUNCTION remember();
            """
        )

    def history(self) -> list[tuple[int, str, int, str]]:
        """Every change since: id, state, attempt, and the application_name that made it."""
        return self.connection.execute(
            "SELECT id, state, attempt, by FROM history ORDER BY place"
        ).fetchall()

    def states(self) -> dict[str, int]:
        """How many jobs are in which state."""
        return dict(
            self.connection.execute(
                "SELECT state::text, count(*) FROM river_job GROUP BY state"
            ).fetchall()
        )

    def until(self, states: Mapping[str, int], within: float = 10.0) -> None:
        """Wait until the jobs are in these states, and in no others."""

        def reached() -> bool:
            now = self.states()
            assert now == states, f"{now} instead of {states}"
            return True

        eventually(reached, within)

    def sessions(self, pattern: str) -> int:
        """How many sessions of an application_name LIKE `pattern` there are in this database."""
        row = self.connection.execute(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name LIKE %s",
            (pattern,),
        ).fetchone()
        assert row is not None
        return int(row[0])
