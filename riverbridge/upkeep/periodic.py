"""Jobs that a leader inserts again and again, as values, and the bundle that holds a process's own.

What is in a bundle is inserted only while its process leads. So each process that may lead has to
hold the same jobs: one that is added or removed at run time, in all of them.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from riverbridge.errors import ConfigurationError
from riverbridge.model.names import periodic_id_problem
from riverbridge.model.schedule import Missed, Schedule, fingerprint

Constructor = Callable[[], object]
"""Makes the job of a run: args, or InsertManyParams for args with options; None skips the run."""


@dataclass(frozen=True, slots=True)
class PeriodicJob:
    """A job to be inserted whenever its schedule says so (contract 7.4).

    constructor: called for each run, in the leader's thread and with a transaction open, so it must
    not block. What it raises is logged. id: shown in the job's metadata, and unique in its bundle.
    run_on_start: one more run whenever a leader begins, or when the job is added to one.

    durable: the next run is kept in the database, under `id`. So runs are neither lost nor made
    twice when the leader changes or nobody leads for a while, and `run_on_start` is one run when
    the job is first seen. Without it a new leader begins anew. missed: what a durable job does
    about runs that are more than a minute late: `run_once` makes the last of them, `run_all` each,
    `skip` none.

    Raises ConfigurationError for an id River would refuse, and for a durable job without an id or
    with a schedule that cannot be told from another.
    """

    schedule: Schedule
    constructor: Constructor
    id: str | None = None
    run_on_start: bool = False
    durable: bool = False
    missed: Missed = "run_once"

    def __post_init__(self) -> None:
        if self.id is not None and (problem := periodic_id_problem(self.id)) is not None:
            raise ConfigurationError(f"id of a periodic job: {problem}")
        if self.missed not in ("run_once", "run_all", "skip"):
            raise ConfigurationError(
                f"missed of a periodic job is {self.missed!r}; use 'run_once', 'run_all' or 'skip'"
            )
        if self.durable:
            if self.id is None:
                raise ConfigurationError(
                    "a durable periodic job needs an id: its run is kept by it"
                )
            fingerprint(self.schedule)


class PeriodicJobs:
    """The periodic jobs of one process. Any thread may change them, also while it leads.

    on_change: called when a job was added; it belongs to the one that inserts them.
    """

    def __init__(self, jobs: Iterable[PeriodicJob] = ()) -> None:
        """Raises ConfigurationError if two of `jobs` have the same id."""
        self.on_change: Callable[[], None] = lambda: None
        self._lock = threading.Lock()
        self._handles = itertools.count()
        self._jobs: dict[int, PeriodicJob] = {}
        for job in jobs:
            self.add(job)

    def add(self, job: PeriodicJob) -> int:
        """Add `job`; the number that is returned removes it, and is never used again.

        Raises ConfigurationError if a job with its id is there.
        """
        with self._lock:
            if job.id is not None and any(other.id == job.id for other in self._jobs.values()):
                raise ConfigurationError(f"there is a periodic job with the id {job.id!r} already")
            handle = next(self._handles)
            self._jobs[handle] = job
        self.on_change()
        return handle

    def remove(self, handle: int) -> bool:
        """Insert this job no more; False if it is not there. What is inserted stays."""
        with self._lock:
            return self._jobs.pop(handle, None) is not None

    def remove_by_id(self, id_: str) -> bool:
        """As `remove`, by the job's id."""
        with self._lock:
            handles = [handle for handle, job in self._jobs.items() if job.id == id_]
            for handle in handles:
                del self._jobs[handle]
            return bool(handles)

    def clear(self) -> None:
        """Remove all jobs."""
        with self._lock:
            self._jobs.clear()

    def all(self) -> dict[int, PeriodicJob]:
        """The jobs as they are now, by handle, in the order they were added."""
        with self._lock:
            return dict(self._jobs)
