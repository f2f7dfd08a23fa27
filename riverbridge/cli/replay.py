"""`riverbridge replay`: deliver finished jobs once more, stop, go on, look at replays, end them."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import click
import psycopg

from riverbridge.bridge.replay import Preview, Replayer
from riverbridge.cli.database import FAILED, faults, options, who
from riverbridge.cli.instants import past
from riverbridge.cli.shown import json_line, show_jobs, show_replay, show_replays
from riverbridge.client.adapters.psycopg3 import send
from riverbridge.model.job import Job
from riverbridge.model.job_filter import FINALIZED, LIMIT_MAX
from riverbridge.model.replay import Replay, ReplayFilter, ReplayPlan, plan_replay
from riverbridge.settings import Settings
from riverbridge.store import administration as jobs
from riverbridge.store.clock import database_now
from riverbridge.store.database import Connection, connector
from riverbridge.store.exchange import carry_out


def _past(name: str, help: str) -> Callable[[Any], Any]:
    return click.option(name, callback=past, metavar="INSTANT", help=help)


_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, an object a line.")
_rate = click.option(
    "--rate", type=click.FloatRange(min=0, min_open=True), help="Jobs a second at most."
)
_filters = options(
    click.option("--kind", "kinds", multiple=True, metavar="GLOB", help="Such as 'order.*'."),
    click.option("--queue", "queues", multiple=True, help="In this queue."),
    click.option(
        "--state",
        "states",
        multiple=True,
        type=click.Choice([state.value for state in FINALIZED]),
        help="In this state. Default: any of these.",
    ),
    click.option("--id", "ids", multiple=True, type=int, help="With this id."),
    click.option("--from-id", type=int, help="With this id or a higher one."),
    click.option("--to-id", type=int, help="With this id or a lower one."),
    _past("--finalized-from", "Finished at this instant or later."),
    _past("--finalized-before", "Finished before this instant."),
    _past("--created-from", "Inserted at this instant or later."),
    _past("--created-before", "Inserted before this instant."),
    click.option("--key", help="Whose key, as the route renders it, is this."),
    click.option("--error", help="With an error that contains this, in any case."),
    click.option("--tag", "tags", multiple=True, help="With this tag; repeated: with all of them."),
    click.option("--metadata", help="Whose metadata contains this JSON object."),
    click.option("--args", help="Whose args contain this JSON object."),
)


@click.group("replay", invoke_without_command=True)
@_filters
@click.option("--all", "everything", is_flag=True, help="All finished jobs, with no filter.")
@click.option("--sink", help="To this sink alone. Default: to all sinks of the route.")
@_rate
@click.option("--dry-run", is_flag=True, help="Say which jobs it would be, and change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_json
@click.pass_context
def replay(
    context: click.Context,
    /,
    everything: bool,
    sink: str | None,
    rate: float | None,
    dry_run: bool,
    yes: bool,
    as_json: bool,
    **given: Any,
) -> None:
    """Deliver finished jobs once more: those that match all that is given.

    They become available again and the running bridges deliver them, with the event id they had and
    the header riverbridge-replay. Ctrl-C stops it; `replay resume` goes on. Instants are
    2026-01-31T08:00:00Z, or from now: -2h. What may be repeated means any of the values.
    """
    if context.invoked_subcommand is not None:
        _refuse_options(context)
        return
    if any(value not in (None, ()) for value in given.values()) == everything:
        raise click.UsageError("give filters or --all, and not both")
    with _opened() as (replayer, settings, connection):
        from riverbridge.service.wiring import replay_routes

        wanted = ReplayFilter(**_instants(connection, given))
        plan = plan_replay(wanted, replay_routes(settings), sink)
        preview = replayer.preview(plan)
        if dry_run:
            exchange = jobs.job_list(ids=preview.sample or [0], schema=settings.db_schema)
            sample = carry_out(exchange, lambda query: send(connection, query)).jobs
            _show_preview(plan, preview, sample, as_json)
            return
        _warn(preview)
        if preview.total and not yes:
            click.confirm(_question(plan, preview), abort=True, err=True)
        started = replayer.start(plan, preview, rate=rate)
        _run(replayer, started, as_json)


@replay.command()
@click.argument("id", type=int)
@_rate
@_json
def resume(id: int, rate: float | None, as_json: bool) -> None:
    """Go on with a replay that was stopped, where it was."""
    with _opened() as (replayer, *_):
        _run(replayer, replayer.get(id), as_json, rate)


@replay.command("list")
@click.option("--limit", type=click.IntRange(1, LIMIT_MAX), default=20, show_default=True)
@_json
def list_(limit: int, as_json: bool) -> None:
    """List replays, the latest first."""
    with _opened() as (replayer, *_):
        found = replayer.list(limit)
    if not as_json:
        show_replays(found)
        return
    for each in found:
        json_line(each)


@replay.command()
@click.argument("id", type=int)
@_json
def cancel(id: int, as_json: bool) -> None:
    """End a replay where it is, running or not. Jobs that are available again stay so."""
    with _opened() as (replayer, *_):
        _show_end(replayer.cancel(id), as_json)


def _refuse_options(context: click.Context) -> None:
    for name in context.params:
        if context.get_parameter_source(name) is not click.core.ParameterSource.DEFAULT:
            raise click.UsageError(
                f"options before `{context.invoked_subcommand}` are those of a new replay: give "
                "its own after it"
            )


@contextmanager
def _opened() -> Iterator[tuple[Replayer, Settings, Connection]]:
    """A replayer on the database of the settings; what goes wrong becomes a line and a code."""
    from riverbridge.service.wiring import read_settings

    with faults(None):
        settings = read_settings()
        assert settings.database_url is not None  # they were loaded to be run with
        url = settings.database_url.get_secret_value()
    connect = connector(url, application_name="riverbridge replay", pooler=settings.pooler)
    with faults(url), connect() as connection:
        yield Replayer(connection, settings.db_schema, name=who()), settings, connection


def _instants(connection: Connection, given: dict[str, Any]) -> dict[str, Any]:
    """The filters, with instants in the place of times ago."""
    now = None
    for name, value in given.items():
        if isinstance(value, timedelta):
            now = now or database_now(connection)
            try:
                given[name] = now - value
            except OverflowError:
                raise click.UsageError(f"{name}: is before the year 1") from None
    return given


def _question(plan: ReplayPlan, preview: Preview) -> str:
    return f"replay {_some(preview.total)} to {plan.sink or 'all sinks of the route'}?"


def _warn(preview: Preview) -> None:
    if preview.unrouted:
        click.echo(
            f"{_some(preview.unrouted)} more match, which no route in question takes: they are "
            "left alone",
            err=True,
        )


def _show_preview(plan: ReplayPlan, preview: Preview, sample: Sequence[Job], as_json: bool) -> None:
    if as_json:
        counts = [
            {"route": route, "state": state.value, "jobs": number}
            for (route, state), number in sorted(preview.jobs.items())
        ]
        found = {"total": preview.total, "unrouted": preview.unrouted, "jobs": counts}
        json_line(found | {"plan": plan, "sample": sample})
        return
    click.echo(f"would replay {_some(preview.total)}")
    for (route, state), number in sorted(preview.jobs.items()):
        click.echo(f"  {number} {state} of route {route}")
    _warn(preview)
    if sample:
        click.echo("the first of them:")
        show_jobs(sample)


def _run(replayer: Replayer, began: Replay, as_json: bool, rate: float | None = None) -> None:
    """Run it to its end, or to a signal, and say how that was."""
    now = began
    if not (began.total == 0 and began.state == "finished"):
        if not as_json:
            click.echo(f"replay {began.id}: {_some(began.total)}")
        try:
            with _stopping() as stop, _progress(began) as show:
                for step in replayer.run(began.id, stop, rate=rate):
                    now = step.replay
                    for skip in step.skips:
                        click.echo(f"skipped: job {skip.job_id}: {skip.reason}", err=True)
                    show(now)
        except psycopg.Error:
            click.echo(_go_on(began), err=True)
            raise
    if now.state == "open":
        now = replayer.get(now.id)  # it has no runner any more
    _show_end(now, as_json)
    if now.state == "open":
        click.echo(_go_on(now), err=True)
        raise click.exceptions.Exit(FAILED)
    if now.skipped:
        raise click.exceptions.Exit(FAILED)


def _go_on(replay: Replay) -> str:
    return f"stopped; go on with: riverbridge replay resume {replay.id}"


def _show_end(replay: Replay, as_json: bool) -> None:
    if as_json:
        json_line(replay)
    else:
        show_replay(replay)


def _some(count: int) -> str:
    return "1 job" if count == 1 else f"{count} jobs"


@contextmanager
def _stopping() -> Iterator[threading.Event]:
    """An event that the first Ctrl-C or SIGTERM sets; the second does what it always does."""
    stop = threading.Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    def handle(_number: int, _frame: object) -> None:
        restore()
        # From a thread, as the main one may be inside the event, holding its lock.
        threading.Thread(target=stop.set, name="stop").start()

    for number in before:
        signal.signal(number, handle)
    try:
        yield stop
    finally:
        restore()


@contextmanager
def _progress(began: Replay) -> Iterator[Callable[[Replay], None]]:
    """A bar on a terminal."""
    if not sys.stderr.isatty():
        yield lambda replay: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=began.total, completed=began.done + began.skipped)
        yield lambda replay: bar.update(task, completed=replay.done + replay.skipped)
