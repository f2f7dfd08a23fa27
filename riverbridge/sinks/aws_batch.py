"""Which entries go into one request, and which wait for another's answer.

Both lines know nothing of threads; `riverbridge.sinks.aws_sink` holds its lock around them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from riverbridge.model.outcome import Delivered, Outcome
from riverbridge.sinks.base import behind


class Entry(msgspec.Struct):
    """A message ready to be sent.

    index: its place in the call of `deliver`. wire: what goes into the request, in the spelling of
    the service. size: bytes as the service counts them. group: "" if it has none.
    """

    index: int
    wire: Any
    size: int
    group: str = ""


class Line(Protocol):
    """Entries waiting for a request."""

    def __len__(self) -> int:
        """How many could be taken now."""
        ...

    def take(self) -> list[Entry]:
        """The next request's entries, within the limits; empty if none can go now."""
        ...

    def answered(
        self, entries: Sequence[Entry], outcomes: Sequence[Outcome]
    ) -> list[tuple[Entry, Outcome]]:
        """Note what became of entries taken; give those that now will not be sent."""
        ...

    def drain(self) -> list[Entry]:
        """Everything not taken yet; the line is empty afterwards."""
        ...


class Loose:
    """Any entry may go at any time.

    most, cap: entries and bytes of one request; an entry above the cap goes alone.
    """

    def __init__(self, entries: Sequence[Entry], most: int, cap: int) -> None:
        self._ready = deque(entries)
        self._most = most
        self._cap = cap

    def __len__(self) -> int:
        return len(self._ready)

    def take(self) -> list[Entry]:
        ready, taken, size = self._ready, list[Entry](), 0
        while ready and len(taken) < self._most:
            size += ready[0].size
            if taken and size > self._cap:
                break
            taken.append(ready.popleft())
        return taken

    def answered(
        self, entries: Sequence[Entry], outcomes: Sequence[Outcome]
    ) -> list[tuple[Entry, Outcome]]:
        return []

    def drain(self) -> list[Entry]:
        rest = list(self._ready)
        self._ready.clear()
        return rest


class Grouped:
    """A group's next entries go when its earlier ones are acknowledged.

    each: how many of one group a request may carry. With 1 a later message never overtakes a
    failed one. With more, one entry may be refused and the next of the same request be taken.
    """

    def __init__(self, entries: Sequence[Entry], most: int, cap: int, each: int = 1) -> None:
        self._waiting: dict[str, deque[Entry]] = {}
        for entry in entries:
            self._waiting.setdefault(entry.group, deque()).append(entry)
        self._ready = deque(self._waiting)
        self._most = most
        self._cap = cap
        self._each = each

    def __len__(self) -> int:
        if self._each == 1:
            return len(self._ready)
        return sum(min(self._each, len(self._waiting[group])) for group in self._ready)

    def take(self) -> list[Entry]:
        taken, size = list[Entry](), 0
        while self._ready and len(taken) < self._most:
            group = self._waiting[self._ready[0]]
            picked = 0
            while group and picked < self._each and len(taken) < self._most:
                if taken and size + group[0].size > self._cap:
                    break
                size += group[0].size
                taken.append(group.popleft())
                picked += 1
            if not picked:
                break
            self._ready.popleft()
        return taken

    def answered(
        self, entries: Sequence[Entry], outcomes: Sequence[Outcome]
    ) -> list[tuple[Entry, Outcome]]:
        worst: dict[str, Outcome | None] = {}
        for entry, outcome in zip(entries, outcomes, strict=True):
            earlier = worst.get(entry.group)
            ended = None if isinstance(outcome, Delivered) else outcome
            worst[entry.group] = ended if earlier is None else earlier
        held: list[tuple[Entry, Outcome]] = []
        for group, failed in worst.items():
            if failed is None and self._waiting.get(group):
                self._ready.append(group)
                continue
            rest = self._waiting.pop(group, ())
            if failed is not None:
                held += [(entry, behind(failed)) for entry in rest]
        return held

    def drain(self) -> list[Entry]:
        rest = [entry for group in self._waiting.values() for entry in group]
        self._waiting.clear()
        self._ready.clear()
        return rest
