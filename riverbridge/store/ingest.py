"""What is kept of sources: positions, the inbox, and the quarantine.

The functions run in the caller's transaction and raise what psycopg raises. Each may be repeated:
what is there already stays, and is not written twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
import psycopg

from riverbridge.sql import statement
from riverbridge.store.exchange import Exchange, Query

HELD_MAX = 10_000
"""Events in quarantine that are counted, of each source."""


class Quarantined(msgspec.Struct, frozen=True):
    """An event that could not become a job, as it lies in our table.

    headers: JSON, pairs of a name and the value in base64. partition, position: of sources that
    have one.
    """

    id: int
    source: str
    event_id: str
    topic: str
    partition: str | None
    position: str | None
    event_at: datetime | None
    key: bytes | None
    headers: bytes
    body: bytes | None
    reason: str
    created_at: datetime | None = None


class SourceSummary(msgspec.Struct, frozen=True):
    """A source, as its tables tell of it.

    moved: seconds since a position was moved last; still: since that of the partition that has
    stood still for longest was. None for a source without positions. quarantined: events that could
    not become jobs; one more than HELD_MAX stands for all that are more.
    """

    name: str
    partitions: int
    moved: float | None
    still: float | None
    quarantined: int


def source_summaries(*, schema: str | None) -> Exchange[list[SourceSummary]]:
    """The sources that have a position or an event in quarantine, by name, at most 1000."""
    rows = yield Query("position/summary", {"limit": HELD_MAX + 1}, schema)
    return [SourceSummary(*row) for row in rows]


def positions(
    conn: psycopg.Connection, source: str, *, schema: str | None = None
) -> dict[str, str]:
    """All positions of `source`, by partition."""
    rows = conn.execute(statement("position/read", schema), {"source": source})
    return dict(rows.fetchall())


def begin(
    conn: psycopg.Connection, source: str, starts: Mapping[str, str], *, schema: str | None = None
) -> None:
    """Store where partitions are begun; a position that is there stays."""
    values = {
        "source": source,
        "partitions": list(starts),
        "positions": list(starts.values()),
    }
    conn.execute(statement("position/begin", schema), values)


def advance(
    conn: psycopg.Connection,
    source: str,
    steps: Mapping[str, tuple[str, str]],
    *,
    schema: str | None = None,
) -> bool:
    """Move partitions from an expected position to the next, and keep others off until the commit.

    False if one is elsewhere: somebody else has read it, and the transaction must not be committed.
    """
    values = {
        "source": source,
        "partitions": list(steps),
        "expected": [expected for expected, _ in steps.values()],
        "after": [after for _, after in steps.values()],
    }
    return conn.execute(statement("position/advance", schema), values).rowcount == len(steps)


def remember(
    conn: psycopg.Connection,
    source: str,
    digests: Sequence[bytes],
    *,
    keep: timedelta,
    schema: str | None = None,
) -> set[bytes]:
    """Enter events into the inbox, to be remembered for `keep`; those that were not there."""
    values = {"source": source, "digests": list(digests), "keep": keep}
    rows = conn.cursor(binary=True).execute(statement("inbox/remember", schema), values)
    return {digest for (digest,) in rows.fetchall()}


def quarantine(
    conn: psycopg.Connection,
    events: Mapping[bytes, Quarantined],
    *,
    schema: str | None = None,
) -> None:
    """Put events of one source into quarantine, by the digests of their ids; `id` is not used."""
    each = list(events.values())
    values = {
        "source": each[0].source,
        "digests": list(events),
        "event_ids": [event.event_id for event in each],
        "topics": [event.topic for event in each],
        "partitions": [event.partition for event in each],
        "positions": [event.position for event in each],
        "event_at": [event.event_at for event in each],
        "keys": [event.key for event in each],
        "headers": [event.headers for event in each],
        "bodies": [event.body for event in each],
        "reasons": [event.reason for event in each],
    }
    conn.execute(statement("quarantine/insert", schema), values)


def quarantined(
    conn: psycopg.Connection,
    *,
    source: str | None = None,
    after: int = 0,
    limit: int = 100,
    schema: str | None = None,
) -> list[Quarantined]:
    """Up to `limit` events in quarantine above the id `after`, by id; of one source, or of all."""
    values = {"source": source, "after": after, "limit": limit}
    rows = conn.cursor(binary=True).execute(statement("quarantine/list", schema), values)
    return [Quarantined(*row) for row in rows.fetchall()]


def lock_quarantined(
    conn: psycopg.Connection, ids: Sequence[int], *, schema: str | None = None
) -> list[Quarantined]:
    """Those of `ids` that are still there, each locked until the transaction ends."""
    rows = conn.cursor(binary=True).execute(
        statement("quarantine/lock", schema), {"ids": list(ids)}
    )
    return [Quarantined(*row) for row in rows.fetchall()]


def release_quarantined(
    conn: psycopg.Connection, ids: Sequence[int], *, schema: str | None = None
) -> int:
    """Take events out of quarantine; how many were there."""
    return conn.execute(statement("quarantine/remove", schema), {"ids": list(ids)}).rowcount


def explain_quarantined(
    conn: psycopg.Connection, id: int, reason: str, *, schema: str | None = None
) -> None:
    """Say why an event still cannot become a job."""
    conn.execute(statement("quarantine/explain", schema), {"id": id, "reason": reason})
