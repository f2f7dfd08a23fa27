"""`riverbridge queues`: look at River's queues, pause them and let them go on."""

from __future__ import annotations

import click

from riverbridge.cli.database import database_options, opened
from riverbridge.cli.shown import json_line, show_queues
from riverbridge.store import administration as store

_json = click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
_names = click.argument("names", nargs=-1, required=True, metavar="NAME...")


@click.group("queues")
def queues() -> None:
    """Look at the queues that workers have reported, pause them and let them go on."""


@queues.command("list")
@database_options
@click.option("--limit", type=click.IntRange(1, 10_000), default=store.LIMIT, show_default=True)
@_json
def list_(database_url: str | None, schema: str | None, limit: int, as_json: bool) -> None:
    """List the queues by name."""
    with opened(database_url, schema, "queues") as database:
        found = database.perform(store.queue_list(limit=limit, schema=schema), 1)
    if not as_json:
        show_queues(found)
        return
    for queue in found:
        json_line(queue)


@queues.command()
@click.argument("name")
@database_options
@_json
def show(name: str, database_url: str | None, schema: str | None, as_json: bool) -> None:
    """Show one queue."""
    with opened(database_url, schema, "queues") as database:
        found = database.perform(store.queue_get(name, schema=schema), 1)
    if as_json:
        json_line(found)
    else:
        show_queues([found])


@queues.command()
@_names
@database_options
def pause(names: tuple[str, ...], database_url: str | None, schema: str | None) -> None:
    """Stop workers from taking jobs of queues, or of all for '*'. What is running goes on."""
    with opened(database_url, schema, "queues") as database:
        for name in names:
            database.perform(store.queue_pause(name, schema=schema), 2)
            click.echo(f"paused {name}")


@queues.command()
@_names
@database_options
def resume(names: tuple[str, ...], database_url: str | None, schema: str | None) -> None:
    """Let workers take jobs of queues, or of all for '*', again."""
    with opened(database_url, schema, "queues") as database:
        for name in names:
            database.perform(store.queue_resume(name, schema=schema), 2)
            click.echo(f"resumed {name}")
