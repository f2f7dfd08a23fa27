"""Whether a slot still has what comes next: what is lost is said, and what can be done about it."""

from __future__ import annotations

from collections.abc import Collection

from riverbridge.sources.postgres_position import Place, Timeline, spell
from riverbridge.sources.postgres_server import Refused, Slot, Wanted


def check_slot(source: str, name: str, slot: Slot | None, database: str) -> Slot:
    """The slot `name`, which can be read. Raises Refused."""
    if slot is None:
        raise Refused(
            f"slot {name} is not there any more: what was committed since is not read. To begin "
            f"anew without that: {_forget(source)}"
        )
    if slot.plugin != "pgoutput" or slot.database != database:
        raise Refused(
            f"slot {name} is another's: it is of the plug-in {slot.plugin} and the database "
            f"{slot.database}; give another name in SLOT"
        )
    if slot.lost:
        raise Refused(
            f"slot {name} was invalidated, as the server would keep no more WAL for it "
            "(max_slot_wal_keep_size, idle_replication_slot_timeout): what was committed since is "
            f"not read. To begin anew without that: SELECT pg_drop_replication_slot('{name}') "
            f"there, and {_forget(source)}"
        )
    return slot


def check_place(source: str, place: Place, timeline: Timeline, slot: Slot) -> None:
    """See whether `place` lies in this server's history, and not behind its end. Raises Refused."""
    parting = timeline.parting(place)
    if parting is not None:
        raise Refused(
            f"position {place} is not of this server's history: it left timeline "
            f"{place.timeline} at {spell(parting)}. Events up to the position were read from a "
            "primary whose last transactions this one never had; what it has instead is not read. "
            + _move(source, Place(slot.confirmed, 0, timeline.number))
        )
    if place.lsn > slot.written:
        raise Refused(
            f"position {place} lies behind the end of the server's log, {spell(slot.written)}: the "
            "server lost a part of it, or was restored. "
            + _move(source, Place(slot.confirmed, 0, timeline.number))
        )


def gap(source: str, name: str, place: Place, slot: Slot, timeline: Timeline) -> str:
    """The slot goes on behind the stored position."""
    missing = slot.confirmed - place.lsn
    return (
        f"slot {name} goes on at {spell(slot.confirmed)}, but the stored position is {place}: it "
        f"was made anew, or moved by another, and what lies in the {missing} bytes between is not "
        "read. " + _move(source, Place(slot.confirmed, 0, timeline.number))
    )


def dropped(source: str, name: str) -> str:
    """We dropped the slot, as we were told to."""
    return (
        f"slot {name} was dropped, as the server kept more WAL for it than MAX_WAL: what was not "
        f"read by then never will be. To begin anew without that: {_forget(source)}"
    )


def unpublished(error: str, wanted: Wanted) -> str:
    """The slot has changes from before its publication was there, which Postgres cannot decode."""
    return (
        f"{error}. If publication {wanted.publication} is there now, it was made after slot "
        f"{wanted.slot}, and what was committed between cannot be read (before Postgres 18). To go "
        "on without that: SELECT pg_replication_slot_advance("
        f"'{wanted.slot}', pg_current_wal_lsn()); the message that follows says the rest"
    )


def strangers(source: str, partition: str, known: Collection[str]) -> str:
    """Positions are stored, but none of this slot of this server."""
    return (
        f"positions are stored for {', '.join(sorted(known))} (server and slot), but this is "
        f"{partition}: another server, as after an upgrade or a restore from a dump, or another "
        f"SLOT. To begin anew here: {_forget(source)}"
    )


def _forget(source: str) -> str:
    return f"DELETE FROM riverbridge_position WHERE source = '{source}'"  # noqa: S608 - to be read


def _move(source: str, place: Place) -> str:
    way = f"UPDATE riverbridge_position SET position = '{place}' WHERE source = '{source}'"  # noqa: S608
    return f"To go on without it: {way}"
