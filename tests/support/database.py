"""A fresh database for each test, cloned from a template that has the tables."""

from __future__ import annotations

import itertools
import os
from typing import Any, Protocol

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

TEMPLATE = f"riverbridge_template_{os.getpid()}"
_numbers = itertools.count(1)


class Server(Protocol):
    """What the tests need of a Postgres server, ours or a given one."""

    flavour: str
    version: str
    major: int

    def dsn(self, database: str = "postgres") -> str: ...
    def create_database(self, name: str, template: str | None = None) -> str: ...
    def drop_database(self, name: str) -> None: ...


class GivenPostgres:
    """The server of RIVERBRIDGE_TEST_DATABASE_URL: databases are made in it and dropped again."""

    flavour = "given"

    def __init__(self, url: str) -> None:
        self._parameters = conninfo_to_dict(url)
        with psycopg.connect(url, connect_timeout=10) as connection:
            number = connection.info.server_version
        self.major = number // 10000
        self.version = f"{self.major}.{number % 10000}"

    def dsn(self, database: str | None = None) -> str:
        chosen: dict[str, Any] = dict(self._parameters)
        if database not in (None, "postgres"):
            chosen["dbname"] = database
        return make_conninfo("", **chosen)

    def create_database(self, name: str, template: str | None = None) -> str:
        statement = sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name))
        if template:
            statement += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        with psycopg.connect(self.dsn(), autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        with psycopg.connect(self.dsn(), autocommit=True, connect_timeout=10) as connection:
            connection.execute(drop)


class Database:
    """One database. `dsn` is for the code under test, `connect` for looking from outside."""

    def __init__(self, name: str, dsn: str, server: Server) -> None:
        self.name = name
        self.dsn = dsn
        self.server = server

    def connect(self, **options: Any) -> psycopg.Connection[tuple[Any, ...]]:
        """A new autocommit connection; the caller closes it."""
        return psycopg.connect(self.dsn, **({"autocommit": True, "connect_timeout": 10} | options))


def new_name(prefix: str = "riverbridge_test") -> str:
    """A name for a database, topic or queue that no other test and no other run uses."""
    return f"{prefix}_{os.getpid()}_{next(_numbers)}"


def migrate(dsn: str) -> None:
    """River's newest main line and riverbridge's own, as `riverbridge migrate up` applies them."""
    from riverbridge.store.migrate import Migrator  # late: most tests need no tables

    Migrator(dsn, schema=None, line="main").up()
    Migrator(dsn, schema=None, line="riverbridge").up()


def build_template(server: Server) -> str:
    """Make the template database on `server`; return its name."""
    dsn = server.create_database(TEMPLATE)
    try:
        migrate(dsn)
    except BaseException:
        server.drop_database(TEMPLATE)
        raise
    return TEMPLATE
