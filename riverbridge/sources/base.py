"""What a source is: something that hands over events, and is told which of them are safe.

A source knows nothing of jobs, mappings or Postgres. One thread calls it, and calls nothing of it
twice at once: `receive`, then, when what was received is committed, `acknowledge`; or `release`,
where nobody knows whether it is. So each event comes at least once, and may come again; that it
becomes exactly one job is not the source's care.

There are two ways to be sure of that. Where events lie in partitions and keep their order, as in a
Kafka topic or a replication slot, the position is stored with the jobs and is the authority:
`Positioned`. Any other source gives each event an `id` that is equal each time it comes, and the
inbox remembers those.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Protocol, runtime_checkable

import msgspec

Fetch = Callable[[str], bytes]
"""Gets what lies at a URI. Raises NotToBeHad and NotNow."""


class NotToBeHad(Exception):
    """What an event refers to is not there, or not to be fetched: asking again has no other
    answer."""


class NotNow(Exception):
    """Who has what an event refers to does not answer, or not as it should: to be asked again."""


class Position(msgspec.Struct, frozen=True, gc=False):
    """Where reading goes on after an event: `after` means something to its source only."""

    partition: str
    after: str


class Event(msgspec.Struct, frozen=True, gc=False):
    """One thing that happened elsewhere, as it came.

    id: among all events of the source its own, and the same each time it comes.
    body: None is a tombstone.
    topic: the topic, queue or table that it came from; "" where the source has only one.
    at: when it happened, if the source says so.
    position: only of a `Positioned` source.
    refused: why its source will not have it become a job by itself: it goes into quarantine.
    mark: nothing happened, only the position moves on.
    """

    id: str
    body: bytes | None
    topic: str = ""
    key: bytes | None = None
    headers: tuple[tuple[str, bytes], ...] = ()
    at: datetime | None = None
    position: Position | None = None
    refused: str = ""
    mark: bool = False


class Bounds(msgspec.Struct, frozen=True):
    """What `receive` may return at most, and how long it may wait for a first event, in seconds.

    size: bytes of bodies, about; a single event may be larger.
    """

    count: int = 1000
    size: int = 8 << 20
    seconds: float = 0.5


class Source(Protocol):
    """All that a new source is. What it raises is a defect: it is closed, and opened again later.

    That its server is away is none: nothing comes meanwhile, and `problem` says why.
    """

    def receive(self, bounds: Bounds) -> Sequence[Event]:
        """The next events; none if none came in time. Those of a partition are in their order."""
        ...

    def acknowledge(self, events: Sequence[Event]) -> None:
        """They are safe, and need not come again. They are what `receive` returned last."""
        ...

    def release(self, events: Sequence[Event]) -> None:
        """They may not be safe: each has to come again."""
        ...

    def idle(self, seconds: float) -> None:
        """Wait, take nothing from the server, and do what keeps a connection or membership."""
        ...

    def problem(self) -> str | None:
        """Why no event or not every event can come; None is well."""
        ...

    def close(self) -> None:
        """Give back what was not acknowledged, and release connections and threads."""
        ...


@runtime_checkable
class Measured(Protocol):
    """A source that can say how far it is behind."""

    def lag(self) -> int | None:
        """About how many events its server has that were not received yet; None: not known. May be
        asked from any thread."""
        ...


@runtime_checkable
class Positioned(Source, Protocol):
    """A source whose position is stored with the jobs."""

    def unplaced(self) -> Sequence[str]:
        """The partitions that are this source's to read, and do not know from where: new ones, and
        those of released events. Nothing is received from them until they are placed."""
        ...

    def starts(self, partitions: Sequence[str], known: Collection[str]) -> Mapping[str, str]:
        """Where to begin with partitions of which no position is stored; those left out must wait.

        known: all of which one is stored. What was added to something that is known has to be read
        from its beginning. Further partitions' may be among the result, so that another process
        finds them stored.
        """
        ...

    def place(self, positions: Mapping[str, str]) -> None:
        """Go on reading from there. Partitions that are another's by now are left out."""
        ...
