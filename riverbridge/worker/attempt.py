"""One attempt of one job: what is around its function, and what it leaves (contract 9.2)."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import Any

from riverbridge.engine.batch import Batch
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Delivered, Interrupted, Outcome
from riverbridge.worker.job import DEADLINE_EXCEEDED, Halt, RunningJob
from riverbridge.worker.loop import EventLoop
from riverbridge.worker.registry import Definition, timeout_seconds
from riverbridge.worker.steps import STEP
from riverbridge.worker.verdict import ErrorHandler, verdict

_DONE = Delivered()


class Attempt(RunningJob[Any]):
    """What the function sees as its job, and what a call does with it.

    A job and its attempt are one object: two that know each other would be a cycle, which only the
    collector frees.
    """

    timeout: float | None = None
    """What the kind says of it, once the args are decoded: seconds, 0 for the default, or None."""

    began = 0.0
    ended = 0.0
    """By time.monotonic: the call, and the outcome; 0 for what was not called."""

    _around: contextlib.AsyncExitStack | None = None
    _decoded = False

    def __init__(
        self,
        row: ClaimedJob,
        place: int,
        definition: Definition,
        batch: Batch,
        loop: EventLoop,
        client: object,
    ) -> None:
        """place: in the batch."""
        super().__init__(row, batch, loop, client)
        self.place = place
        self.definition = definition

    def halt(self, cause: Halt) -> None:
        """Let the function know that it should end. The first cause counts, but a remote cancel
        counts after a timeout too. Any thread may call."""
        late = self._halt is Halt.TIMED_OUT and cause is Halt.CANCELLED
        if self._halt is None or late:
            self._halt = cause
        if self._halted is not None:
            self._halted.set()

    async def enter(self) -> BaseException | None:
        """Go through what stands before the function; returns what went wrong, if anything did.

        Nothing here waits but async middleware.
        """
        definition = self.definition
        try:
            if self._halt is not None:
                raise asyncio.CancelledError(self._halt.value)
            if definition.middleware:
                await self._surround(definition)
            for hook in definition.hooks:
                hook.work_begin(self)
            self.args = definition.decode(self._row)
            self._decoded = True
            timeout = definition.timeout
            self.timeout = timeout_seconds(timeout(self)) if callable(timeout) else timeout
        except BaseException as error:
            return await self._left(error)
        return None

    async def leave(self, error: BaseException | None) -> BaseException | None:
        """Come back from the function, which raised `error`; returns what the attempt fails with.

        Nothing here waits but async middleware.
        """
        if self._halt is Halt.TIMED_OUT and isinstance(error, asyncio.CancelledError):
            error = TimeoutError(DEADLINE_EXCEEDED).with_traceback(error.__traceback__)
        for hook in self.definition.hooks:
            try:
                error = hook.work_end(self, error)
            except BaseException as raised:
                error = raised
        if self._steps is not None or STEP in self._row.metadata:
            error = self._step_on(error)
        return error if self._around is None else await self._left(error)

    def outcome(self, error: BaseException | None, handler: ErrorHandler | None) -> Outcome:
        """What came of it. The attempt is over: the job can do no more."""
        self._batch = None
        self.ended = time.monotonic()
        if error is None and self._notes is None and self._log is None:
            return _DONE
        if self._halt is Halt.LOST:
            return Interrupted()  # nobody waits for it
        return verdict(
            self,
            error,
            halt=self._halt,
            notes=self._noted(),
            next_retry=self._next_retry,
            handler=handler,
        )

    async def _surround(self, definition: Definition) -> None:
        self._around = contextlib.AsyncExitStack()
        for around in definition.middleware:
            if around.is_async:
                await self._around.enter_async_context(around.enter(self))
            else:
                self._around.enter_context(around.enter(self))

    async def _left(self, error: BaseException | None) -> BaseException | None:
        """Leave the middleware with `error`; returns the one that comes out."""
        if self._around is None:
            return error
        stack = None if error is None else error.__traceback__
        try:
            swallowed = await self._around.__aexit__(type(error) if error else None, error, stack)
        except BaseException as raised:
            return raised
        return None if swallowed else error

    def _step_on(self, error: BaseException | None) -> BaseException | None:
        """Let the resumable steps, or a stored one that did not come, decide too."""
        try:
            steps = self._resumable()
            error = steps.finished(error)
            if error is not None:
                for key, text in steps.notes().items():
                    self._note(key, text)
        except Exception as raised:
            return raised
        return error

    def _next_retry(self) -> float | None:
        """What the kind says of its retries, which needs the args."""
        wanted = self.definition.next_retry if self._decoded else None
        return wanted(self) if callable(wanted) else wanted
