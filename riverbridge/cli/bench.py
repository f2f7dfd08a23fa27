"""`riverbridge bench`: measure the bridge and its parts on this machine."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click

from riverbridge.errors import RiverbridgeError

F = TypeVar("F", bound=Callable[..., Any])

FAILED = 1

_json = click.option("--json", "as_json", is_flag=True, help="End with one line of JSON.")
_river_go = click.option(
    "--river-go",
    type=click.Path(path_type=Path),
    help="tests/interop/worker, built. By default it is built from this checkout.",
)


def _jobs(default: int, help: str, *, least: int = 2000) -> Callable[[F], F]:
    at_least = click.IntRange(min=least)
    return click.option("--jobs", type=at_least, default=default, show_default=True, help=help)


def _rounds(default: int) -> Callable[[F], F]:
    at_least = click.IntRange(min=1)
    text = "Rounds, interleaved."
    return click.option("--rounds", type=at_least, default=default, show_default=True, help=text)


def _seconds(help: str) -> Callable[[F], F]:
    at_least = click.FloatRange(min=2)
    return click.option("--seconds", type=at_least, default=60.0, show_default=True, help=help)


@click.group()
def bench() -> None:
    """Measure the bridge, the clients and the worker on this machine.

    Everything is started on loopback and shares the cores, so that ratios mean more than rates.
    """


@bench.command()
@_jobs(100_000, "Jobs per backlog.")
@_rounds(7)
@_seconds("How long jobs come one by one, at each rate.")
@_json
def bridge(jobs: int, rounds: int, seconds: float, as_json: bool) -> None:
    """The bridge to Kafka beside its own SQL and River's, and its latency and cost.

    Starts a Postgres 18 with fsync on and librdkafka's mock cluster; needs pgbench.
    """
    from riverbridge.bench.bridge import measure, steps
    from riverbridge.bench.report import text

    with _reporting(steps(rounds)) as progress:
        measured = measure(jobs=jobs, rounds=rounds, seconds=seconds, progress=progress)
    _show(text(measured), measured.figures() if as_json else None)


@bench.command()
@_jobs(50_000, "Jobs per backlog.")
@_rounds(5)
@_json
def order(jobs: int, rounds: int, as_json: bool) -> None:
    """An ordered route to Kafka beside the same route without order, with few keys and with many.

    Starts a Postgres 18 with fsync on and librdkafka's mock cluster.
    """
    from riverbridge.bench.ordered import measure, steps

    with _reporting(steps(rounds)) as progress:
        measured = measure(jobs=jobs, rounds=rounds, progress=progress)
    _show(measured.text(), measured.figures() if as_json else None)


@bench.command()
@_jobs(20_000, "Jobs per run; of single inserts a tenth.", least=1000)
@_rounds(7)
@_river_go
@_json
def insert(jobs: int, rounds: int, river_go: Path | None, as_json: bool) -> None:
    """The insert clients beside River's own, in Go and in Python (riverqueue).

    Starts a Postgres 18 with fsync on; needs Go, and riverqueue with SQLAlchemy.
    """
    from riverbridge.bench.insert import measure, steps
    from riverbridge.bench.insert_report import text

    with _reporting(steps(rounds)) as progress:
        measured = measure(jobs=jobs, rounds=rounds, river_go=river_go, progress=progress)
    _show(text(measured), measured.figures() if as_json else None)


@bench.command()
@click.option(
    "--events",
    type=click.IntRange(min=2000),
    default=100_000,
    show_default=True,
    help="Events per backlog.",
)
@click.option(
    "--bootstrap-servers",
    metavar="HOST:PORT",
    help="A Kafka to read from, in topics made for it. By default a broker is started.",
)
@_rounds(5)
@_json
def ingest(events: int, bootstrap_servers: str | None, rounds: int, as_json: bool) -> None:
    """A Kafka source beside its own statements sent alone.

    Starts a Postgres 18 with fsync on and a Kafka-protocol broker.
    """
    from riverbridge.bench.ingest import measure, steps, text

    with _reporting(steps(rounds)) as progress:
        measured = measure(
            events=events, rounds=rounds, servers=bootstrap_servers, progress=progress
        )
    _show(text(measured), measured.figures() if as_json else None)


@bench.command("ingest-sqs")
@click.option(
    "--events",
    type=click.IntRange(min=500),
    default=2000,
    show_default=True,
    help="Events per queue. ministack walks the whole queue for each request.",
)
@_rounds(5)
@_json
def ingest_sqs(events: int, rounds: int, as_json: bool) -> None:
    """An SQS source beside what its server gives to receivers that do nothing else.

    Starts a Postgres 18 with fsync on and an SQS server.
    """
    from riverbridge.bench.ingest_sqs import measure, steps, text

    with _reporting(steps(rounds)) as progress:
        measured = measure(events=events, rounds=rounds, progress=progress)
    _show(text(measured), measured.figures() if as_json else None)


@bench.command()
@_jobs(100_000, "Jobs per backlog; of slow queues a quarter (oban) or a twentieth (procrastinate).")
@click.option(
    "--slow-jobs",
    type=click.IntRange(min=100),
    default=3000,
    show_default=True,
    help="Jobs per backlog of jobs that take 2 s, 500 at once.",
)
@_rounds(5)
@_seconds("How long jobs come one by one, all rounds together.")
@click.option("--sweep", is_flag=True, help="Find the best settings of the other queues first.")
@_river_go
@click.option(
    "--peers",
    type=click.Path(path_type=Path),
    help="Where the other queues are installed. By default where `make bench-peers` puts them.",
)
@_json
def work(
    jobs: int,
    slow_jobs: int,
    rounds: int,
    seconds: float,
    sweep: bool,
    river_go: Path | None,
    peers: Path | None,
    as_json: bool,
) -> None:
    """The worker beside River's own and other Python queues, and how soon it picks a job up.

    Starts a Postgres 18 with fsync on; needs pgbench. What it compares with and is not here (Go,
    pgqueuer, oban, procrastinate) is left out, unless RIVERBRIDGE_REQUIRE names it.
    """
    from riverbridge.bench.work import Scope, measure, steps
    from riverbridge.bench.work_report import text

    scope = Scope(jobs, slow_jobs, rounds, seconds, sweep)
    with _reporting(steps(scope)) as progress:
        measured = measure(scope, go=river_go, peers=peers, progress=progress)
    _show(text(measured), measured.figures() if as_json else None)


@bench.command()
@click.option("--messages", type=click.IntRange(min=100), default=10_000, show_default=True)
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--threads", type=click.IntRange(1, 64), default=8, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def sqs(messages: int, rounds: int, threads: int, as_json: bool) -> None:
    """The SQS sink beside boto3, against canned answers."""
    from riverbridge.bench.sqs import main

    found: dict[str, Any] = main(rounds=rounds, messages=messages, threads=threads)
    click.echo(json.dumps(found, indent=None if as_json else 2))


def _show(report: str, figures: Mapping[str, Any] | None) -> None:
    click.echo(report)
    if figures is not None:
        click.echo(json.dumps(figures))


@contextmanager
def _reporting(total: int) -> Iterator[Callable[[str], None]]:
    """A bar on a terminal, moved by what it yields. Ends the command where a bench cannot go on."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
            task = shown.add_task("starting", total=total)

            def progress(what: str) -> None:
                advance = 0 if shown.tasks[0].description == "starting" else 1
                shown.update(task, description=what, advance=advance)

            yield progress
            shown.update(task, description="done", advance=1)
    except RiverbridgeError as error:
        click.echo(str(error), err=True)
        sys.exit(FAILED)
