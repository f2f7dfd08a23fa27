"""`riverbridge work`: Python job functions in the foreground."""

from __future__ import annotations

import sys
import threading

import click
import psycopg

from riverbridge import logs
from riverbridge.cli.run import FAILED, refuse, stop_on_signals
from riverbridge.errors import ConfigurationError, RiverbridgeError


@click.command()
@click.argument("workers")
@click.option(
    "--queue",
    "queues",
    multiple=True,
    default=["default=100"],
    show_default=True,
    metavar="NAME=JOBS",
    help="A queue, and how many of its jobs may run at once. May be repeated.",
)
def work(workers: str, queues: tuple[str, ...]) -> None:
    """Work jobs with the functions of WORKERS, as MODULE:ATTRIBUTE, until SIGTERM or Ctrl-C.

    The first signal stops claiming and gives running jobs RIVERBRIDGE_GRACE to finish; what still
    runs then is cancelled and goes back to its queue. A second one ends at once.
    """
    from riverbridge import service
    from riverbridge.service import working

    try:
        settings = service.read_settings()
        logs.configure(settings.log.format, settings.log.level)
        configs = working.read_queues(queues)
        found = working.find_workers(workers)
    except ConfigurationError as error:
        refuse(error)
    stop = threading.Event()
    stop_on_signals(stop)
    try:
        ended = working.work(settings, found, configs, stop)
    except ConfigurationError as error:
        refuse(error)
    except (psycopg.Error, RiverbridgeError) as error:
        click.echo(f"DATABASE_URL: {' '.join(str(error).split())}", err=True)
        sys.exit(FAILED)
    if not ended:
        sys.exit(FAILED)
