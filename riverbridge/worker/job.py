"""What a job function gets: its job, and what it may say of it while it runs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from riverbridge.errors import InvalidJob, JobLost, WorkerError
from riverbridge.model.job import ClaimedJob, JobState
from riverbridge.model.json_object import read_object
from riverbridge.model.retry import LONGEST
from riverbridge.model.settlement import LAST_ATTEMPT
from riverbridge.worker.job_log import KEY as LOG
from riverbridge.worker.job_log import JobLog
from riverbridge.worker.loop import EventLoop
from riverbridge.worker.notes import OUTPUT, OUTPUT_BYTES_MAX, RESERVED, pair
from riverbridge.worker.steps import Steps

if TYPE_CHECKING:
    from riverbridge.engine.batch import Batch

A = TypeVar("A")
P = ParamSpec("P")

DEADLINE_EXCEEDED = "context deadline exceeded"
"""River's text for a job that ran out of time (contract 9.3)."""


class JobSnooze(Exception):
    """Raise it to run the job again in `seconds`: no error, no attempt spent (T10, T11).

    Up to 5 s the job is `available` again, beyond that `scheduled`. It may be raised by what the
    function calls, as the cause of another exception or in an exception group.
    """

    def __init__(self, seconds: float) -> None:
        """Raises ValueError below 0 and beyond River's longest wait, 292 years."""
        if not 0 <= seconds <= LONGEST:
            raise ValueError(f"a job cannot snooze for {seconds} s: use 0 to {LONGEST:.0f}")
        self.seconds = float(seconds)
        super().__init__(f"JobSnoozeError: {self.seconds:g} s")


class JobCancel(Exception):
    """Raise it to end the job for good: `cancelled`, whatever attempts are left (T9).

    reason: a text or an exception; it stands in the job's errors as `JobCancelError: <reason>`.
    Found where `JobSnooze` is.
    """

    def __init__(self, reason: object = None) -> None:
        self.reason = reason
        super().__init__(f"JobCancelError: {'<nil>' if reason is None else reason}")


class Halt(Enum):
    """Why a job that runs is to end."""

    TIMED_OUT = "it ran out of time"
    CANCELLED = "it was cancelled"
    STOPPED = "the worker stops"
    LOST = "others may have it now"


current: ContextVar[RunningJob[Any]] = ContextVar("riverbridge_job")
"""Set while a function that gets one job runs, and what is around it."""


def current_job() -> RunningJob[Any]:
    """The job whose function, middleware or hook is running here.

    Raises WorkerError anywhere else, and in functions that get many jobs at once.
    """
    job = current.get(None)
    if job is None:
        raise WorkerError("there is no job here: current_job() is for what a job function calls")
    return job


