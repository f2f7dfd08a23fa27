"""`riverbridge jobs`: look at jobs; cancel, retry and delete them."""

from __future__ import annotations

from typing import Any, get_args

import click
import msgspec

from riverbridge.cli.database import FAILED, database_options, opened
from riverbridge.cli.job_changes import CANCEL, DELETE, RETRY, Changing, Command, some
from riverbridge.cli.job_options import filter_options, job_filter
from riverbridge.cli.shown import json_line, show_job, show_jobs, show_receipts
from riverbridge.model.job import JobState
from riverbridge.model.job_filter import LIMIT_MAX, JobFilter
from riverbridge.model.job_order import OrderBy
from riverbridge.store import administration as store
from riverbridge.store.receipts import receipts_of

_json = click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")


@click.group("jobs")
def jobs() -> None:
    """Look at jobs; cancel, retry and delete them.

    Many at once are chosen by options, of which all must hold. They are counted, and you are asked,
    before any is changed.
    """


@jobs.command("list")
@database_options
@filter_options(list(JobState))
@click.option("--id", "ids", multiple=True, type=int, help="With this id. Repeatable.")
@click.option(
    "--order-by",
    type=click.Choice(get_args(OrderBy)),
    default="id",
    show_default=True,
    help="time: the instant that goes with the first --state.",
)
@click.option("--descending", is_flag=True, help="The last first.")
@click.option("--limit", type=click.IntRange(1, LIMIT_MAX), default=store.LIMIT, show_default=True)
@click.option("--after", metavar="CURSOR", help="Go on after the page that ended with this.")
@_json
def list_(
    database_url: str | None, schema: str | None, limit: int, as_json: bool, **given: Any
) -> None:
    """List jobs by id. Where there may be more, the cursor to go on with is printed at the end."""
    filters = job_filter(given)
    with opened(database_url, schema, "jobs") as database:
        exchange = store.job_list(limit=limit, schema=schema, **given, **filters)
        found = database.perform(exchange, 1)
    if as_json:
        for job in found.jobs:
            json_line(job)
    else:
        show_jobs(found.jobs)
    if len(found.jobs) == limit:
        click.echo(f"more: --after {found.last_cursor}", err=True)


@jobs.command()
@click.argument("id", type=int)
@database_options
@_json
def show(id: int, database_url: str | None, schema: str | None, as_json: bool) -> None:
    """Show all that is known of a job."""
    with opened(database_url, schema, "jobs") as database:
        found = database.perform(store.job_get(id, schema=schema), 1)
        receipts = database.perform(receipts_of(id, schema=schema), 1)
    if as_json:
        json_line(msgspec.structs.asdict(found) | {"receipts": receipts})
    else:
        show_job(found)
        show_receipts(receipts)


def _add(command: Command) -> None:
    @jobs.command(command.name, help=command.help)
    @click.argument("ids", nargs=-1, type=int)
    @database_options
    @filter_options(command.states)
    @click.option("--all", "everything", is_flag=True, help="All of them, with no filter.")
    @click.option("--limit", type=click.IntRange(min=1), help="The first by id, this many at most.")
    @click.option("--dry-run", is_flag=True, help="Say how many it would be, and change nothing.")
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @_json
    def run(
        ids: tuple[int, ...], everything: bool, database_url: str | None, schema: str | None,
        limit: int | None, dry_run: bool, yes: bool, as_json: bool, **given: Any,
    ) -> None:  # fmt: skip
        filters = job_filter(given)
        if bool(ids) + bool(filters) + everything != 1:
            raise click.UsageError("give ids, or filters, or --all, and only one of these")
        if ids and limit is not None:
            raise click.UsageError("--limit goes with filters and --all, not with ids")
        with opened(database_url, schema, "jobs") as database:
            changing = Changing(command, database, schema, limit=limit, as_json=as_json)
            if ids and not dry_run:
                good = changing.by_id(ids)
            else:
                wanted: JobFilter = {"ids": ids, "states": command.states} if ids else filters
                good = _counted(changing, command.name, wanted, dry_run=dry_run, yes=yes)
        if not good:
            raise click.exceptions.Exit(FAILED)


def _counted(
    changing: Changing, verb: str, filters: JobFilter, *, dry_run: bool, yes: bool
) -> bool:
    """Say how many jobs match, ask, and change them."""
    count = changing.count(filters)
    if dry_run:
        click.echo(f"would {verb} {some(count)}")
        return True
    if not count:
        click.echo("no job matches")
        return True
    if not yes:
        click.confirm(f"{verb} {some(count)}?", abort=True, err=True)
    return changing.by_filter(filters, count)


for _command in (CANCEL, RETRY, DELETE):
    _add(_command)
