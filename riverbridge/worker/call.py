"""One call of a job function: a task in the event loop, or a turn of a thread."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextvars import Context
from dataclasses import dataclass

from riverbridge.engine.batch import Batch
from riverbridge.errors import WorkerError
from riverbridge.model.outcome import Outcome, Retry
from riverbridge.worker.attempt import Attempt
from riverbridge.worker.job import Halt, current
from riverbridge.worker.loop import EventLoop
from riverbridge.worker.registry import Definition
from riverbridge.worker.verdict import ErrorHandler
from riverbridge.worker.watch import Watch

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Terms:
    """What the calls of an executor have in common.

    context: what context variables are when a function begins. timeout: seconds for kinds that have
    none of their own; None: without limit. done: told of each call at its end, where it ran. free:
    told of a stuck call whose slots are to be used again.
    """

    context: Context
    loop: EventLoop
    watch: Watch
    timeout: float | None
    handler: ErrorHandler | None
    done: Callable[[Call], None]
    free: Callable[[Call], None]


class Call:
    """The attempts of one job, or of many where the function takes many at once."""

    deadline = 0.0
    timed_out = False
    stuck = 0
    """The watch's: when it is next to look, and what it saw; the number of jobs that are stuck."""

    freed = False
    """The executor's: whether the slots are in use no more."""

    thread = 0
    """The one it runs in, once it does."""

    lasted = 0.0
    """Seconds that the function and what is around it took; 0 where it was not called."""

    _task: asyncio.Task[None] | None = None
    _cancellable = False
    _cancelled = False

    def __init__(
        self, terms: Terms, definition: Definition, attempts: Sequence[Attempt], batch: Batch
    ) -> None:
        self.definition = definition
        self.attempts = attempts
        self.batch = batch
        self.outcomes: list[tuple[int, Outcome]] = []
        """By the job's place in the batch; all of them once the call is done."""
        self._terms = terms

    def launch(self) -> None:
        """Begin, in the loop."""
        loop, context = self._terms.loop.asyncio, self._terms.context.copy()
        self._task = loop.create_task(self._run(), context=context)

    def drive(self) -> None:
        """Run it whole, in this thread. What is written with `await` here is so for async functions
        only: with a plain one and plain middleware, nothing waits."""
        coroutine = self._run()
        with contextlib.suppress(StopIteration):
            self._terms.context.copy().run(coroutine.send, None)
        coroutine.close()

    def halt(self, cause: Halt, attempt: Attempt | None = None) -> None:
        """End it, or only one `attempt` of it, as far as its function can be ended; from any
        thread. What has ended is left alone."""
        for each in self.attempts if attempt is None else (attempt,):
            each.halt(cause)
        if self.definition.is_async and (attempt is None or not self.definition.many):
            self._terms.loop.call(self._cancel)

    def free(self) -> None:
        """Give its slots to others, though it runs on."""
        self._terms.free(self)

    def _cancel(self) -> None:
        """In the loop. Once only: a second cancel would end the function's cleaning up. What has
        not begun will see for itself that it is halted."""
        if self._task is not None and self._cancellable and not self._cancelled:
            self._cancelled = True
            self._task.cancel()

    async def _run(self) -> None:
        self._cancellable = True
        self.thread = threading.get_ident()
        try:
            await self._work()
        except BaseException as error:
            log.exception("a call of %s ended in a defect of the worker", self.definition.function)
            known = {place for place, _ in self.outcomes}
            text = f"the worker failed: {type(error).__name__}: {error}"
            for attempt in self.attempts:
                if attempt.place not in known:
                    self.outcomes.append((attempt.place, Retry(text)))
        finally:
            self._terms.done(self)

    async def _work(self) -> None:
        if not self.definition.many:
            current.set(self.attempts[0])
        handler = self._terms.handler
        inside: list[Attempt] = []
        began = time.monotonic()
        for attempt in self.attempts:
            attempt.began = began
            error = await attempt.enter()
            if error is None:
                inside.append(attempt)
            else:
                self.outcomes.append((attempt.place, attempt.outcome(error, handler)))
        if not inside:
            return
        timeout = inside[0].timeout
        if timeout == 0:
            timeout = self._terms.timeout
        if timeout:
            self._terms.watch.arm(self, timeout)
        errors = await self._called(inside)
        # What comes now may clean up in peace.
        self._cancellable = False
        self._terms.watch.disarm(self)
        for attempt, error in zip(inside, errors, strict=True):
            left = await attempt.leave(error)
            self.outcomes.append((attempt.place, attempt.outcome(left, handler)))
        self.lasted = attempt.ended - began

    async def _called(self, inside: Sequence[Attempt]) -> Sequence[BaseException | None]:
        """Call the function; returns what each attempt failed with."""
        function, many = self.definition.function, self.definition.many
        try:
            result = function(list(inside) if many else inside[0])
            if self.definition.is_async:
                result = await result  # type: ignore[misc]
            elif inspect.iscoroutine(result):
                result.close()
                raise WorkerError("the function returned a coroutine: declare it `async def`")
            return _each(result, len(inside)) if many else _NO_ERROR
        except BaseException as error:
            return [error] * len(inside)


_NO_ERROR = (None,)


def _each(result: object, jobs: int) -> Sequence[BaseException | None]:
    """One error or None for each job, of what a function of many jobs returned."""
    if result is None:
        return [None] * jobs
    given = list(result)  # type: ignore[call-overload]
    if len(given) != jobs:
        raise WorkerError(f"the function returned {len(given)} results for {jobs} jobs")
    return [each if isinstance(each, BaseException) else None for each in given]
