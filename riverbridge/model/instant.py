"""Instants as Postgres sends them, for rows of which few are ever asked for their time.

Eight bytes, big-endian, signed: microseconds since 2000, the least and greatest being the
infinities. Read as bytes they cost a tenth of a datetime, and compare as equal when they are.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_FIRST = datetime.min.replace(tzinfo=UTC)
_LAST = datetime.max.replace(tzinfo=UTC)
_LEAST = (_FIRST - EPOCH) // _MICROSECOND
_GREATEST = (_LAST - EPOCH) // _MICROSECOND


def read_instant(wire: bytes) -> datetime:
    """The datetime, in UTC. What Python's years cannot hold becomes their first or last moment."""
    microseconds = int.from_bytes(wire, "big", signed=True)
    if microseconds <= _LEAST:
        return _FIRST
    if microseconds >= _GREATEST:
        return _LAST
    return EPOCH + timedelta(microseconds=microseconds)


def write_instant(at: datetime) -> bytes:
    """The eight bytes of an aware datetime."""
    return ((at - EPOCH) // _MICROSECOND).to_bytes(8, "big", signed=True)
