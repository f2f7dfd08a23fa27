"""Jobs and queues as the commands print them: tables and details to read, JSON for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import click
import msgspec

from riverbridge.model.job import Job, JobState
from riverbridge.model.pause import Pause
from riverbridge.model.queue import Queue
from riverbridge.model.receipt import KeptReceipt
from riverbridge.model.replay import Replay

_UNLIMITED = 100_000
"""Columns of what is no terminal: nothing is cut off."""

_FLEXIBLE = {"kind", "queue", "metadata", "event", "reason"}
"""Columns that a narrow terminal breaks into lines."""


def json_line(value: object) -> None:
    """Print one JSON object on one line, also for those to whom U+2028 ends one."""
    click.echo(printable(msgspec.json.encode(value).decode()))


def show_jobs(jobs: Iterable[Job]) -> None:
    """Print a table of jobs; the time is that of its end, its attempt or its schedule."""
    table(
        ("id", "state", "kind", "queue", "prio", "attempt", "time"),
        [
            (
                str(job.id),
                job.state.value,
                job.kind,
                job.queue,
                str(job.priority),
                f"{job.attempt}/{job.max_attempts}",
                moment(job.finalized_at or _begun(job) or job.scheduled_at),
            )
            for job in jobs
        ],
    )


def show_job(job: Job) -> None:
    """Print all that is known of a job."""
    lines = {
        "id": str(job.id),
        "kind": job.kind,
        "state": job.state.value,
        "queue": job.queue,
        "priority": str(job.priority),
        "attempt": f"{job.attempt} of {job.max_attempts}",
        "tags": ", ".join(job.tags),
        "created at": moment(job.created_at),
        "scheduled at": moment(job.scheduled_at),
        "attempted at": moment(job.attempted_at),
        "attempted by": ", ".join(job.attempted_by or ()),
        "finished at": moment(job.finalized_at),
        "unique key": "" if job.unique_key is None else job.unique_key.hex(),
        "unique in": ", ".join(job.unique_states or ()),
    }
    for name, text in lines.items():
        if text:
            click.echo(f"{name + ':':14}{printable(text)}")
    for name, value in (("args", job.args), ("metadata", job.metadata)):
        click.echo(f"{name}:\n{_indented(value)}")
    for error in job.errors or ():
        click.echo(f"error of attempt {error.attempt}, {moment(error.at)}:")
        for line in f"{error.error}\n{error.trace}".rstrip("\n").split("\n"):
            click.echo(f"  {printable(line)}")


def show_receipts(receipts: Iterable[KeptReceipt]) -> None:
    """Print which sink confirmed a job, on which attempt, when and where."""
    for receipt in receipts:
        where = "" if receipt.receipt is None else f": {printable(receipt.receipt)}"
        click.echo(
            f"confirmed by {printable(receipt.sink)} on attempt {receipt.attempt}, "
            f"{moment(receipt.at)}{where}"
        )


def show_queues(queues: Iterable[Queue]) -> None:
    """Print a table of queues."""
    table(
        ("queue", "paused at", "reported at", "metadata"),
        [
            (
                queue.name,
                moment(queue.paused_at),
                moment(queue.updated_at),
                msgspec.json.encode(queue.metadata).decode() if queue.metadata else "",
            )
            for queue in queues
        ],
    )


def show_pausable(what: str, rows: Iterable[tuple[str, str, str, Pause | None]]) -> None:
    """Print a table of routes or sinks: the name, two texts, and whether somebody has paused it."""
    second, third = ("queues", "sinks") if what == "route" else ("type", "routes")
    table(
        (what, second, third, "paused at", "by", "until", "reason"),
        [
            (name, one, other)
            + (
                (moment(pause.paused_at), pause.paused_by, moment(pause.until), pause.reason or "")
                if pause
                else ("", "", "", "")
            )
            for name, one, other, pause in rows
        ],
    )


def show_replays(replays: Iterable[Replay]) -> None:
    """Print a table of replays."""
    table(
        ("id", "state", "jobs", "done", "skipped", "sink", "started at", "by"),
        [
            (
                str(replay.id),
                _going(replay),
                str(replay.total),
                str(replay.done),
                str(replay.skipped),
                replay.plan.sink or "all",
                moment(replay.started_at),
                replay.started_by,
            )
            for replay in replays
        ],
    )


def show_replay(replay: Replay) -> None:
    """Print how far a replay has come."""
    left = replay.total - replay.done - replay.skipped
    line = f"replay {replay.id} {_going(replay)}: {replay.done} of {replay.total} done"
    if replay.skipped:
        line += f", {replay.skipped} skipped"
    if replay.state == "finished" and left > 0:
        line += f", {left} gone or changed meanwhile"
    click.echo(line)


def _going(replay: Replay) -> str:
    if replay.state == "open":
        return "stopped" if replay.runner is None else "running"
    return replay.state


def _begun(job: Job) -> datetime | None:
    return job.attempted_at if job.state is JobState.RUNNING else None


def moment(at: datetime | None) -> str:
    """An instant to the second, or nothing."""
    return "" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def printable(text: str) -> str:
    """`text` with JSON's escapes for characters that a terminal obeys: rows come from anywhere."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


def _indented(value: object) -> str:
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return "\n".join(f"  {printable(line)}" for line in text.split("\n"))


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their columns; what was written by others cannot work the terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, no_wrap=column not in _FLEXIBLE, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console = Console(width=None if sys.stdout.isatty() else _UNLIMITED)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        click.echo(line.rstrip())
