"""`riverbridge migrate`: the commands of River's own tool, for its line and ours (contract 13)."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import click

from riverbridge.cli.database import (
    FAILED,
    F,
    database_options,
    faults,
    options,
    required,
    schema_option,
)
from riverbridge.model.names import check_schema_name
from riverbridge.sql.migrations import LINES, MAIN, Direction, Migration, migrations
from riverbridge.store.migrate import Listed, Migrator, Step, find_migration


@click.group("migrate")
def migrate() -> None:
    """Bring the database's tables up or down: River's line main, and line riverbridge."""


def _line(text: str, default: str | None = None) -> Callable[[F], F]:
    return click.option("--line", type=click.Choice(LINES), default=default, help=text)


_moves = options(
    click.option(
        "--max-steps", type=int, help="Run at most this many. Negative: none. 0: the default."
    ),
    click.option("--dry-run", is_flag=True, help="Say what would be run, and run nothing."),
    click.option("--show-sql", is_flag=True, help="Print the SQL of each migration."),
)


@migrate.command()
@database_options
@_line("Only this line. Default: main, then riverbridge; main if a target or steps are given.")
@click.option("--target-version", type=int, help="Stop after this version.")
@_moves
def up(
    database_url: str | None,
    schema: str | None,
    line: str | None,
    target_version: int | None,
    max_steps: int | None,
    dry_run: bool,
    show_sql: bool,
) -> None:
    """Apply every version that is missing."""
    partly = target_version is not None or bool(max_steps)
    lines = (line,) if line else (MAIN,) if partly else LINES
    with faults(database_url):
        done = 0
        for each in lines:
            migrator = _migrator(database_url, schema, each)
            if dry_run and each != MAIN and done:
                # What main would make is not there, so this line cannot be tried in earnest.
                for version in migrator.validate():
                    _show(_would(find_migration(each, version), schema), True, show_sql)
                continue
            done += len(
                migrator.up(
                    target=target_version,
                    max_steps=max_steps,
                    dry_run=dry_run,
                    on_step=lambda step: _show(step, dry_run, show_sql),
                )
            )
        _say_end(done, max_steps)


@migrate.command()
@database_options
@_line("The line to take back.", MAIN)
@click.option(
    "--target-version",
    type=int,
    help="Take back everything above this version; 0 or -1: everything. Default: one step.",
)
@_moves
def down(
    database_url: str | None,
    schema: str | None,
    line: str,
    target_version: int | None,
    max_steps: int | None,
    dry_run: bool,
    show_sql: bool,
) -> None:
    """Take versions back, by default only the newest. Drops what they made, with its data."""
    with faults(database_url):
        steps = _migrator(database_url, schema, line).down(
            target=target_version,
            max_steps=max_steps,
            dry_run=dry_run,
            on_step=lambda step: _show(step, dry_run, show_sql),
        )
        _say_end(len(steps), max_steps)


@migrate.command("list")
@database_options
@_line("Only this line. Default: both.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(database_url: str | None, schema: str | None, line: str | None, as_json: bool) -> None:
    """List the versions; * marks the current one."""
    with faults(database_url):
        lists = {
            each: _migrator(database_url, schema, each).list()
            for each in ((line,) if line else LINES)
        }
    if as_json:
        rows = [asdict(listed) for listing in lists.values() for listed in listing]
        click.echo(json.dumps(rows, indent=2))
        return
    for each, listing in lists.items():
        if line is None:
            click.echo(each)
        for listed in listing:
            click.echo(_listed(listed, any(other.current for other in listing)))


@migrate.command()
@database_options
@_line("Only this line. Default: both.")
def validate(database_url: str | None, schema: str | None, line: str | None) -> None:
    """Exit with 1 if a version is missing."""
    with faults(database_url):
        missing = {
            each: _migrator(database_url, schema, each).validate()
            for each in ((line,) if line else LINES)
        }
    for each, versions in missing.items():
        if versions:
            numbers = " ".join(map(str, versions))
            click.echo(f"line {each}: Unapplied migrations: [{numbers}]", err=True)
    if any(missing.values()):
        raise click.exceptions.Exit(FAILED)


@migrate.command()
@schema_option
@_line("The line to print.", MAIN)
@click.option("--version", "versions", help="One version, or several: 5,6.")
@click.option("--all", "everything", is_flag=True, help="Every version.")
@click.option("--up", "up_", is_flag=True, help="The SQL to apply it.")
@click.option("--down", "down_", is_flag=True, help="The SQL to take it back.")
@click.option("--exclude-version", "excluded", help="With --all: leave out one or several: 1,2.")
def get(
    schema: str | None,
    line: str,
    versions: str | None,
    everything: bool,
    up_: bool,
    down_: bool,
    excluded: str | None,
) -> None:
    """Print the SQL of versions, for use with another migration tool. Needs no database."""
    if up_ == down_:
        raise click.UsageError("give one of --up and --down")
    if (versions is None) != everything:
        raise click.UsageError("give one of --version and --all")
    if excluded is not None and not everything:
        raise click.UsageError("--exclude-version goes with --all only")
    direction: Direction = "up" if up_ else "down"
    chosen = _versions(versions, "--version")
    left_out = _versions(excluded, "--exclude-version")
    with faults(None):
        if schema:
            check_schema_name(schema)
        picked = [find_migration(line, version) for version in chosen]
        for version in left_out:
            find_migration(line, version)
        if everything:
            ordered = migrations(line) if up_ else migrations(line)[::-1]
            picked = [found for found in ordered if found.version not in left_out]
        click.echo("\n\n".join(_sql(found, direction, schema) for found in picked))


def _migrator(database_url: str | None, schema: str | None, line: str) -> Migrator:
    return Migrator(required(database_url), schema=schema, line=line)


def _would(migration: Migration, schema: str | None) -> Step:
    text = migration.sql("up", schema)
    return Step(migration.line, migration.version, migration.name, "up", 0.0, text)


def _versions(text: str | None, option: str) -> list[int]:
    if text is None:
        return []
    try:
        return [int(part) for part in text.split(",")]
    except ValueError:
        raise click.BadParameter(
            f"{text!r} is not a version or a comma list of versions, such as 5,6",
            param_hint=option,
        ) from None


def _show(step: Step, dry_run: bool, show_sql: bool) -> None:
    head = f"migration {step.version:03} [{step.direction}]"
    if dry_run:
        click.echo(f"{head} [DRY RUN]")
    else:
        width = max(len(migration.name) for migration in migrations(step.line))
        click.echo(f"applied {head} {step.name.ljust(width)} [{_duration(step.seconds)}]")
    if show_sql:
        click.echo("-" * 80)
        click.echo(f"{_comment(step.line, step.version, step.direction)}\n{step.sql}\n")


def _duration(seconds: float) -> str:
    return f"{seconds:.2f}s" if seconds >= 1 else f"{seconds * 1000:.2f}ms"


def _say_end(done: int, max_steps: int | None) -> None:
    if not done:
        click.echo("no migrations to apply")
    elif max_steps and max_steps > done:
        click.echo("no more migrations to apply")


def _listed(listed: Listed, any_applied: bool) -> str:
    prefix = "" if not any_applied else "* " if listed.current else "  "
    return f"{prefix}{listed.version:03} {listed.name}"


def _comment(line: str, version: int, direction: Direction) -> str:
    return f"-- River {line} migration {version:03} [{direction}]"


def _sql(migration: Migration, direction: Direction, schema: str | None) -> str:
    comment = _comment(migration.line, migration.version, direction)
    return f"{comment}\n{migration.sql(direction, schema)}"
