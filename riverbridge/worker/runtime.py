"""Where job functions run: what the executors of one process share."""

from __future__ import annotations

from riverbridge.worker.loop import EventLoop
from riverbridge.worker.threads import Threads
from riverbridge.worker.watch import STUCK_AFTER, StuckHandler, Watch


class Runtime:
    """The event loop, the threads and the watch. Construct, `start`, `stop`."""

    def __init__(
        self,
        *,
        stuck_after: float = STUCK_AFTER,
        on_stuck: StuckHandler | None = None,
        loop: EventLoop | None = None,
        threads: Threads | None = None,
    ) -> None:
        """stuck_after: seconds beyond its timeout after which a job counts as stuck. loop, threads:
        instead of its own."""
        self.loop = loop or EventLoop()
        self.threads = threads or Threads("work")
        self.watch = Watch(stuck_after=stuck_after, on_stuck=on_stuck)

    def start(self) -> None:
        """Begin."""
        self.loop.start()
        self.watch.start()

    def stop(self, timeout: float) -> bool:
        """End, when no job is to be answered any more; what still runs is cancelled.

        False if the event loop is not over within `timeout` seconds: a function blocks it.
        """
        self.watch.stop()
        self.threads.stop()
        return self.loop.stop(timeout)
