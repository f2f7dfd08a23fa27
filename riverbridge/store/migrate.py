"""Apply, take back and list migrations as River's own migrator does (contract 1.4)."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import psycopg
from psycopg import errors as pg
from psycopg.rows import tuple_row

from riverbridge.errors import ConfigurationError, MigrationError
from riverbridge.model.names import check_schema_name
from riverbridge.sql import statement
from riverbridge.sql.migrations import BRIDGE, LINES, MAIN, Direction, Migration, migrations
from riverbridge.store.dsn import connect, parse_dsn

Connection = psycopg.Connection[Any]

_LINED_SINCE = 5
"""The version of `main` that gave `river_migration` its column `line`."""


@dataclass(frozen=True, slots=True)
class Step:
    """One migration that was run, or that a dry run would run."""

    line: str
    version: int
    name: str
    direction: Direction
    seconds: float
    sql: str


@dataclass(frozen=True, slots=True)
class Listed:
    """One version, as it stands in the database.

    current: the newest one applied. shipped: False if a newer or another release applied it, so
    that its name is not known here.
    """

    line: str
    version: int
    name: str
    applied: bool
    current: bool
    shipped: bool = True


class Applied(NamedTuple):
    """What `river_migration` says. `lined`: it has the column `line` (version 5 and above)."""

    present: bool
    lined: bool
    versions: tuple[int, ...]


class Migrator:
    """Moves one line of one schema up and down. Holds no connection between calls.

    connect: a DSN, or a function that opens a new connection, which the migrator closes.
    schema: None leaves the tables to the search path; the schema itself must exist.
    lock_timeout: seconds one statement waits for another session's lock on a table.
    statement_timeout: seconds one statement may run, and the wait for another migrator.

    Raises ConfigurationError for a schema name, a line or a DSN that cannot be. The methods raise
    MigrationError for what cannot be run or failed, and psycopg.OperationalError if there is no
    connection.
    """

    def __init__(
        self,
        connect: str | Callable[[], Connection],
        *,
        schema: str | None = None,
        line: str = MAIN,
        lock_timeout: float = 10.0,
        statement_timeout: float = 600.0,
    ) -> None:
        if schema:
            check_schema_name(schema)
        if line not in LINES:
            raise ConfigurationError(f"no migration line {line!r}; there are {', '.join(LINES)}")
        if isinstance(connect, str):
            parse_dsn(connect)
        self._connect = connect
        self._schema = schema or None
        self._line = line
        self._lock_ms = str(max(1, round(lock_timeout * 1000)))
        self._statement_ms = str(max(1, round(statement_timeout * 1000)))
        self._shipped = {migration.version: migration for migration in migrations(line)}

    @property
    def line(self) -> str:
        """The line this migrator moves."""
        return self._line

    def up(
        self,
        *,
        target: int | None = None,
        max_steps: int | None = None,
        dry_run: bool = False,
        on_step: Callable[[Step], None] | None = None,
    ) -> tuple[Step, ...]:
        """Apply what is missing, gaps too, oldest first, each in its own transaction.

        target: stop after this version; if it is applied already, nothing is done.
        max_steps: None or 0 is all, negative is none. on_step: told of each one as it is done.
        """
        if target is not None:
            self.get(target)
        with self._session() as conn:
            applied = read_applied(conn, self._schema, self._line)
            self._check_ready(conn, applied)
            if target in applied.versions:
                return ()
            wanted = [
                migration
                for version, migration in sorted(self._shipped.items())
                if version not in applied.versions and (target is None or version <= target)
            ]
            return self._run(conn, "up", _limited(wanted, max_steps), dry_run, on_step)

    def down(
        self,
        *,
        target: int | None = None,
        max_steps: int | None = None,
        dry_run: bool = False,
        on_step: Callable[[Step], None] | None = None,
    ) -> tuple[Step, ...]:
        """Take versions back, newest first, each in its own transaction.

        target: what remains as the newest; 0 and -1 take back everything; None is one step unless
        max_steps says more. A target that is not applied is an error, and so is going below
        version 5 of `main` while another line is there: the older table has no room for it.
        """
        everything = target in (0, -1)
        if target is not None and not everything:
            self.get(target)
        if target is None and not max_steps:
            max_steps = 1
        with self._session() as conn:
            applied = read_applied(conn, self._schema, self._line)
            if target is not None and not everything and target not in applied.versions:
                raise MigrationError(
                    f"version {target:03} of line {self._line} is not applied, so going down to it "
                    f"means nothing; applied: {_numbers(applied.versions)}"
                )
            wanted = [
                migration
                for version, migration in sorted(self._shipped.items(), reverse=True)
                if version in applied.versions
                and (target is None or everything or version > target)
            ]
            steps = _limited(wanted, max_steps)
            self._check_other_lines(conn, applied, steps)
            return self._run(conn, "down", steps, dry_run, on_step)

    def list(self) -> tuple[Listed, ...]:
        """Every shipped version and every other one the database has, ascending."""
        with self._session() as conn:
            applied = read_applied(conn, self._schema, self._line).versions
        current = max(applied, default=None)
        rows = []
        for version in sorted(self._shipped.keys() | set(applied)):
            known = self._shipped.get(version)
            name = known.name if known else "(not of this release)"
            there = version in applied
            rows.append(
                Listed(self._line, version, name, there, version == current, known is not None)
            )
        return tuple(rows)

    def get(self, version: int) -> Migration:
        """One shipped migration; needs no database. Raises MigrationError for any other version."""
        return find_migration(self._line, version)

    def validate(self) -> tuple[int, ...]:
        """The shipped versions that are not applied, ascending; empty is good.

        Versions only the database knows do not count, as in River.
        """
        with self._session() as conn:
            applied = read_applied(conn, self._schema, self._line).versions
        return tuple(version for version in sorted(self._shipped) if version not in applied)

    @contextmanager
    def _session(self) -> Iterator[Connection]:
        source = self._connect
        conn: Connection = (
            connect(source, application_name="riverbridge migrate")
            if isinstance(source, str)
            else source()
        )
        with conn:
            conn.autocommit = True
            # The versions are read again after the lock, so that read needs a snapshot of its own.
            conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            yield conn

    def _run(
        self,
        conn: Connection,
        direction: Direction,
        wanted: Sequence[Migration],
        dry_run: bool,
        on_step: Callable[[Step], None] | None,
    ) -> tuple[Step, ...]:
        done: list[Step] = []
        for migration in wanted:
            text = migration.sql(direction, self._schema)
            started = time.monotonic()
            if not dry_run and not self._apply(conn, migration, direction, text):
                continue
            seconds = time.monotonic() - started
            step = Step(self._line, migration.version, migration.name, direction, seconds, text)
            done.append(step)
            if on_step is not None:
                on_step(step)
        return tuple(done)

    def _apply(
        self, conn: Connection, migration: Migration, direction: Direction, text: str
    ) -> bool:
        """Run one version; False if another migrator was faster."""
        try:
            with conn.transaction():
                self._lock(conn)
                applied = read_applied(conn, self._schema, self._line)
                if (migration.version in applied.versions) == (direction == "up"):
                    return False
                # Several statements in one go, which works because there are no parameters.
                conn.execute(text.encode())
                self._write_version(conn, migration.version, direction)
        except psycopg.Error as error:
            which = (
                f"migration {migration.version:03} [{direction}] {migration.name} of line "
                f"{self._line}"
            )
            if conn.closed:
                raise MigrationError(
                    f"{which} lost its connection and may or may not be done; look with: "
                    "riverbridge migrate list"
                ) from error
            raise MigrationError(f"{which} failed and was rolled back: {_reason(error)}") from error
        return True

    def _lock(self, conn: Connection) -> None:
        """Wait for other migrators as long as a statement may take, for tables much less."""
        limits = statement("migration/limits")
        wait = {"lock_ms": self._statement_ms, "statement_ms": self._statement_ms}
        conn.execute(limits, wait)
        conn.execute(statement("migration/lock"))
        conn.execute(limits, wait | {"lock_ms": self._lock_ms})

    def _write_version(self, conn: Connection, version: int, direction: Direction) -> None:
        """Record or forget it in whichever form the table has after the migration ran."""
        layout = read_applied(conn, self._schema, self._line)
        if not layout.present:
            if direction == "down":
                return
            raise MigrationError(
                "there is no table river_migration to record it in: your River tables are managed "
                "by other means; print the SQL with: riverbridge migrate get "
                f"--line {self._line} --version {version} --up"
            )
        verb = "record" if direction == "up" else "forget"
        name = f"migration/{verb}" if layout.lined else f"migration/{verb}_unlined"
        params: dict[str, object] = {"version": version}
        if layout.lined:
            params["line"] = self._line
        conn.execute(statement(name, self._schema), params)

    def _check_ready(self, conn: Connection, applied: Applied) -> None:
        """Refuse before anything is done what could only be done in part."""
        if self._line != MAIN and not applied.lined:
            raise MigrationError(
                f"line {self._line} needs version {_LINED_SINCE} of line {MAIN}; "
                f"run first: {_command('up', self._schema, MAIN)}"
            )
        if not applied.present:
            ((job, _, _),) = _fetch(conn, statement("migration/presence", self._schema))
            if job:
                raise MigrationError(
                    "river_job is there but river_migration is not: the tables are managed by "
                    "other means, and so must be what is missing; print its SQL with: riverbridge "
                    f"migrate get --line {self._line} --all --up"
                )

    def _check_other_lines(
        self, conn: Connection, applied: Applied, steps: Sequence[Migration]
    ) -> None:
        lowest = min((migration.version for migration in steps), default=_LINED_SINCE + 1)
        if self._line != MAIN or not applied.lined or lowest > _LINED_SINCE:
            return
        others = [
            row[0]
            for row in _fetch(conn, statement("migration/lines", self._schema))
            if row[0] != MAIN
        ]
        if not others:
            return
        if BRIDGE in others:
            first = _command("down", self._schema, BRIDGE) + " --target-version -1"
            raise MigrationError(
                f"line {MAIN} cannot go below version {_LINED_SINCE} while line {BRIDGE} is there; "
                f"run first: {first}"
            )
        raise MigrationError(
            f"line {MAIN} cannot go below version {_LINED_SINCE} while other lines are there: "
            f"{', '.join(others)}; take them down first with the tool that applied them"
        )


def find_migration(line: str, version: int) -> Migration:
    """The shipped migration; raises MigrationError, naming those shipped, for any other version."""
    for migration in migrations(line):
        if migration.version == version:
            return migration
    raise MigrationError(
        f"line {line} has no version {version}; this release ships "
        f"{_numbers([migration.version for migration in migrations(line)])}"
    )


def read_applied(conn: Connection, schema: str | None, line: str) -> Applied:
    """The versions of `line` the database has, in each of the three forms (contract 1.4)."""
    ((present, lined),) = _fetch(conn, statement("migration/layout", schema))
    if not present or (not lined and line != MAIN):
        return Applied(present, lined, ())
    if lined:
        rows = _fetch(conn, statement("migration/versions", schema), {"line": line})
    else:
        rows = _fetch(conn, statement("migration/versions_unlined", schema))
    return Applied(present, lined, tuple(row[0] for row in rows))


def _fetch(
    conn: Connection, query: bytes, params: dict[str, object] | None = None
) -> Sequence[tuple[Any, ...]]:
    with conn.cursor(row_factory=tuple_row) as cursor:
        return cursor.execute(query, params).fetchall()


def _limited(wanted: Sequence[Migration], max_steps: int | None) -> Sequence[Migration]:
    return wanted[: max(0, max_steps)] if max_steps else wanted


def _numbers(versions: Sequence[int]) -> str:
    return ", ".join(f"{version:03}" for version in sorted(versions)) or "none"


def _command(direction: Direction, schema: str | None, line: str) -> str:
    place = f" --schema {schema}" if schema else ""
    return f"riverbridge migrate {direction} --line {line}{place}"


def _reason(error: psycopg.Error) -> str:
    said = error.diag.message_primary or " ".join(str(error).split())
    if isinstance(error, pg.LockNotAvailable):
        return (
            f"{said}; another session holds a lock on River's tables: see pg_stat_activity, "
            "and run it again"
        )
    if isinstance(error, pg.QueryCanceled):
        return f"{said}; it took longer than the statement limit allows"
    if isinstance(error, pg.InvalidSchemaName):
        return f"{said}; create it first with CREATE SCHEMA"
    return said
