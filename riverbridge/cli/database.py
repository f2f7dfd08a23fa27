"""What every command needs that works on the database: its options, its connection, its faults."""

from __future__ import annotations

import functools
import getpass
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click
import psycopg

from riverbridge.client.adapters.own import OwnConnection
from riverbridge.errors import (
    ConfigurationError,
    InvalidJob,
    InvalidRequest,
    RiverbridgeError,
    SchemaError,
)
from riverbridge.model.names import check_schema_name
from riverbridge.store.database import Connection
from riverbridge.store.dsn import connect, connect_failure

FAILED = 1
WRONG_CONFIGURATION = 78

F = TypeVar("F", bound=Callable[..., Any])


def options(*added: Callable[[Any], Any]) -> Callable[[F], F]:
    """Several options as one decorator, shown by --help in this order."""

    def add(command: F) -> F:
        return functools.reduce(lambda made, option: option(made), reversed(added), command)

    return add


schema_option = click.option(
    "--schema",
    envvar="RIVERBRIDGE_SCHEMA",
    show_envvar=True,
    help="Schema of River's tables. Default: the search path decides.",
)
database_options = options(
    click.option(
        "--database-url",
        envvar="DATABASE_URL",
        show_envvar=True,
        help="postgresql://user:password@host:port/database",
    ),
    schema_option,
)


def required(database_url: str | None) -> str:
    """The URL. Raises ConfigurationError where there is none."""
    if not database_url:
        raise ConfigurationError(
            "no database is named: set DATABASE_URL or give --database-url "
            "postgresql://user:password@host:port/database"
        )
    return database_url


@contextmanager
def opened(database_url: str | None, schema: str | None, command: str) -> Iterator[OwnConnection]:
    """A connection that runs operations, each in a transaction with time limits.

    What goes wrong in the block becomes a line and an exit code.
    """
    with connected(database_url, schema, command) as connection:
        yield OwnConnection(lambda: connection)


@contextmanager
def connected(database_url: str | None, schema: str | None, command: str) -> Iterator[Connection]:
    """As `opened`, the connection itself."""
    with faults(database_url):
        url = required(database_url)
        if schema:
            check_schema_name(schema)
        with connect(url, application_name=f"riverbridge {command}") as connection:
            yield connection


@contextmanager
def faults(database_url: str | None) -> Iterator[None]:
    """Turn what may go wrong into one line and an exit code, without a password."""
    try:
        yield
    except (InvalidJob, InvalidRequest) as error:
        raise click.UsageError(str(error)) from error
    except ConfigurationError as error:
        _refuse(error.problems, WRONG_CONFIGURATION)
    except RiverbridgeError as error:
        _refuse([str(error)], FAILED)
    except psycopg.errors.UndefinedTable:
        missing = SchemaError(
            "River's tables are not there: run `riverbridge migrate up`, or name their schema "
            "with --schema"
        )
        _refuse(missing.problems, WRONG_CONFIGURATION)
    except psycopg.Error as error:
        _refuse([f"database: {connect_failure(error, database_url or '')}"], FAILED)


def who() -> str:
    """Whoever runs the command, for people: user@host."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


def _refuse(problems: Sequence[str], code: int) -> None:
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    raise click.exceptions.Exit(code)
