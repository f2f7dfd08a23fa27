"""`riverbridge console`: the console without the bridge."""

from __future__ import annotations

import sys
import threading

import click

from riverbridge import logs
from riverbridge.cli.run import refuse, stop_on_signals
from riverbridge.console.access.hashes import PasswordHash, new_token, token_hash
from riverbridge.errors import ConfigurationError

PASSWORD_LEAST = 12


@click.command()
@click.option(
    "--hash-password",
    is_flag=True,
    help="Ask for a password and print the hash for RIVERBRIDGE_HTTP__USERS__<NAME>__PASSWORD.",
)
@click.option(
    "--new-token",
    "make_token",
    is_flag=True,
    help="Print a new bearer token, and the hash for RIVERBRIDGE_HTTP__USERS__<NAME>__TOKEN.",
)
def console(hash_password: bool, make_token: bool) -> None:
    """Serve the console alone, until SIGTERM or Ctrl-C.

    It shows the jobs of DATABASE_URL, whoever works them: riverbridge, or River in Go. `riverbridge
    run` serves the same beside the bridge, and shows more of it.
    """
    if hash_password and make_token:
        raise click.UsageError("--hash-password and --new-token are two commands: give one")
    if hash_password:
        _hash_password()
    elif make_token:
        token = new_token()
        click.echo(f"token: {token}\nhash:  {token_hash(token)}")
    else:
        _serve()


def _hash_password() -> None:
    # A pipe is read, so that a password manager can give it.
    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.read().rstrip("\r\n")
    if len(password) < PASSWORD_LEAST:
        raise click.UsageError(f"use {PASSWORD_LEAST} characters or more")
    click.echo(str(PasswordHash.of(password)))


def _serve() -> None:
    from riverbridge import service

    try:
        settings = service.read_settings()
        logs.configure(settings.log.format, settings.log.level)
        stop = threading.Event()
        stop_on_signals(stop)
        service.serve_console(settings, stop, click.echo)
    except ConfigurationError as error:
        refuse(error)
