"""`riverbridge doctor`: what somebody who is on call would look at first, in one go."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from riverbridge.cli.run import FAILED, WRONG_CONFIGURATION, refuse
from riverbridge.cli.shown import json_line, printable
from riverbridge.errors import ConfigurationError
from riverbridge.service.examining import Finding

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print all of it as one JSON object.")
def doctor(as_json: bool) -> None:
    """Look at the database, its rights and upkeep, and whether sinks and sources can be reached.

    Each line is ok, warn or fail, and what to do is below it. Nothing is changed, and nothing sent.
    Ends with 0 where nothing fails, also with warnings; with 1 where something does; with 78 where
    that is the settings, or tables that do not fit.
    """
    from riverbridge import service

    try:
        settings = service.read_settings()
        found = []
        for finding in service.examine(settings):
            found.append(finding)
            if not as_json:
                _show(finding)
    except ConfigurationError as error:
        refuse(error)
    if as_json:
        json_line({"findings": found})
    sys.exit(_code(found))


def _show(finding: Finding) -> None:
    level = click.style(f"{finding.level:4}", fg=_COLOURS[finding.level])
    click.echo(f"{level}  {printable(finding.check)}: {printable(finding.said)}")
    if finding.do:
        click.echo(f"      {printable(finding.do)}")


def _code(found: Sequence[Finding]) -> int:
    failed = [finding for finding in found if finding.level == "fail"]
    if any(finding.misconfigured for finding in failed):
        return WRONG_CONFIGURATION
    return FAILED if failed else 0
