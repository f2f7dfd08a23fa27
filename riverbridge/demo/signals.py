"""Ctrl-C and SIGTERM, as something to ask for instead of an exception anywhere."""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import Any, Self


class Signals:
    """While entered, signals are kept and asked for; the way out always stops what was started.

    The first Ctrl-C of a demo without an end asks for the end and the reckoning; anything else
    aborts. One more signal after that ends the process at once, and the guards clean up.
    """

    def __init__(self, *, reckon: bool) -> None:
        """reckon: the first Ctrl-C only ends the writing."""
        self._reckon = reckon
        self._received = threading.Event()
        self._previous: dict[signal.Signals, Any] = {}
        self.number = 0
        self.aborted = False

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def ended(self) -> bool:
        """Whether any signal came."""
        return self.number != 0

    def has_ended(self) -> bool:
        return self.ended

    def is_aborted(self) -> bool:
        return self.aborted

    def wait(self, seconds: float) -> None:
        """Let time pass, or less if a signal comes."""
        if self._received.wait(seconds):
            self._received.clear()

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.aborted:
            os._exit(128 + number)
        self.aborted = self.ended or not (self._reckon and number == signal.SIGINT)
        self.number = number
        self._received.set()
