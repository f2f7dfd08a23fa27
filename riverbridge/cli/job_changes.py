"""Cancelling, retrying and deleting jobs from the command line: those named, or all that match."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

import click

from riverbridge.cli.shown import json_line
from riverbridge.client.adapters.own import OwnConnection
from riverbridge.errors import JobError
from riverbridge.model.job import Job, JobState
from riverbridge.model.job_filter import FINALIZED, JobFilter
from riverbridge.store import administration as store
from riverbridge.store.batches import Change, job_batch
from riverbridge.store.exchange import Exchange

BATCH = 500
"""Jobs of one transaction when many are changed."""

COUNT_MAX = 1_000_000
"""Where counting ends: one call changes no more than this, and is run again for the rest."""

_UNFINISHED = tuple(state for state in JobState if state not in FINALIZED)
_NOT_RUNNING = tuple(state for state in JobState if state is not JobState.RUNNING)


class Operation(Protocol):
    """Such as `job_cancel`."""

    def __call__(self, id: int, *, schema: str | None) -> Exchange[Job]: ...


class Command(NamedTuple):
    """A command that changes jobs.

    states: those that it may be about. unless_told: those that it is about where none is named.
    """

    name: Change
    operation: Operation
    states: Sequence[JobState]
    unless_told: Sequence[JobState]
    help: str


CANCEL = Command(
    "cancel",
    store.job_cancel,
    _UNFINISHED,
    _UNFINISHED,
    """Cancel jobs: those with these IDS, or all that match.

    A running job is marked, and its worker is told; it is cancelled once its worker gives up.
    """,
)
RETRY = Command(
    "retry",
    store.job_retry,
    _NOT_RUNNING,
    (JobState.CANCELLED, JobState.DISCARDED, JobState.RETRYABLE),
    """Make jobs available now: those with these IDS, or all that match.

    All that match are cancelled, discarded and retryable ones, unless --state names others. A job
    without an attempt left is given one.
    """,
)
DELETE = Command(
    "delete",
    store.job_delete,
    _NOT_RUNNING,
    _NOT_RUNNING,
    "Delete jobs: those with these IDS, or all that match. Running jobs cannot be deleted.",
)


class Changing:
    """One call of such a command. What it changed goes to the output, what it could not to errors.

    limit: how many jobs at most, None for no limit. as_json: each job as it stands afterwards, or,
    if deleted, as it was.
    """

    def __init__(
        self,
        command: Command,
        database: OwnConnection,
        schema: str | None,
        *,
        limit: int | None,
        as_json: bool,
    ) -> None:
        self._command = command
        self._database = database
        self._schema = schema
        self._limit = COUNT_MAX if limit is None else min(limit, COUNT_MAX)
        self._as_json = as_json

    def count(self, filters: JobFilter) -> int:
        """How many jobs it would be."""
        chosen: JobFilter = {"states": self._command.unless_told, **filters}
        exchange = store.job_count(limit=self._limit, schema=self._schema, **chosen)
        return self._database.perform(exchange, 1)

    def by_id(self, ids: Sequence[int]) -> bool:
        """Change these jobs, each in a transaction of its own; whether all of them could be."""
        good = True
        for id in dict.fromkeys(ids):
            try:
                job = self._database.perform(self._command.operation(id, schema=self._schema), 1)
            except JobError as error:
                click.echo(f"error: {error}", err=True)
                good = False
            else:
                if not self._show(job):
                    click.echo(f"job {job.id}: {self._outcome(job)}")
        return good

    def by_filter(self, filters: JobFilter, count: int) -> bool:
        """Change `count` jobs that match, in batches; whether there were as many to change."""
        chosen: JobFilter = {"states": self._command.unless_told, **filters}
        done: Counter[str] = Counter()
        last_id: int | None = -1
        with _progress(count) as advance:
            while last_id is not None and done.total() < count:
                limit = min(BATCH, count - done.total())
                exchange = job_batch(
                    self._command.name,
                    limit=limit,
                    after_id=last_id,
                    schema=self._schema,
                    **chosen,
                )
                batch = self._database.perform(exchange, 2)
                last_id = batch.last_id
                for job in batch.jobs:
                    done[self._outcome(job)] += 1
                    self._show(job)
                for conflict in batch.conflicts:
                    click.echo(f"error: {conflict}", err=True)
                advance(len(batch.jobs))
        for outcome, number in done.items():
            click.echo(f"{some(number)}: {outcome}", err=self._as_json)
        if left := count - done.total():
            click.echo(
                f"error: {some(left)} left alone: in work, or not as when they were counted",
                err=True,
            )
        return not left

    def _show(self, job: Job) -> bool:
        if self._as_json:
            json_line(job)
        return self._as_json

    def _outcome(self, job: Job) -> str:
        if self._command is DELETE:
            return "deleted"
        if self._command is CANCEL and job.state is JobState.RUNNING:
            return "running, its worker was told"
        return job.state.value


def some(count: int) -> str:
    """`1 job`, `2 jobs`, and where counting ended `the first 1000000 jobs`."""
    if count == COUNT_MAX:
        return f"the first {count} jobs"
    return "1 job" if count == 1 else f"{count} jobs"


@contextmanager
def _progress(count: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, for what takes more than one batch."""
    if count <= BATCH or not sys.stderr.isatty():
        yield lambda number: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    columns = BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=count)
        yield lambda number: bar.advance(task, number)
