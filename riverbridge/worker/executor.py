"""The taker that runs job functions: at most so many at once, and answers in runs."""

from __future__ import annotations

import contextvars
import threading
import weakref
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from operator import itemgetter

from riverbridge.engine.batch import LONG, Batch
from riverbridge.errors import WorkerError
from riverbridge.model.outcome import Outcome
from riverbridge.worker.attempt import Attempt
from riverbridge.worker.call import Call, Terms
from riverbridge.worker.events import Events
from riverbridge.worker.job import Halt
from riverbridge.worker.registry import Definition, Workers, timeout_seconds
from riverbridge.worker.runtime import Runtime
from riverbridge.worker.verdict import ErrorHandler

TIMEOUT = 60.0
"""River's default, in seconds."""

WORKERS_MAX = 10_000


@dataclass(frozen=True)
class QueueConfig:
    """How a queue is worked. max_workers: jobs at once, 1 to 10,000 (contract 8.1)."""

    max_workers: int

    def __post_init__(self) -> None:
        if not 1 <= self.max_workers <= WORKERS_MAX:
            raise WorkerError(
                f"max_workers: {self.max_workers} is out of range: use 1 to {WORKERS_MAX}"
            )


class Executor:
    """Works the jobs of one queue (`riverbridge.engine.batch.Taker`). Any thread may call.

    Two lanes may hand over more than `room` said to either; the rest waits here for a slot.
    """

    def __init__(
        self,
        workers: Workers,
        runtime: Runtime,
        queue: QueueConfig,
        *,
        timeout: float | None = TIMEOUT,
        error_handler: ErrorHandler | None = None,
        events: Events | None = None,
        client: object = None,
    ) -> None:
        """timeout: seconds, for kinds without one of their own; -1 or None: without limit. client:
        what jobs see as theirs.
        """
        self._workers = workers
        self._runtime = runtime
        self._events = events
        self._client = client
        self._terms = Terms(
            context=contextvars.copy_context(),
            loop=runtime.loop,
            watch=runtime.watch,
            timeout=timeout_seconds(timeout),
            handler=error_handler,
            done=self._done,
            free=self._free,
        )
        self._lock = threading.Lock()
        self._slots = queue.max_workers
        """Those that are free; below 0 where jobs that come together are more than were free."""
        self._waiting: deque[Call] = deque()
        self._jobs: dict[int, tuple[Call, Attempt]] = {}
        """Those that are here, by id."""
        self._ended: list[Call] = []
        """In the loop, and not answered yet."""
        self._stopped = False

    def kinds(self) -> list[str]:
        """The kinds that are worked; others are answered as River does with unknown ones."""
        return self._workers.kinds()

    def room(self) -> int:
        """How many jobs it would start now; none once it is to stop."""
        return 0 if self._stopped else max(0, self._slots)

    def take(self, batch: Batch) -> None:
        """Start on the jobs that have no outcome yet; answers come as their functions return."""
        # Not the batch itself, which would be a cycle.
        batch.on_abandoned = partial(self._abandoned, weakref.ref(batch))
        find, loop, client = self._workers.find, self._runtime.loop, self._client
        attempts = []
        for place in batch.open():
            row = batch.jobs[place]
            attempts.append(Attempt(row, place, find(row.kind), batch, loop, client))
        if self._events is not None:
            self._events.follow(batch, attempts)
        calls = self._calls(batch, attempts)
        with self._lock:
            self._waiting.extend(calls)
            for call in calls:
                for attempt in call.attempts:
                    self._jobs[attempt.id] = call, attempt
                if self._stopped:
                    call.halt(Halt.STOPPED)
            ready = self._ready()
        self._start(ready)

    def cancel(self, job_id: int) -> bool:
        """End a job, as somebody asked for; False if it is not here.

        Whatever error it returns then, it ends as cancelled; if it succeeds, it is completed.
        """
        with self._lock:
            call, attempt = self._jobs.get(job_id, _NOBODY)
        if call is not None:
            call.halt(Halt.CANCELLED, attempt)
        return call is not None

    def interrupt(self) -> None:
        """End all that runs: the process stops. Jobs that end by it are given back (T12), and so
        are those that wait for a slot, or come later."""
        with self._lock:
            self._stopped = True
            ready = self._ready()
            calls = {call for call, _ in self._jobs.values()}
        for call in calls:
            call.halt(Halt.STOPPED)
        self._start(ready)

    def _calls(self, batch: Batch, attempts: Sequence[Attempt]) -> list[Call]:
        """The calls it takes; those functions that take many jobs get what there is of theirs."""
        calls = []
        together: dict[Definition, list[Attempt]] = defaultdict(list)
        for attempt in attempts:
            if attempt.definition.many:
                together[attempt.definition].append(attempt)
            else:
                calls.append(Call(self._terms, attempt.definition, (attempt,), batch))
        for definition, some in together.items():
            for start in range(0, len(some), definition.many):
                part = some[start : start + definition.many]
                calls.append(Call(self._terms, definition, part, batch))
        return calls

    def _ready(self) -> list[Call]:
        """Under the lock: give slots to those that wait. After a stop none is needed, as what has
        not begun never does."""
        ready = []
        while self._waiting and (self._slots > 0 or self._stopped):
            call = self._waiting.popleft()
            self._slots -= len(call.attempts)
            ready.append(call)
        return ready

    def _start(self, calls: Sequence[Call]) -> None:
        in_loop = []
        for call in calls:
            if call.definition.is_async:
                in_loop.append(call)
            else:
                self._runtime.threads.run(call.drive)
        if in_loop:
            self._runtime.loop.call(_launch, in_loop)

    def _done(self, call: Call) -> None:
        """Answer; in the loop once for all calls that end in one of its rounds."""
        if not call.definition.is_async:
            self._answer([call])
            return
        if not self._ended:
            self._runtime.loop.asyncio.call_soon(self._answer_ended)
        self._ended.append(call)

    def _answer_ended(self) -> None:
        ended, self._ended = self._ended, []
        self._answer(ended)

    def _answer(self, calls: Sequence[Call]) -> None:
        outcomes: dict[Batch, list[tuple[int, Outcome]]] = defaultdict(list)
        for call in calls:
            outcomes[call.batch].extend(call.outcomes)
            if call.lasted > LONG:
                call.batch.long = True
        for batch, answers in outcomes.items():
            _answer_in_runs(batch, answers)
        with self._lock:
            for call in calls:
                for attempt in call.attempts:
                    # Another batch may have brought the same job, if this one was abandoned.
                    if self._jobs.get(attempt.id, _NOBODY)[0] is call:
                        del self._jobs[attempt.id]
                self._give_back(call)
            ready = self._ready()
        self._start(ready)

    def _free(self, call: Call) -> None:
        with self._lock:
            self._give_back(call)
            ready = self._ready()
        self._start(ready)

    def _give_back(self, call: Call) -> None:
        """Under the lock: the slots of a call, once."""
        if not call.freed:
            call.freed = True
            self._slots += len(call.attempts)

    def _abandoned(self, batch: weakref.ref[Batch]) -> None:
        with self._lock:
            calls = {call for call, _ in self._jobs.values() if call.batch is batch()}
        for call in calls:
            call.halt(Halt.LOST)


_NOBODY = (None, None)


def _launch(calls: Iterable[Call]) -> None:
    for call in calls:
        call.launch()


def _answer_in_runs(batch: Batch, answers: list[tuple[int, Outcome]]) -> None:
    """Give the batch what is known, with one call for places that follow each other."""
    answers.sort(key=itemgetter(0))
    start = answers[0][0]
    run: list[Outcome] = []
    for place, outcome in answers:
        if place != start + len(run):
            batch.answer(run, start)
            start, run = place, []
        run.append(outcome)
    batch.answer(run, start)
