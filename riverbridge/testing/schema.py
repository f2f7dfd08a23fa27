"""A schema with River's tables, for one run of tests."""

from __future__ import annotations

import os
import secrets
from typing import Any, Self

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from riverbridge.sql import statement
from riverbridge.sql.migrations import BRIDGE, MAIN
from riverbridge.store.dsn import connect, parse_dsn
from riverbridge.store.migrate import Migrator
from riverbridge.testing.clock import Clock

LOCK_LIMIT = "5s"
"""What emptying and dropping wait for transactions that a test left open."""


class TestSchema:
    """Made and migrated on entering, dropped on leaving.

    dsn: for connections that find its tables first, then those of `public`, and follow its clock.
    schema: its name.
    """

    __test__ = False  # no class of tests

    def __init__(self, url: str) -> None:
        """Raises ConfigurationError for a DSN that cannot be read."""
        self.schema = f"riverbridge_test_{os.getpid()}_{secrets.token_hex(3)}"
        path = f"-c search_path={self.schema},public,pg_catalog"
        parameters = parse_dsn(url)
        given = parameters.get("options")
        self.dsn = make_conninfo(**parameters | {"options": f"{given} {path}" if given else path})
        self._url = url

    def connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A new connection in autocommit, which the caller closes."""
        return connect(self.dsn, application_name="riverbridge tests")

    def empty(self) -> None:
        """Empty the tables, ids from 1, and set the clock back to the server's time.

        Raises psycopg.errors.LockNotAvailable while a test's transaction is open.
        """
        with self._administer() as connection:
            try:
                connection.execute(statement("testing/empty", self.schema))
            except psycopg.errors.LockNotAvailable as error:
                error.add_note("A transaction that wrote jobs is still open: end it in its test.")
                raise
            connection.execute(statement("clock/reset", self.schema))

    def __enter__(self) -> Self:
        with self._administer() as connection:
            connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(self.schema)))
        try:
            for line in (MAIN, BRIDGE):
                Migrator(self._url, schema=self.schema, line=line).up()
            with self._administer() as connection:
                Clock(connection, schema=self.schema).start()
        except BaseException:
            self._drop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._drop()

    def _drop(self) -> None:
        drop = sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(self.schema))
        with self._administer() as connection:
            connection.execute(drop)

    def _administer(self) -> psycopg.Connection[tuple[Any, ...]]:
        connection = connect(self._url, application_name="riverbridge tests")
        connection.execute(sql.SQL("SET lock_timeout = {}").format(sql.Literal(LOCK_LIMIT)))
        return connection
