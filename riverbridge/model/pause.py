"""A route or a sink that somebody has paused."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

import msgspec

Pausable = Literal["route", "sink"]


class Pause(msgspec.Struct, frozen=True):
    """A row of `riverbridge_pause`.

    name: as in the settings. paused_at: since when; a pause that is given anew keeps it. until:
    when it ends by itself; None where somebody has to end it.
    """

    what: Pausable
    name: str
    paused_at: datetime
    paused_by: str
    reason: str | None = None
    until: datetime | None = None

    def __str__(self) -> str:
        """As one line for people, without the name."""
        end = "" if self.until is None else f" until {_moment(self.until)}"
        why = "" if self.reason is None else f": {self.reason}"
        return f"paused by {self.paused_by} since {_moment(self.paused_at)}{end}{why}"


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
