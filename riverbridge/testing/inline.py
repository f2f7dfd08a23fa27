"""A batch worked by the worker's own executor, where the test runs.

In a synchronous test the functions run in the test's thread, so that they may use its connections,
which often belong to one thread: plain ones in turn, async ones in an event loop that is run there.
In an async test async functions run in its loop, and plain ones in threads, so as not to block it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from riverbridge.engine.batch import Batch
from riverbridge.errors import WorkerError
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Outcome
from riverbridge.worker.executor import Executor
from riverbridge.worker.loop import EventLoop
from riverbridge.worker.runtime import Runtime
from riverbridge.worker.threads import Threads

Hire = Callable[[Runtime], Executor]
"""Makes the executor, given where functions run."""


def check_no_loop() -> None:
    """Raises WorkerError if an event loop runs in this thread, as no other can then."""
    if asyncio._get_running_loop() is not None:
        raise WorkerError("an event loop runs in this thread: use AsyncJobTester, and await it")


def work_here(jobs: Sequence[ClaimedJob], hire: Hire) -> list[Outcome]:
    """What becomes of leased `jobs`, in this thread, in which no event loop may run."""
    with asyncio.Runner() as runner:  # at its end, what functions left behind is cancelled
        turns = _Turns()
        loop = EventLoop(runner.get_loop())
        runtime = Runtime(loop=loop, threads=turns)
        batch = _Batch(jobs, loop)
        runtime.watch.start()
        try:
            hire(runtime).take(batch)
            while not batch.answered:
                if not turns.next():
                    runner.run(batch.news())
        finally:
            runtime.watch.stop()
    return batch.all_outcomes()


async def work_in_loop(jobs: Sequence[ClaimedJob], hire: Hire) -> list[Outcome]:
    """What becomes of leased `jobs`, in the running event loop."""
    loop = EventLoop(asyncio.get_running_loop())
    runtime = Runtime(loop=loop)
    batch = _Batch(jobs, loop)
    executor = hire(runtime)
    runtime.watch.start()
    try:
        executor.take(batch)
        while not batch.answered:
            await batch.news()
    except BaseException:
        executor.interrupt()  # the test was cancelled
        raise
    finally:
        runtime.watch.stop()
        runtime.threads.stop()
    return batch.all_outcomes()


class _Turns(Threads):
    """Keeps functions until it is their turn, instead of making threads for them."""

    def __init__(self) -> None:
        super().__init__("turns")
        self._waiting: deque[Callable[[], None]] = deque()

    def run(self, function: Callable[[], None]) -> None:
        self._waiting.append(function)

    def next(self) -> bool:
        """Call the next function here; False if there is none."""
        if not self._waiting:
            return False
        self._waiting.popleft()()
        return True


class _Batch(Batch):
    """Leased jobs, for one who waits in an event loop."""

    def __init__(self, jobs: Sequence[ClaimedJob], loop: EventLoop) -> None:
        super().__init__(jobs, float("inf"))
        self.leased()
        self._loop = loop
        self._news = asyncio.Event()

    def answer(self, outcomes: Sequence[Outcome], start: int = 0) -> None:
        super().answer(outcomes, start)
        self._loop.call(self._news.set)

    async def news(self) -> None:
        """Wait until something was answered."""
        await self._news.wait()
        self._news.clear()

    def all_outcomes(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes() if outcome is not None]
