"""`riverbridge insert`: one job from the command line."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import Any

import click
import msgspec
import psycopg

from riverbridge.cli.database import database_options, faults, options, required
from riverbridge.cli.instants import DURATION, duration
from riverbridge.cli.job_options import metadata_object
from riverbridge.client.adapters.own import STATEMENT_LIMIT
from riverbridge.client.client import Client
from riverbridge.model.args import RawArgs
from riverbridge.model.job import JobState
from riverbridge.model.options import InsertOpts, new_job
from riverbridge.model.unique import UniqueOpts
from riverbridge.store.clock import database_now
from riverbridge.store.dsn import connect
from riverbridge.store.limits import cut_after

_job_options = options(
    click.option("--queue", help="Default: default."),
    click.option("--priority", type=int, help="1 (first) to 4. Default: 1."),
    click.option("--max-attempts", type=int, help="1 to 32767. Default: 25."),
    click.option(
        "--scheduled-at", metavar="INSTANT", help="2026-01-31T08:00:00Z, or from now: +8s, +1.5h."
    ),
    click.option("--pending", is_flag=True, help="Wait until something makes it available."),
    click.option("--tag", "tags", multiple=True, help="May be repeated."),
    click.option("--metadata", help="A JSON object."),
)
_unique_options = options(
    click.option("--unique-by-args", is_flag=True, help="Once for the same args."),
    click.option(
        "--unique-by-arg",
        "paths",
        multiple=True,
        metavar="PATH",
        help="Once for the same value there, such as customer.id. May be repeated.",
    ),
    click.option(
        "--unique-by-period", metavar="DURATION", help="Once in each 30s, 15m, 24h, 7d in UTC."
    ),
    click.option("--unique-by-queue", is_flag=True, help="Once in its queue."),
    click.option(
        "--unique-by-state",
        "states",
        multiple=True,
        type=click.Choice([state.value for state in JobState]),
        help="Once as long as the first is in one of these. May be repeated.",
    ),
    click.option("--unique-exclude-kind", is_flag=True, help="Jobs of other kinds count too."),
)


@click.command("insert")
@click.argument("kind")
@click.argument("args")
@_job_options
@_unique_options
@database_options
@click.option("--json", "as_json", is_flag=True, help="Print the job as a JSON object.")
def insert(
    kind: str,
    args: str,
    scheduled_at: str | None,
    metadata: str | None,
    schema: str | None,
    database_url: str | None,
    as_json: bool,
    **given: Any,
) -> None:
    """Insert a job of KIND with ARGS, a JSON object or - for standard input; print its id.

    A unique job that is there already is not inserted: the id is that of the job that is.
    """
    job = RawArgs(kind, _standard_input() if args == "-" else args)
    given["metadata"] = None if metadata is None else metadata_object(metadata)
    with faults(database_url):
        at, delay = _when(scheduled_at)
        given["unique_opts"] = _unique(given)
        new_job(job, InsertOpts(scheduled_at=at, **given))  # before anything is connected
        url = required(database_url)
        with connect(url, application_name="riverbridge insert") as connection:
            if delay is not None:
                at = _later(connection, delay)
            # Given as a function, the connection gets the client's time limits.
            client = Client(lambda: connection, schema=schema)
            result = client.insert(job, InsertOpts(scheduled_at=at, **given))
    click.echo(msgspec.json.encode(result) if as_json else str(result.job.id))
    if result.unique_skipped_as_duplicate:
        click.echo(f"job {result.job.id} was there already: nothing was inserted", err=True)


def _unique(given: dict[str, Any]) -> UniqueOpts:
    """The unique options, which are taken out of `given`. Raises InvalidJob, click.UsageError."""
    by_args, paths = given.pop("unique_by_args"), given.pop("paths")
    if by_args and paths:
        raise click.UsageError("--unique-by-args is for all args: leave it or --unique-by-arg out")
    period = given.pop("unique_by_period")
    opts = UniqueOpts(
        by_args=paths or by_args,
        by_period=None if period is None else duration("--unique-by-period", period),
        by_queue=given.pop("unique_by_queue"),
        by_state=given.pop("states") or None,
        exclude_kind=given.pop("unique_exclude_kind"),
    )
    if opts.exclude_kind and opts.is_empty:
        raise click.UsageError("--unique-exclude-kind goes with another --unique option")
    return opts


def _standard_input() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise click.UsageError(f"args: standard input is not UTF-8: {error.reason}") from None


def _when(text: str | None) -> tuple[datetime | None, timedelta | None]:
    """The instant, or how long from now."""
    if text is None:
        return None, None
    if text.startswith("+") and DURATION.fullmatch(text, 1):
        return None, duration("scheduled_at", text[1:])
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
