"""A synchronous source for an asynchronous client."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from riverbridge.client.adapters.base import Source
from riverbridge.store.exchange import Exchange

T = TypeVar("T")


class Threaded:
    """Runs each operation whole in one thread of its own.

    One hop into the thread costs less than waiting for each of its statements in the event loop,
    and what is known of lost connections and time limits is there once. The thread goes on when the
    task that waits for it is cancelled: the operation may then have been committed, or not.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="riverbridge-client")

    async def perform(self, exchange: Exchange[T], statements: int) -> T:
        """Run the operation in the thread."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._source.perform, exchange, statements)

    async def close(self) -> None:
        """Close the source and end the thread, once what was begun is done."""
        await asyncio.to_thread(self._thread.shutdown)
        self._source.close()
