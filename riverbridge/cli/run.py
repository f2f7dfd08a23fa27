"""`riverbridge run`: the bridge in the foreground."""

from __future__ import annotations

import os
import signal
import sys
import threading
from types import FrameType
from typing import NoReturn

import click
import psycopg

from riverbridge import logs
from riverbridge.errors import ConfigurationError

FAILED = 1
WRONG_CONFIGURATION = 78


@click.command()
@click.option(
    "--dry-run",
    is_flag=True,
    help="Claim, render and print what would be sent to each sink, then roll back.",
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="With --dry-run: jobs to show per route and queue.",
)
def run(dry_run: bool, limit: int) -> None:
    """Deliver jobs until SIGTERM or Ctrl-C.

    The first signal stops claiming and finishes what is out within RIVERBRIDGE_GRACE; a second one
    ends at once.
    """
    from riverbridge import service

    try:
        settings = service.read_settings()
    except ConfigurationError as error:
        refuse(error)
    logs.configure(settings.log.format, settings.log.level)
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)
    if settings.ignored:
        click.echo(f"ignored, as Kubernetes sets them: {', '.join(settings.ignored)}", err=True)
    stop = threading.Event()
    stop_on_signals(stop)
    try:
        if dry_run:
            service.dry_run(settings, limit, click.echo)
        else:
            service.run(settings, stop)
    except ConfigurationError as error:
        refuse(error)
    except psycopg.Error as error:
        click.echo(f"DATABASE_URL: {' '.join(str(error).split())}", err=True)
        sys.exit(FAILED)


def refuse(error: ConfigurationError) -> NoReturn:
    """Say what is wrong and end."""
    for problem in error.problems:
        click.echo(problem, err=True)
    sys.exit(WRONG_CONFIGURATION)


def stop_on_signals(stop: threading.Event) -> None:
    """Set `stop` at the first SIGTERM or Ctrl-C, end at the second."""
    asked = False

    def handle(_number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            os._exit(FAILED)  # the second signal: Postgres gives back what this process held
        asked = True
        # From a thread, as the main one may be inside `stop` at this very moment, holding its lock.
        threading.Thread(target=stop.set, name="stop").start()

    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
