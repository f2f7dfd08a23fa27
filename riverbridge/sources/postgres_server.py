"""The Postgres server that a source reads from: what has to be there, and what is made.

Nothing that exists is altered. What is missing and may not be made is named, with the statement
that its owner has to run.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Collection, Sequence
from typing import Any

import msgspec
import psycopg
from psycopg import sql

from riverbridge.sources.postgres_json import Type
from riverbridge.sources.postgres_position import read_lsn
from riverbridge.sql import statement
from riverbridge.store.database import connector

log = logging.getLogger(__name__)

PATIENCE = 60
"""Seconds for which a new slot may wait for the transactions that were open before it."""
NO_REPLICATION = (
    "this role may not read changes: run ALTER ROLE … REPLICATION as a superuser, or what your "
    "provider says"
)
_LIMITS = b"SET statement_timeout = '20s'; SET lock_timeout = '5s'"


class Refused(Exception):
    """The source cannot go on; the message says why, and what an operator can do."""


class Slot(msgspec.Struct, frozen=True):
    """A replication slot. confirmed: where it goes on. held: bytes of WAL kept for it. written: the
    end of the server's WAL."""

    plugin: str
    database: str
    confirmed: int
    lost: bool
    written: int
    held: int


class Wanted(msgspec.Struct, frozen=True):
    """What a source reads. tables: those that the publication has to have. publish: what it
    publishes where we make it. prefixes: of the messages that are events."""

    slot: str
    publication: str
    tables: Sequence[str] = ()
    prefixes: Sequence[str] = ()
    publish: str = "insert, update, delete, truncate"


class Server:
    """An ordinary connection to the server. Raises psycopg.Error wherever that fails."""

    def __init__(self, dsn: str, *, application_name: str) -> None:
        self._connection = connector(dsn, application_name=application_name)()
        self._connection.execute(_LIMITS)
        self._warned: list[str] = []

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def prepare(self, wanted: Wanted) -> None:
        """See whether changes can be read, and make the publication where it is missing.

        Raises Refused.
        """
        [(level, standby, there)] = self._ask("survey", publication=wanted.publication)
        if standby:
            raise Refused("the server is a standby; give the URL of its primary")
        if level != "logical":
            raise Refused(
                f"the server has wal_level={level}: run "
                "ALTER SYSTEM SET wal_level = 'logical', and restart it"
            )
        tables = self._ask("tables", tables=list(wanted.tables), publication=wanted.publication)
        if unknown := [name for name, _, table, _ in tables if table is None]:
            raise Refused(f"there is no table {', '.join(unknown)}, or this role may not see it")
        missing = [sql.Identifier(schema, table) for _, schema, table, in_it in tables if not in_it]
        if not there:
            self._make_publication(wanted, missing)
        elif missing:
            command = sql.SQL("ALTER PUBLICATION {} ADD TABLE {}").format(
                sql.Identifier(wanted.publication), sql.SQL(", ").join(missing)
            )
            raise Refused(
                f"publication {wanted.publication} does not have every table of TABLES: "
                f"run {command.as_string(self._connection)}"
            )
        elif (unidentified := self._unidentified(publication=wanted.publication)) != self._warned:
            self._warned = unidentified
            log.warning(
                "UPDATE and DELETE fail on %s, which publication %s has, but which nobody can tell "
                "the rows of: add a primary key, or run ALTER TABLE … REPLICA IDENTITY FULL",
                ", ".join(unidentified),
                wanted.publication,
            )

    def _make_publication(self, wanted: Wanted, tables: Sequence[sql.Composable]) -> None:
        command = sql.SQL("CREATE PUBLICATION {}").format(sql.Identifier(wanted.publication))
        if tables:
            command += sql.SQL(
                " FOR TABLE {} WITH (publish = {}, publish_via_partition_root = true)"
            ).format(sql.SQL(", ").join(tables), sql.Literal(wanted.publish))
        text = command.as_string(self._connection)
        if not tables and not wanted.prefixes:
            raise Refused(
                f"there is no publication {wanted.publication}: run CREATE PUBLICATION "
                f"{wanted.publication} FOR TABLE …, or name its tables in TABLES"
            )
        if unidentified := self._unidentified(tables=wanted.tables):
            raise Refused(
                f"{', '.join(unidentified)}: without a primary key, UPDATE and DELETE would fail "
                "as soon as it is published; add one, or run ALTER TABLE … REPLICA IDENTITY FULL"
            )
        try:
            self._connection.execute(command)
        except psycopg.errors.InsufficientPrivilege:
            raise Refused(
                f"there is no publication {wanted.publication}, and this role may not make it: "
                f"run {text} as the owner of its tables"
            ) from None
        log.info("%s", text)

    def _unidentified(self, *, publication: str = "", tables: Sequence[str] = ()) -> list[str]:
        rows = self._ask("unidentified", publication=publication, tables=list(tables))
        return [name for (name,) in rows]

    def slot(self, name: str) -> Slot | None:
        """The slot as it is now."""
        rows = self._ask("slot", slot=name)
        if not rows:
            return None
        [(plugin, database, confirmed, status, written, held)] = rows
        return Slot(
            plugin, database or "", read_lsn(confirmed or "0/0"), status == "lost",
            read_lsn(written), held,
        )  # fmt: skip

    def create_slot(self, name: str) -> None:
        """Make the slot: from now on the server keeps what was not read. Raises Refused."""
        failover = self._connection.info.server_version >= 170_000
        file = "create_failover_slot" if failover else "create_slot"
        self._connection.execute(b"SET statement_timeout = '%ds'" % PATIENCE)
        try:
            self._ask(file, slot=name)
        except psycopg.errors.DuplicateObject:
            return
        except psycopg.errors.QueryCanceled:
            raise Refused(
                f"slot {name} cannot be made while older transactions are open: see xact_start in "
                "pg_stat_activity"
            ) from None
        except psycopg.errors.InsufficientPrivilege:
            raise Refused(NO_REPLICATION) from None
        except psycopg.errors.ConfigurationLimitExceeded as error:
            raise Refused(
                f"slot {name} cannot be made: {error}; raise max_replication_slots"
            ) from None
        finally:
            with contextlib.suppress(psycopg.Error):
                self._connection.execute(_LIMITS)
        log.info("made the replication slot %s", name)

    def drop_slot(self, name: str) -> None:
        """Drop the slot, so that the server keeps nothing for it."""
        self._ask("drop_slot", slot=name)

    def database(self) -> str:
        """The database that this is."""
        return self._connection.info.dbname

    def look_up(self, type_: int) -> Type | None:
        """A type, as the catalogue has it now."""
        rows = self._ask("type", type=type_)
        if not rows:
            return None
        base, element, delimiter, *_ = rows[0]
        fields = tuple((name, of) for *_, name, of in rows if name is not None)
        return Type(base, element, delimiter, fields)

    def primary_key(self, relation: int) -> Collection[str]:
        """The names of its columns, as the catalogue has them now."""
        return [name for (name,) in self._ask("primary_key", relation=relation)]

    def _ask(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(statement(f"replication/{name}"), values)
        return cursor.fetchall()
