"""What is asked about many jobs is asked in looks at some each: no statement takes long."""

from __future__ import annotations

LEAST, MOST = 50, 4_000_000
"""Jobs, or ids, of one look."""

QUICK, LONG = 0.015, 0.05
"""Seconds: a look that takes less is followed by a longer one, one that takes more by a shorter."""


def next_window(window: int, seconds: float, most: int = MOST) -> int:
    """How many to look at next, where `window` took so many seconds."""
    if seconds < QUICK:
        return min(4 * window, most)
    return window if seconds < LONG else max(window // 2, LEAST)
