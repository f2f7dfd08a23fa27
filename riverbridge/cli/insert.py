"""`riverbridge insert`: one job from the command line."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import click
import msgspec
import psycopg

from riverbridge.client.adapters.own import STATEMENT_LIMIT
from riverbridge.client.client import Client
from riverbridge.errors import ConfigurationError, InvalidJob, SchemaError
from riverbridge.model.args import RawArgs
from riverbridge.model.json_object import object_problem, read_object
from riverbridge.model.options import InsertOpts, new_job
from riverbridge.store.dsn import connect, connect_failure
from riverbridge.store.insert import database_now
from riverbridge.store.limits import cut_after

FAILED = 1
WRONG_CONFIGURATION = 78

_DELAY = re.compile(r"\+([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)", re.ASCII)
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@click.command("insert")
@click.argument("kind")
@click.argument("args")
@click.option("--queue", help="Default: default.")
@click.option("--priority", type=int, help="1 (first) to 4. Default: 1.")
@click.option("--max-attempts", type=int, help="1 to 32767. Default: 25.")
@click.option(
    "--scheduled-at", metavar="INSTANT", help="2026-01-31T08:00:00Z, or from now: +8s, +1.5h."
)
@click.option("--tag", "tags", multiple=True, help="May be repeated.")
@click.option("--metadata", help="A JSON object.")
@click.option(
    "--schema",
    envvar="RIVERBRIDGE_SCHEMA",
    show_envvar=True,
    help="Schema of River's tables. Default: the search path decides.",
)
@click.option(
    "--database-url",
    envvar="DATABASE_URL",
    show_envvar=True,
    help="postgresql://user:password@host:port/database",
)
@click.option("--json", "as_json", is_flag=True, help="Print the job as a JSON object.")
def insert(
    kind: str,
    args: str,
    scheduled_at: str | None,
    schema: str | None,
    database_url: str | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Insert a job of KIND with ARGS, a JSON object or - for standard input; print its id."""
    job = RawArgs(kind, _standard_input() if args == "-" else args)
    metadata = _metadata(options.pop("metadata"))
    with _faults(database_url):
        at, delay = _when(scheduled_at)
        opts = InsertOpts(scheduled_at=at, metadata=metadata, **options)
        new_job(job, opts)  # before anything is connected
        if not database_url:
            raise ConfigurationError(
                "no database is named: set DATABASE_URL or give --database-url "
                "postgresql://user:password@host:port/database"
            )
        with connect(database_url, application_name="riverbridge insert") as connection:
            if delay is not None:
                opts = InsertOpts(
                    scheduled_at=_later(connection, delay), metadata=metadata, **options
                )
            # Given as a function, the connection gets the client's time limits.
            result = Client(lambda: connection, schema=schema).insert(job, opts)
    click.echo(msgspec.json.encode(result) if as_json else str(result.job.id))


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"args: standard input is not UTF-8: {error.reason}") from None


def _metadata(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    problem = object_problem(text)
    if problem is not None:
        raise click.UsageError(f"metadata: {problem}")
    return read_object(text)


def _when(text: str | None) -> tuple[datetime | None, timedelta | None]:
    """The instant, or how long from now."""
    if text is None:
        return None, None
    if (found := _DELAY.fullmatch(text)) is not None:
        return None, timedelta(**{_UNITS[found.group(2)]: float(found.group(1))})
    try:
        return msgspec.convert(text, datetime), None
    except msgspec.ValidationError:
        raise click.UsageError(
            f"scheduled_at: {text!r} is neither an instant such as 2026-01-31T08:00:00Z "
            "nor a time from now such as +8s (ms, s, m, h or d)"
        ) from None


def _later(connection: psycopg.Connection[Any], delay: timedelta) -> datetime:
    try:
        with cut_after(connection, STATEMENT_LIMIT):
            return database_now(connection) + delay
    except OverflowError:
        raise click.UsageError("scheduled_at: is beyond the year 9999") from None


@contextmanager
def _faults(database_url: str | None) -> Iterator[None]:
    """Turn what may go wrong into one line and an exit code, without a password."""
    try:
        yield
    except InvalidJob as error:
        raise click.UsageError(str(error)) from error
    except ConfigurationError as error:
        _refuse(error.problems)
    except psycopg.errors.UndefinedTable:
        missing = SchemaError(
            "River's tables are not there: run `riverbridge migrate up`, or name their schema "
            "with --schema"
        )
        _refuse(missing.problems)
    except psycopg.Error as error:
        click.echo(f"error: database: {connect_failure(error, database_url or '')}", err=True)
        raise click.exceptions.Exit(FAILED) from error


def _refuse(problems: Sequence[str]) -> None:
    for problem in problems:
        click.echo(f"error: {problem}", err=True)
    raise click.exceptions.Exit(WRONG_CONFIGURATION)
