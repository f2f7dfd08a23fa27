"""`riverbridge demo`: the whole thing on servers started for it."""

from __future__ import annotations

import sys

import click
import msgspec
import psycopg
from rich.console import Console

from riverbridge.demo.play import Options, Play, batch_size
from riverbridge.demo.scene import Interrupted, Scene
from riverbridge.demo.screen import screen, summary
from riverbridge.demo.signals import Signals
from riverbridge.errors import RiverbridgeError

FAILED = 1


@click.command()
@click.option("--once", is_flag=True, help="Run to the end and compare; without, until Ctrl-C.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    help="With --once: orders to commit, each with its job.  [default: 2000]",
)
@click.option("--json", "as_json", is_flag=True, help="With --once: print the result as JSON.")
@click.option(
    "--kill",
    is_flag=True,
    help="Kill the bridge with SIGKILL while deliveries are out: three times with --once (at "
    "least 100 jobs), else every 15 s.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=0),
    default=0.0,
    help="Orders a second; 0: as fast as they are read back with --once, else 50.",
)
def demo(once: bool, jobs: int | None, as_json: bool, kill: bool, rate: float) -> None:
    """Write orders and their jobs, deliver them to Kafka and SQS, read them back.

    What is in Kafka becomes jobs again, each exactly one. A Python worker works them,
    and half of them one in Go, where that is installed.

    Starts a Postgres, a Kafka-protocol broker and an SQS server on free loopback ports and stops
    them again. Every sixth transaction rolls back, and what it wrote must never arrive. Exits with
    0 only if nothing is lost.
    """
    if not once and (jobs is not None or as_json):
        raise click.UsageError("--jobs and --json go with --once")
    if once and kill and (jobs or 2000) < 100:
        raise click.UsageError("--kill needs at least 100 --jobs: three kills, each with some out")
    options = Options((jobs or 2000) if once else None, rate, kill)
    console = Console(stderr=as_json)
    with Signals(reckon=not once) as signals:
        try:
            code = _run(options, signals, console, as_json)
        except (RiverbridgeError, psycopg.Error) as error:
            click.echo(f"error: {error}", err=True)
            code = FAILED
    sys.exit(code)


def _run(options: Options, signals: Signals, console: Console, as_json: bool) -> int:
    with Scene(batch_size=batch_size(options)) as scene:
        try:
            scene.start(signals.has_ended, lambda line: console.print(line, highlight=False))
        except Interrupted:
            return 128 + signals.number
        play = Play(scene, options, signals)
        with screen(play, console):
            result = play.run()
    if result is None:
        return 128 + signals.number
    for problem in play.problems:
        click.echo(f"error: {problem}", err=True)
    click.echo(msgspec.json.encode(result).decode() if as_json else summary(result))
    return FAILED if play.problems else 0
