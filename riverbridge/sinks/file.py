"""Messages as lines of JSON, appended to a file or written to standard output."""

from __future__ import annotations

import errno
import threading
import time
from collections.abc import Sequence

from riverbridge.model.outcome import Delivered, Misconfigured, Outcome, Permanent, Unreachable
from riverbridge.sinks.base import Message
from riverbridge.sinks.file_line import line_of
from riverbridge.sinks.file_output import STDOUT, Output, Until

DELIVERED = Delivered()

_WRONG = frozenset(
    {
        errno.ENOENT,
        errno.EACCES,
        errno.EPERM,
        errno.EROFS,
        errno.EISDIR,
        errno.ENOTDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EBADF,
    }
)
"""What somebody has to mend; all other errors may pass by themselves."""


class FileSink:
    """Appends to the file `path`, which is made where it is missing; `-` is standard output.

    A message is `Delivered` when its whole line was written, and with `fsync` when the disk has it.
    A line that was cut short, as on a full disk, is taken away again; where that cannot be (a
    pipe), a line break comes before the next. Several processes may append to one file: each locks
    it (flock) while it writes. One that was moved or removed, as by logrotate, is made anew.

    delivery_timeout: seconds one `deliver` may take whatever its deadline.
    """

    def __init__(self, *, path: str, fsync: bool = False, delivery_timeout: float = 10.0) -> None:
        self._path = path
        self._fsync = fsync
        self._timeout = delivery_timeout
        self._closing = threading.Event()
        self._lock = threading.Lock()
        self._output: Output | None = None

    def deliver(self, messages: Sequence[Message], deadline: float) -> list[Outcome]:
        """Append `messages`; one outcome each, in order. Only a pipe or a lock is waited for."""
        lines = [line_of(message) for message in messages]
        until = Until(min(deadline, time.monotonic() + self._timeout), self._closing)
        written, failure = self._append([li for li in lines if isinstance(li, bytes)], until)
        outcomes: list[Outcome] = []
        for line in lines:
            if isinstance(line, Permanent):
                outcomes.append(line)
            elif written:
                written -= 1
                outcomes.append(DELIVERED)
            else:
                outcomes.append(failure)
        return outcomes

    def close(self) -> None:
        """Close the file, once the calls under way have returned; those that wait do so now."""
        self._closing.set()
        with self._lock:
            if self._output is not None:
                self._output.close()
                self._output = None

    def _append(self, lines: Sequence[bytes], until: Until) -> tuple[int, Outcome]:
        """How many of `lines` were written whole, and what became of the others."""
        if not lines:
            return 0, DELIVERED
        error: OSError | None
        try:
            while not self._lock.acquire(timeout=until.left()):
                pass
        except TimeoutError as late:
            return 0, self._failure(late)
        try:
            output = self._current()
            with output.locked(until):
                written, error = output.append(lines, until, fsync=self._fsync)
        except OSError as failed:
            written, error = 0, failed
        finally:
            self._lock.release()
        return written, DELIVERED if error is None else self._failure(error)

    def _current(self) -> Output:
        """The file that is at the path now."""
        if self._output is not None:
            if self._path == STDOUT or self._output.is_at(self._path):
                return self._output
            self._output.close()
            self._output = None
        self._output = Output.open(self._path, fsync=self._fsync)
        return self._output

    def _failure(self, error: OSError) -> Outcome:
        where = "standard output" if self._path == STDOUT else self._path
        text = f"{where}: {error.strerror or error}"
        return Misconfigured(text) if error.errno in _WRONG else Unreachable(text)
