"""What every embedded server does, and what those do that keep nothing."""

from __future__ import annotations

import shutil
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from riverbridge.embedded.process import ChildProcess, free_port
from riverbridge.errors import ServerFailed


class Server(ABC):
    """A server in a process of its own, started and stopped by `with`."""

    noun: ClassVar[str]
    """What messages call it."""

    _child: ChildProcess | None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @abstractmethod
    def start(self) -> None:
        """Start; ready to serve on return."""

    @abstractmethod
    def stop(self) -> None:
        """End it."""

    @property
    def pid(self) -> int:
        return self._running().pid

    def pause(self) -> None:
        """Freeze it: connections stay, nothing is answered."""
        self._running().pause()

    def resume(self) -> None:
        self._running().resume()

    def _running(self) -> ChildProcess:
        if self._child is None:
            raise ServerFailed(f"this {self.noun} is not running: call start() first")
        return self._child


class Throwaway(Server):
    """A server whose data ends with it; its port, once taken, stays over restarts."""

    prefix: ClassVar[str]
    """How the name of its temporary directory begins."""
    patience: ClassVar[float]
    """Seconds it is given to come up, unless `start` is told otherwise."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._directory: Path | None = None
        self._child = None

    def start(self, within: float | None = None) -> None:
        """Start; serves requests on return. Raises ServerFailed after `within` seconds."""
        fixed = self.port != 0
        self._directory = self._directory or Path(tempfile.mkdtemp(prefix=self.prefix))
        for attempt in (1, 2, 3):
            self.port = self.port if fixed else free_port()
            try:
                self._launch(self._directory, self.patience if within is None else within)
                return
            except ServerFailed:
                if fixed or attempt == 3:
                    self.stop()
                    raise

    def stop(self) -> None:
        """End it, with all its data."""
        child, self._child = self._child, None
        if child is not None:
            child.stop()
        directory, self._directory = self._directory, None
        if directory is not None:
            shutil.rmtree(directory, ignore_errors=True)

    def restart(self) -> None:
        """End it and start an empty one on the same port."""
        self.stop()
        self.start()

    @abstractmethod
    def _launch(self, directory: Path, within: float) -> None:
        """Start the process on `self.port`, and wait until it serves."""
