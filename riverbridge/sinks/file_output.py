"""An open file, pipe or terminal that takes whole lines."""

from __future__ import annotations

import fcntl
import os
import select
import stat
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

STDOUT = "-"
MODE = 0o640
"""Of a file that is made: jobs are not for everybody on the machine."""
PIECE = 4096
"""Bytes that a pipe takes without blocking once it says that it takes any (PIPE_BUF on Linux)."""
TURN = 0.05
"""Seconds between two looks at whether the sink is closed."""


class Until:
    """How long a call may wait: until its deadline (time.monotonic), or the sink is closed."""

    def __init__(self, deadline: float, closing: threading.Event) -> None:
        self._deadline = deadline
        self._closing = closing

    def left(self) -> float:
        """Seconds for the next wait. Raises TimeoutError when there are none."""
        if self._closing.is_set():
            raise TimeoutError("the sink was closed before it was written")
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("not written before the deadline")
        return min(left, TURN)


class Output:
    """Takes whole lines; not for several threads at once.

    owned: whether `close` closes the descriptor.
    """

    def __init__(self, descriptor: int, *, owned: bool) -> None:
        self._descriptor = descriptor
        self._owned = owned
        status = os.fstat(descriptor)
        self._regular = stat.S_ISREG(status.st_mode)
        self._identity = (status.st_dev, status.st_ino)
        self._torn = False
        self._room = select.poll()
        self._room.register(descriptor, select.POLLOUT)

    @staticmethod
    def open(path: str, *, fsync: bool) -> Output:
        """The file at `path`, made if it is missing, or standard output. Raises OSError.

        fsync: the file's name reaches the disk as well.
        """
        if path == STDOUT:
            return Output(1, owned=False)
        # Not to block: opening a named pipe would wait for its reader.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK
        output = Output(os.open(path, flags, MODE), owned=True)
        if fsync and output._regular:
            directory = os.open(Path(path).parent, os.O_RDONLY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)
        return output

    def is_at(self, path: str) -> bool:
        """Whether this is what `path` leads to, and not what was there before. Raises OSError."""
        try:
            status = os.stat(path)
        except FileNotFoundError:
            return False
        return (status.st_dev, status.st_ino) == self._identity

    @contextmanager
    def locked(self, until: Until) -> Iterator[None]:
        """Keep other processes from appending, which a line cut away would hurt."""
        if not self._regular:
            yield
            return
        while True:
            try:
                fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                time.sleep(until.left())
        try:
            yield
        finally:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def append(
        self, lines: Sequence[bytes], until: Until, *, fsync: bool
    ) -> tuple[int, OSError | None]:
        """How many of `lines` are there now, whole, and why not all of them."""
        lead = b"\n" if self._torn else b""
        start = os.fstat(self._descriptor).st_size + len(lead)
        done, error = self._write(lead + b"".join(lines), until)
        self._torn = self._torn and not done
        done -= len(lead)
        whole = kept = 0
        while whole < len(lines) and kept + len(lines[whole]) <= done:
            kept += len(lines[whole])
            whole += 1
        if kept < done:
            self._cut(start + kept)
        if fsync and whole and self._regular:
            try:
                os.fsync(self._descriptor)
            except OSError as failed:
                self._cut(start)
                return 0, failed
        return whole, error

    def close(self) -> None:
        """Close it, unless it is standard output."""
        if self._owned:
            os.close(self._descriptor)

    def _write(self, data: bytes, until: Until) -> tuple[int, OSError | None]:
        """How many bytes were written, and why not all of them."""
        view, done = memoryview(data), 0
        try:
            while done < len(view):
                done += self._step(view[done:], until)
        except OSError as error:
            return done, error
        return done, None

    def _step(self, data: memoryview, until: Until) -> int:
        if self._regular:
            return os.write(self._descriptor, data)
        if not self._room.poll(until.left() * 1000):
            return 0
        try:
            return os.write(self._descriptor, data[:PIECE])
        except BlockingIOError:  # another process took the room
            return 0

    def _cut(self, size: int) -> None:
        """Take away what is beyond `size`, or remember that the last line has no end."""
        try:
            if self._regular:
                return os.ftruncate(self._descriptor, size)
        except OSError:
            pass
        self._torn = True
        return None
