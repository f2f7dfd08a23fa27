"""The one event loop in which a process runs its async job functions, in a thread of its own."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Awaitable, Callable, Generator

log = logging.getLogger(__name__)

WAIT_LIMIT = 30.0
"""Seconds a job waits for a row of its own: a lane needs no more than a few statements."""


class Nothing:
    """Done already: may be awaited, and need not be."""

    def __await__(self) -> Generator[None, None, None]:
        return
        yield


NOTHING = Nothing()


class EventLoop:
    """Construct, `start`, `stop`. `call` may be used at any time, from any thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        """loop: one that somebody else runs and ends, where there is to be no thread for it."""
        self.asyncio = loop or asyncio.new_event_loop()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="work-loop", daemon=True)

    def start(self) -> None:
        """Begin to run what was and is given to `call`."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Cancel what still runs in the loop and end it; False if it is not over by then."""
        self._stopped = True
        if not self._thread.is_alive():
            self.asyncio.close()
            return True
        until = time.monotonic() + timeout
        self.call(self.asyncio.stop)
        self._thread.join(max(0.0, until - time.monotonic()))
        return not self._thread.is_alive()

    def here(self) -> bool:
        """Whether the caller is in the loop, where nothing may block."""
        return asyncio._get_running_loop() is self.asyncio

    def call(self, function: Callable[..., object], *args: object) -> None:
        """Call it in the loop, soon; not at all if the loop has ended."""
        with contextlib.suppress(RuntimeError):
            self.asyncio.call_soon_threadsafe(function, *args)

    def wait(
        self, begin: Callable[[Callable[[], None]], None], check: Callable[[], None]
    ) -> Awaitable[None]:
        """Wait for what `begin` starts, until it calls what it was given, from any thread; `check`.

        Blocks outside the loop; inside, what is returned is to be awaited. Raises TimeoutError
        after WAIT_LIMIT seconds, and what `check` raises.
        """
        if self.here():
            return self._wait(begin, check)
        done = threading.Event()
        begin(done.set)
        if not done.wait(WAIT_LIMIT):
            raise TimeoutError
        check()
        return NOTHING

    async def _wait(
        self, begin: Callable[[Callable[[], None]], None], check: Callable[[], None]
    ) -> None:
        done = asyncio.Event()
        begin(lambda: self.call(done.set))
        async with asyncio.timeout(WAIT_LIMIT):
            await done.wait()
        check()

    def _run(self) -> None:
        while not self._stopped:
            try:
                self.asyncio.run_forever()
            except BaseException:
                # A task that a job function left behind raised SystemExit or the like.
                log.exception("the event loop of the job functions was thrown out of and goes on")

        with contextlib.suppress(BaseException):
            self.asyncio.run_until_complete(self._end())
        self.asyncio.close()

    async def _end(self) -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        await self.asyncio.shutdown_asyncgens()