class RunningJob(Generic[A]):
    """A job of which an attempt is running: the row as it was claimed, and its decoded `args`.

    Any thread may use it. What is recorded goes into the row with the attempt's outcome, whatever
    that is (contract 11.2).
    """

    args: A
    """Set once middleware and `work_begin` hooks have let the job through; until then there is only
    `encoded_args`."""

    client: Any
    """The client whose worker this is, to insert more jobs with."""

    _halt: Halt | None = None
    _halted: threading.Event | None = None
    _log: JobLog | None = None
    _metadata: dict[str, Any] | None = None
    _notes: dict[str, str] | None = None
    _steps: Steps | None = None

    def __init__(self, row: ClaimedJob, batch: Batch | None, loop: EventLoop, client: Any) -> None:
        """batch: None for an attempt that is over. client: what `job.client` is to be."""
        self.client = client
        self._row = row
        self._batch = batch
        self._loop = loop

    def __repr__(self) -> str:
        return f"RunningJob(id={self.id}, kind={self.kind!r}, attempt={self.attempt})"

    @property
    def id(self) -> int:
        return self._row.id

    @property
    def kind(self) -> str:
        return self._row.kind

    @property
    def queue(self) -> str:
        return self._row.queue

    @property
    def priority(self) -> int:
        return self._row.priority

    @property
    def state(self) -> JobState:
        """`running`, as long as its function sees it."""
        return JobState.RUNNING

    @property
    def attempt(self) -> int:
        """The number of this attempt, from 1."""
        return min(self._row.attempt + 1, LAST_ATTEMPT)

    @property
    def max_attempts(self) -> int:
        return self._row.max_attempts

    @property
    def failures(self) -> int:
        """How many errors the row holds; snoozes and interruptions are none."""
        return self._row.failures

    @property
    def encoded_args(self) -> str:
        """The JSON of the args, as Postgres spells it."""
        return self._row.args

    @property
    def metadata(self) -> dict[str, Any]:
        """The row's metadata when it was claimed. To change it, use `metadata_set`."""
        if self._metadata is None:
            self._metadata = read_object(self._row.metadata)
        return self._metadata

    @property
    def tags(self) -> list[str]:
        return self._row.tags.split(",") if self._row.tags else []

    @property
    def created_at(self) -> datetime:
        return self._row.created_at

    @property
    def scheduled_at(self) -> datetime:
        return self._row.scheduled_at

    def record_output(self, value: object) -> None:
        """Keep `value` as the job's output, up to 32 MiB of JSON; the last call counts.

        Raises InvalidJob for what has no form in JSON or is too large.
        """
        text = pair(OUTPUT, value)
        size = len(text.encode()) - len(f'"{OUTPUT}":')
        if size > OUTPUT_BYTES_MAX:
            raise InvalidJob(f"output: {size} bytes of JSON; at most {OUTPUT_BYTES_MAX} are kept")
        self._note(OUTPUT, text)

    def metadata_set(self, key: str, value: object) -> None:
        """Merge `key` into the job's metadata with the outcome; null stays, keys never go away.

        Raises InvalidJob for keys that begin with `river:` and for what has no form in JSON.
        """
        if key.startswith(RESERVED):
            raise InvalidJob(f"metadata key {key!r}: those with {RESERVED!r} are River's own")
        self._note(key, pair(key, value))

    def log(self, text: str) -> None:
        """Append a line to the log of this attempt, which River UI shows; `JobLogHandler` does so.

        At most 2 MiB an attempt and 8 MiB in all are kept (contract 11.4).
        """
        if self._log is None:
            self._log = JobLog()
        self._log.add(text)

    @property
    def cancelled(self) -> threading.Event:
        """Set when the function should end: timed out, cancelled, stopped, or no longer ours.

        An async function is cancelled as well. One in a thread has to look, or it runs on.
        """
        if self._halted is None:
            self._halted = threading.Event()
            if self._halt is not None:
                self._halted.set()
        return self._halted

    def raise_if_cancelled(self) -> None:
        """End here if `cancelled` is set, so that the job's outcome says why.

        Raises TimeoutError if the job ran out of time, else asyncio.CancelledError.
        """
        if self._halt is Halt.TIMED_OUT:
            raise TimeoutError(DEADLINE_EXCEEDED)
        if self._halt is not None:
            raise asyncio.CancelledError(self._halt.value)

    def lease(self) -> Awaitable[None]:
        """Give the job a `running` row of its own, committed, before this returns.

        For what others must see in the table now, and for transactions that change this row: a job
        is claimed under a row lock that would block them. An async function awaits it; in a thread
        it blocks. Raises JobLost if others may have the job now.
        """
        batch = self._batch
        if batch is None:
            raise WorkerError(f"job {self.id} is over and cannot be leased")

        def check() -> None:
            if batch.abandoned:
                raise JobLost(f"job {self.id} is not this process's any more", job_id=self.id)

        return self._loop.wait(batch.lease, check)

    def hand_over(self) -> str:
        """What was recorded so far, as the text of a JSON object, for who settles the row inside of
        this function's transaction; what is recorded later is not for that."""
        if self._batch is not None:
            self._batch.handed_over.add(self.id)
        return self._noted() or "{}"

    def step(
        self, name: str, function: Callable[P, object], /, *args: P.args, **kwargs: P.kwargs
    ) -> Awaitable[None]:
        """Call `function`, unless an earlier attempt got past this step (contract 11.3).

        Names are unique within a job. After a step that failed, later ones are skipped and the job
        fails with its error, also where the function caught it. An async function awaits each step.
        Raises WorkerError for a name used twice.
        """
        return self._resumable().run(name, lambda: function(*args, **kwargs), self._loop)

    def step_cursor(
        self, name: str, function: Callable[[Any], object], /, *, type: Any = None
    ) -> Awaitable[None]:
        """As `step`, for one that an earlier attempt may have left half done.

        function: gets the cursor that was set then, or None; it calls `set_cursor` as it goes on.
        type: what the cursor is converted to from JSON.
        """
        return self._resumable().run_cursor(name, function, type, self._loop)

    def set_cursor(self, value: object) -> None:
        """Remember where the step that runs now stands, for the next attempt should this one fail.

        Raises WorkerError outside of a step and InvalidJob for what has no form in JSON.
        """
        self._resumable().set_cursor(value)

    def _note(self, key: str, text: str) -> None:
        if self._notes is None:
            self._notes = {}
        self._notes[key] = text

    def _noted(self) -> str | None:
        """All that goes into the row's metadata, as the text of an object."""
        notes = dict(self._notes or {})
        if self._log is not None:
            logged = self._log.appended_to(self._row.metadata, self.attempt)
            if logged is not None:
                notes[LOG] = logged
        return f"{{{','.join(notes.values())}}}" if notes else None

    def _resumable(self) -> Steps:
        if self._steps is None:
            self._steps = Steps(self.metadata)
        return self._steps
