"""`riverbridge status`: how things stand, on one screen, from the database alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import click
import psycopg

from riverbridge.cli.database import connected, database_options
from riverbridge.cli.shown import json_line, moment, printable, table
from riverbridge.client.adapters.psycopg3 import read
from riverbridge.engine.keeper import SILENCE
from riverbridge.model.durations import in_words
from riverbridge.model.pause import Pause
from riverbridge.store.clock import server_now
from riverbridge.store.counts import (
    COUNT_MAX,
    Count,
    Discarded,
    QueueSummary,
    discarded_lately,
    queue_summaries,
)
from riverbridge.store.exchange import Exchange
from riverbridge.store.ingest import HELD_MAX, SourceSummary, source_summaries
from riverbridge.store.leader import Seat
from riverbridge.store.pauses import pauses
from riverbridge.store.workers import WorkingProcess, leader_seat, working_processes

LIMIT = 2.0
"""Seconds for each statement."""

LATELY = 3600.0
"""Seconds back to which discarded jobs are told of."""

SHOWN = 12
"""Rows of a table; a screen has no room for more."""


PARTS: Mapping[str, Callable[..., Exchange[Any]]] = {
    "queues": queue_summaries,
    "discarded": partial(discarded_lately, seconds=LATELY),
    "pauses": pauses,
    "leader": leader_seat,
    "processes": working_processes,
    "sources": source_summaries,
}


@click.command()
@database_options
@click.option("--json", "as_json", is_flag=True, help="Print all of it as one JSON object.")
def status(database_url: str | None, schema: str | None, as_json: bool) -> None:
    """Show queues, what failed lately, pauses, processes and sources, from the database alone.

    Ends with 0 whatever it finds, and with 1 where the database does not answer. Of what cannot be
    read, for want of a right or of time, it says why, and shows the rest.
    """
    with connected(database_url, schema, "status") as connection:
        found: dict[str, Any] = {"at": read(connection, server_now(), LIMIT)}
        failed: dict[str, str] = {}
        for name, part in PARTS.items():
            try:
                found[name] = read(connection, part(schema=schema), LIMIT)
            except psycopg.Error as error:
                if connection.closed:
                    raise
                failed[name] = _why(error)
    if as_json:
        leader: Seat | None = found.get("leader")
        json_line(found | {"leader": leader and leader._asdict(), "unread": failed})
    else:
        _show(found, failed)


def _why(error: psycopg.Error) -> str:
    match error:
        case psycopg.errors.QueryCanceled():
            return f"takes longer than {LIMIT:g} s"
        case psycopg.errors.UndefinedTable():
            return f"{error.diag.message_primary}: run `riverbridge migrate up`, or name the schema"
        case _:
            return " ".join((error.diag.message_primary or str(error)).split())


def _show(found: Mapping[str, Any], failed: Mapping[str, str]) -> None:
    """Print what was found, each part after an empty line."""
    click.echo(moment(found["at"]))
    shows: Mapping[str, Callable[[Any], None]] = {
        "queues": _show_queues,
        "discarded": _show_discarded,
        "pauses": _show_pauses,
        "leader": lambda leader: _show_leader(leader, found["at"]),
        "processes": lambda processes: _show_processes(processes, found.get("leader")),
        "sources": _show_sources,
    }
    for name, show in shows.items():
        click.echo()
        if name in failed:
            click.echo(f"{name}: {printable(failed[name])}")
        else:
            show(found[name])


def _show_queues(queues: Sequence[QueueSummary]) -> None:
    """The queues whose oldest job waits longest first."""
    waiting = sorted(queues, key=lambda queue: (-(queue.oldest_seconds or 0), queue.name))
    _rows(
        "no queues",
        ("queue", "available", "running", "retryable", "scheduled", "oldest due", "paused at"),
        [
            (
                queue.name,
                *map(_number, (queue.available, queue.running, queue.retryable, queue.scheduled)),
                _age(queue.oldest_seconds),
                moment(queue.paused_at),
            )
            for queue in waiting
        ],
    )


def _show_discarded(discarded: Sequence[Discarded]) -> None:
    jobs = sum(each.jobs for each in discarded)
    least = "at least " if jobs >= COUNT_MAX else ""
    _rows(
        "discarded in the last hour: none",
        ("kind", "queue", "discarded", "last", "reason"),
        [
            (each.kind, each.queue, str(each.jobs), str(each.last_id), each.error or "")
            for each in discarded
        ],
        f"discarded in the last hour: {least}{jobs}",
    )


def _show_pauses(paused: Sequence[Pause]) -> None:
    for pause in paused:
        click.echo(printable(f"{pause.what} {pause.name}: {pause}"))
    if not paused:
        click.echo("routes and sinks paused: none")


def _show_leader(leader: Seat | None, now: datetime) -> None:
    if leader is not None and leader.expires_at >= now:
        click.echo(f"leader: {printable(leader.leader_id)}, since {moment(leader.elected_at)}")
        return
    line = "leader: nobody, so nothing is scheduled, rescued or cleaned up"
    if leader is not None:
        line += f"; {printable(leader.leader_id)} was it until {moment(leader.expires_at)}"
    click.echo(line)


def _show_processes(processes: Sequence[WorkingProcess], leader: Seat | None) -> None:
    _rows(
        "no processes",
        ("process", "host", "version", "heard of", "running", "oldest", "leads"),
        [
            (
                process.id,
                process.host or "",
                process.version or "",
                _heard(process),
                str(process.running),
                _age(process.oldest),
                "yes" if leader is not None and leader.leader_id == process.id else "",
            )
            for process in processes
        ],
    )


def _show_sources(sources: Sequence[SourceSummary]) -> None:
    _rows(
        "no sources have positions or events in quarantine",
        ("source", "partitions", "moved", "one stands still for", "quarantined"),
        [
            (
                source.name,
                str(source.partitions),
                "" if source.moved is None else f"{_age(source.moved)} ago",
                _age(source.still),
                f"> {HELD_MAX}" if source.quarantined > HELD_MAX else str(source.quarantined),
            )
            for source in sources
        ],
    )


def _rows(
    nothing: str, columns: Sequence[str], rows: Sequence[Sequence[str]], heading: str = ""
) -> None:
    """Print as many rows as a screen has room for, and how many there are beside."""
    if not rows:
        click.echo(nothing)
        return
    if heading:
        click.echo(heading)
    table(columns, rows[:SHOWN])
    if len(rows) > SHOWN:
        click.echo(f"and {len(rows) - SHOWN} more: --json has all")


def _number(count: Count) -> str:
    return f"> {count.jobs}" if count.accuracy == "lower_bound" else str(count.jobs)


def _age(seconds: float | None) -> str:
    return "" if seconds is None else in_words(max(0.0, seconds))


def _heard(process: WorkingProcess) -> str:
    if process.silence is None:
        return "by its jobs"
    age = _age(process.silence)
    return f"silent for {age}" if process.silence > SILENCE else f"{age} ago"
