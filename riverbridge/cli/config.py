"""`riverbridge config`: the settings in force, where they came from, and all that is wrong."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from riverbridge.bridge.body import Body
from riverbridge.bridge.condition import Condition
from riverbridge.bridge.template import Template
from riverbridge.errors import ConfigurationError
from riverbridge.settings import Described, load
from riverbridge.settings.loading import DOTENV, TOML

WRONG_CONFIGURATION = 78


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array of objects.")
@click.option(
    "--dotenv", type=click.Path(path_type=Path), default=DOTENV, help="Another file than .env."
)
@click.option(
    "--toml", type=click.Path(path_type=Path), default=TOML, help="Another riverbridge.toml."
)
def config(as_json: bool, dotenv: Path, toml: Path) -> None:
    """Print the settings in force and where each came from; secrets are masked.

    Ends with 78 and a line for each problem if they cannot work.
    """
    try:
        settings = load(
            dotenv=dotenv,
            toml=toml,
            check_template=Template.parse,
            check_body=Body.parse,
            check_condition=Condition.parse,
        )
    except ConfigurationError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        sys.exit(WRONG_CONFIGURATION)
    for warning in settings.warnings:
        click.echo(f"warning: {warning}", err=True)
    if settings.ignored:
        click.echo(f"ignored, as Kubernetes sets them: {', '.join(settings.ignored)}", err=True)
    lines = settings.describe()
    click.echo(
        json.dumps([line._asdict() for line in lines], indent=2) if as_json else _text(lines)
    )


def _text(lines: list[Described]) -> str:
    width = max(len(line.variable) for line in lines)
    return "\n".join(
        f"{line.variable:{width}}  {'(not set)' if line.value is None else line.value}"
        + ("" if line.default else f"  ({line.origin})")
        for line in lines
    )
