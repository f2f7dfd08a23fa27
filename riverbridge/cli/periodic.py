"""`riverbridge periodic`: look at durable periodic jobs, run them at once, pause them."""

from __future__ import annotations

from typing import Literal

import click

from riverbridge.cli.database import database_options, opened
from riverbridge.cli.shown import json_line, moment, table
from riverbridge.store.periodic import LISTED, periodic_change, periodic_jobs

_ids = click.argument("ids", nargs=-1, required=True, metavar="ID...")


@click.group("periodic")
def periodic() -> None:
    """Look at the durable periodic jobs, run them at once, pause them and let them go on."""


@periodic.command("list")
@database_options
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
def list_(database_url: str | None, schema: str | None, as_json: bool) -> None:
    """List the jobs, by what runs next."""
    with opened(database_url, schema, "periodic") as database:
        found = database.perform(periodic_jobs(schema=schema), 1)
    if as_json:
        for job in found:
            json_line(job._asdict())
        return
    table(
        ("id", "next run", "paused at", "run asked for", "schedule"),
        [
            (
                job.id,
                moment(job.next_run_at),
                moment(job.paused_at),
                moment(job.asked_at),
                job.schedule,
            )
            for job in found
        ],
    )
    if len(found) == LISTED:
        click.echo(f"only the first {LISTED} are shown", err=True)


def _change(
    ids: tuple[str, ...],
    change: Literal["ask", "pause", "resume"],
    database_url: str | None,
    schema: str | None,
    past: str,
) -> None:
    with opened(database_url, schema, "periodic") as database:
        for id in ids:
            database.perform(periodic_change(id, change, schema=schema), 1)
            click.echo(f"{past} {id}")


@periodic.command()
@_ids
@database_options
def run(ids: tuple[str, ...], database_url: str | None, schema: str | None) -> None:
    """Have jobs run once, now, paused or not. The leader does it within two seconds."""
    _change(ids, "ask", database_url, schema, "asked for a run of")


@periodic.command()
@_ids
@database_options
def pause(ids: tuple[str, ...], database_url: str | None, schema: str | None) -> None:
    """Make no runs of jobs until they are resumed. Those passed over are not made up for."""
    _change(ids, "pause", database_url, schema, "paused")


@periodic.command()
@_ids
@database_options
def resume(ids: tuple[str, ...], database_url: str | None, schema: str | None) -> None:
    """Let jobs run by their schedules again."""
    _change(ids, "resume", database_url, schema, "resumed")
