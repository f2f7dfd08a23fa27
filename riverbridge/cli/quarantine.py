"""`riverbridge quarantine`: events that could not become jobs."""

from __future__ import annotations

import json
from collections.abc import Iterable

import click
import msgspec
import psycopg

from riverbridge.cli.database import database_options, faults, options, required
from riverbridge.cli.shown import json_line, moment, printable, table
from riverbridge.store import ingest
from riverbridge.store.dsn import connect
from riverbridge.store.ingest import Quarantined

FAILED = 1
MOST = 100_000
"""Events that one call takes back or drops at most."""

_json = click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
_selected = options(
    click.argument("ids", nargs=-1, type=click.IntRange(min=1), metavar="[ID]..."),
    click.option("--source", help="All of this source."),
    click.option("--all", "everything", is_flag=True, help="All of all sources."),
)


@click.group("quarantine")
def quarantine() -> None:
    """Look at events that could not become jobs; try them again, or drop them."""


@quarantine.command("list")
@database_options
@click.option("--source", help="Only those of this source.")
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True)
@click.option("--after", type=click.IntRange(min=0), default=0, help="Only ids above this one.")
@_json
def list_(
    database_url: str | None,
    schema: str | None,
    source: str | None,
    limit: int,
    after: int,
    as_json: bool,
) -> None:
    """List events in quarantine, the oldest first."""
    with faults(database_url), _connected(database_url) as connection:
        found = ingest.quarantined(
            connection, source=source, after=after, limit=limit, schema=schema
        )
    if as_json:
        for row in found:
            json_line(_plain(row))
        return
    table(
        ("id", "source", "event", "since", "bytes", "reason"),
        [
            (
                str(row.id),
                row.source,
                row.event_id,
                moment(row.created_at),
                "" if row.body is None else str(len(row.body)),
                row.reason,
            )
            for row in found
        ],
    )


@quarantine.command()
@click.argument("id", type=click.IntRange(min=1))
@database_options
@click.option("--body", "only_body", is_flag=True, help="Print the bytes of the body alone.")
@_json
def show(
    id: int, database_url: str | None, schema: str | None, only_body: bool, as_json: bool
) -> None:
    """Show one event. With --json, key and body are base64, and so are the values of headers."""
    with faults(database_url), _connected(database_url) as connection:
        found = ingest.quarantined(connection, after=id - 1, limit=1, schema=schema)
    if not found or found[0].id != id:
        click.echo(f"error: no event {id} is in quarantine", err=True)
        raise click.exceptions.Exit(FAILED)
    [row] = found
    if only_body:
        click.echo(row.body or b"", nl=False)
    elif as_json:
        json_line(_plain(row))
    else:
        _show(row)


@quarantine.command()
@_selected
@database_options
def retry(
    ids: tuple[int, ...],
    source: str | None,
    everything: bool,
    database_url: str | None,
    schema: str | None,
) -> None:
    """Make jobs of events by the present settings; each becomes one, or stays with its reason.

    Exit code 1 if any stays.
    """
    from riverbridge import service

    with faults(database_url), _connected(database_url) as connection:
        settings = service.read_settings()
        again = service.Retrying(settings, schema)
        made = stays = 0
        for row in _rows(connection, ids, source, everything, schema):
            if (reason := again.retry(connection, row.source, row.id)) is None:
                made += 1
            else:
                stays += 1
                click.echo(f"{row.id} stays: {printable(reason)}", err=True)
    click.echo(f"{made} taken out, {stays} stay")
    if stays:
        raise click.exceptions.Exit(FAILED)


@quarantine.command()
@_selected
@database_options
@click.confirmation_option("--yes", prompt="Drop these events for good?")
def drop(
    ids: tuple[int, ...],
    source: str | None,
    everything: bool,
    database_url: str | None,
    schema: str | None,
) -> None:
    """Delete events for good."""
    with faults(database_url), _connected(database_url) as connection:
        found = [row.id for row in _rows(connection, ids, source, everything, schema)]
        count = ingest.release_quarantined(connection, found, schema=schema)
    click.echo(f"dropped {count}")


def _connected(database_url: str | None) -> psycopg.Connection:
    return connect(required(database_url), application_name="riverbridge quarantine")


def _rows(
    connection: psycopg.Connection,
    ids: tuple[int, ...],
    source: str | None,
    everything: bool,
    schema: str | None,
) -> Iterable[Quarantined]:
    """Those that were selected, each once; of an id that is not there, nothing."""
    if bool(ids) + bool(source) + everything != 1:
        raise click.UsageError("give ids, or --source, or --all")
    if not ids:
        return ingest.quarantined(connection, source=source, limit=MOST, schema=schema)
    found = []
    for id_ in sorted(set(ids)):
        rows = ingest.quarantined(connection, after=id_ - 1, limit=1, schema=schema)
        found += [row for row in rows if row.id == id_]
        if not rows or rows[0].id != id_:
            click.echo(f"{id_} is not in quarantine", err=True)
    return found


def _plain(row: Quarantined) -> dict[str, object]:
    return msgspec.structs.asdict(row) | {"headers": json.loads(row.headers)}


def _show(row: Quarantined) -> None:
    lines = {
        "id": str(row.id),
        "source": row.source,
        "event": row.event_id,
        "topic": row.topic,
        "position": f"{row.partition} {row.position}" if row.partition else "",
        "happened": moment(row.event_at),
        "since": moment(row.created_at),
        "reason": row.reason,
        "key": _text(row.key),
    }
    for name, text in lines.items():
        if text:
            click.echo(f"{name + ':':10}{printable(text)}")
    for name, value in json.loads(row.headers):
        click.echo(f"header {printable(name)}: {value} (base64)")
    click.echo("body:")
    click.echo(f"  {printable(_text(row.body)[:4000])}")


def _text(value: bytes | None) -> str:
    return "" if value is None else value.decode("utf-8", "backslashreplace")
