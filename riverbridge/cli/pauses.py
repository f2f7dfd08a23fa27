"""`riverbridge routes` and `riverbridge sinks`: look at them, pause them and let them go on.

They are run with the settings of the bridge, which name the routes and sinks. What is paused is in
the database, and every bridge on it obeys.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta

import click

from riverbridge.cli.database import faults, who
from riverbridge.cli.instants import future
from riverbridge.cli.shown import json_line, show_pausable
from riverbridge.client.adapters.own import OwnConnection
from riverbridge.model.pause import Pausable
from riverbridge.settings import Settings, load
from riverbridge.store import pauses as store
from riverbridge.store.dsn import connect

Names = Sequence[str]

_names = click.argument("names", nargs=-1, required=True, metavar="NAME...")


def _group(what: Pausable, its_jobs: str) -> click.Group:
    """The commands for routes or for sinks. its_jobs: what becomes of those of a paused one."""

    @click.group(f"{what}s", help=f"Look at the {what}s, pause them and let them go on.")
    def group() -> None:
        return

    @group.command("list", help=f"List the {what}s of the settings, and which are paused.")
    @click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line.")
    def list_(as_json: bool) -> None:
        _list(what, as_json)

    @group.command(
        help=f"Pause {what}s in every bridge on this database, within about a second and until "
        f"`resume`. What is out goes on. {its_jobs}"
    )
    @_names
    @click.option("--reason", help="Why, for whoever finds it paused.")
    @click.option(
        "--until",
        callback=future,
        metavar="INSTANT",
        help="End by itself at this instant: 2026-01-31T08:00:00Z, or from now: +2h.",
    )
    def pause(names: Names, reason: str | None, until: datetime | timedelta | None) -> None:
        _pause(what, names, reason, until)

    @group.command(help=f"Let paused {what}s go on.")
    @_names
    def resume(names: Names) -> None:
        _resume(what, names)

    return group


def _list(what: Pausable, as_json: bool) -> None:
    with _opened() as (settings, database):
        found = database.perform(store.pauses(schema=settings.db_schema), 1)
    paused = {pause.name: pause for pause in found if pause.what == what}
    known = _known(settings, what)
    names = sorted({*known, *paused})
    if not as_json:
        rows = [(name, *known.get(name, ("", "")), paused.get(name)) for name in names]
        show_pausable(what, rows)
        return
    for name in names:
        json_line({"name": name, "in_settings": name in known, "pause": paused.get(name)})


def _pause(
    what: Pausable, names: Names, reason: str | None, until: datetime | timedelta | None
) -> None:
    with _opened() as (settings, database):
        _check(names, what, _known(settings, what))
        schema = settings.db_schema
        for name in names:
            exchange = store.pause(what, name, by=who(), reason=reason, until=until, schema=schema)
            click.echo(f"{what} {name}: {database.perform(exchange, 1)}")


def _resume(what: Pausable, names: Names) -> None:
    with _opened() as (settings, database):
        for name in names:
            was = database.perform(store.resume(what, name, schema=settings.db_schema), 1)
            if not was:
                _check([name], what, _known(settings, what))
            click.echo(f"{what} {name}: {'goes on' if was else 'was not paused'}")


routes = _group("route", "Its jobs stay in their queues.")
sinks = _group(
    "sink",
    "Its jobs spend no attempts: they stay in their queues, or are parked where a route has other "
    "sinks.",
)


@contextmanager
def _opened() -> Iterator[tuple[Settings, OwnConnection]]:
    """The settings, and a connection to their database."""
    with faults(None):
        settings = load()
        assert settings.database_url is not None  # they were loaded to be run with
        url = settings.database_url.get_secret_value()
    with faults(url), connect(url, application_name="riverbridge pauses") as connection:
        yield settings, OwnConnection(lambda: connection)


def _known(settings: Settings, what: Pausable) -> Mapping[str, tuple[str, str]]:
    """The routes or sinks of the settings, with what is shown of them."""
    if what == "route":
        return {
            name: (", ".join(route.queues), ", ".join(route.sinks))
            for name, route in settings.routes.items()
        }
    return {
        name: (
            sink.type,
            ", ".join(r for r, route in settings.routes.items() if name in route.sinks),
        )
        for name, sink in settings.sinks.items()
    }


def _check(names: Names, what: Pausable, known: Mapping[str, object]) -> None:
    """A slip of the pen would pause nothing. Where the settings name none, nobody can tell."""
    for name in names:
        if known and name not in known:
            close = difflib.get_close_matches(name, known, 1, 0.6)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(known)}"
            raise click.UsageError(f"the settings have no {what} {name}; {hint}")
