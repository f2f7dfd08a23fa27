"""A clock that can be put forward."""

from __future__ import annotations

import time


class Clock:
    """Monotonic time, and what was added to it."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead
