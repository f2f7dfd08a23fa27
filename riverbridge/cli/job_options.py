"""The options that say which jobs a command is about."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar, cast

import click

from riverbridge.cli.database import options
from riverbridge.model.job_filter import JobFilter
from riverbridge.model.json_object import object_problem, read_object

F = TypeVar("F", bound=Callable[..., Any])

_NAMES = ("ids", "kinds", "queues", "states", "priorities", "tags_all", "tags_any")


def filter_options(states: Sequence[str]) -> Callable[[F], F]:
    """The filters of a command that may be about jobs in `states`."""
    return options(
        click.option("--kind", "kinds", multiple=True, help="Jobs of this kind. Repeatable."),
        click.option("--queue", "queues", multiple=True, help="In this queue. Repeatable."),
        click.option(
            "--state",
            "states",
            multiple=True,
            type=click.Choice([str(state) for state in states]),
            help="In this state. Repeatable.",
        ),
        click.option(
            "--priority",
            "priorities",
            multiple=True,
            type=click.IntRange(1, 4),
            help="With this priority. Repeatable.",
        ),
        click.option(
            "--tag", "tags_all", multiple=True, help="With this tag; repeated: with all of them."
        ),
        click.option(
            "--any-tag",
            "tags_any",
            multiple=True,
            help="Repeated: with at least one of these tags.",
        ),
        click.option("--metadata", help="Whose metadata contains this JSON object."),
    )


def job_filter(given: dict[str, Any]) -> JobFilter:
    """The filters among the options, which are taken out of `given`. Raises click.UsageError."""
    found: Any = {}
    for name in _NAMES:
        if values := given.pop(name, ()):
            found[name] = values
    if (text := given.pop("metadata", None)) is not None:
        found["metadata"] = metadata_object(text)
    return cast(JobFilter, found)


def metadata_object(text: str) -> dict[str, Any]:
    """The object that an option holds. Raises click.UsageError."""
    problem = object_problem(text)
    if problem is not None:
        raise click.UsageError(f"metadata: {problem}")
    return read_object(text)
