"""What the output plugin `pgoutput` says, protocol version 1: bytes in, messages out.

A transaction comes when it is committed, whole and in one piece: `Begin`, which says at once where
its commit lies, its changes, `Commit`. The server keeps what it cannot hold in memory on its disk,
and sends as fast as it is read, so that nobody here ever holds a whole transaction either.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from struct import Struct as Packed
from typing import Literal

import msgspec

from riverbridge.errors import RiverbridgeError


class Unread(RiverbridgeError):
    """The server sent what this version of the protocol does not have."""


class Unchanged:
    """The value of a column that an update did not touch and that lies out of line (TOAST)."""


UNCHANGED = Unchanged()

Values = Sequence[bytes | Unchanged | None]
"""The columns of a row, as the server writes them as text."""


class Column(msgspec.Struct, frozen=True):
    """A published column. key: part of the replica identity."""

    name: str
    type: int
    key: bool


class Relation(msgspec.Struct, frozen=True):
    """A table as it was for the changes that follow."""

    id: int
    schema: str
    name: str
    identity: str
    columns: tuple[Column, ...]


class Begin(msgspec.Struct, frozen=True, gc=False):
    """lsn: where the commit lies. at: when it was."""

    lsn: int
    at: datetime
    xid: int


class Commit(msgspec.Struct, frozen=True, gc=False):
    """end: behind the commit."""

    lsn: int
    end: int


class Change(msgspec.Struct, frozen=True, gc=False):
    """One row. whole: whether `old` has all columns, or only those of the replica identity."""

    op: Literal["insert", "update", "delete"]
    relation: int
    new: Values | None = None
    old: Values | None = None
    whole: bool = False


class Truncate(msgspec.Struct, frozen=True):
    """Tables that were emptied by one statement."""

    relations: tuple[int, ...]


class Emitted(msgspec.Struct, frozen=True, gc=False):
    """What `pg_logical_emit_message` wrote. transactional: it lies in a transaction, or alone at
    `lsn`."""

    transactional: bool
    lsn: int
    prefix: str
    content: bytes


Message = Begin | Commit | Relation | Change | Truncate | Emitted

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_short = Packed("!H").unpack_from
_int = Packed("!I").unpack_from
_begin = Packed("!QqI").unpack_from
_commit = Packed("!xQQ").unpack_from
_emitted = Packed("!BQ").unpack_from


def instant(microseconds: int) -> datetime:
    """What Postgres counts from the year 2000."""
    return _EPOCH + timedelta(microseconds=microseconds)


def decode(data: bytes) -> Message | None:
    """One message; None for what says nothing of rows: names of types, and origins.

    Raises Unread.
    """
    kind = data[0]
    if kind == _INSERT:
        return Change("insert", _int(data, 1)[0], _row(data, 6)[0])
    if kind == _UPDATE:
        return _update(data)
    if kind == _DELETE:
        return Change("delete", _int(data, 1)[0], None, _row(data, 6)[0], data[5] == _OLD)
    if kind == _BEGIN:
        lsn, at, xid = _begin(data, 1)
        return Begin(lsn, instant(at), xid)
    if kind == _COMMIT:
        return Commit(*_commit(data, 1))
    return _rarer(data, kind)


def _rarer(data: bytes, kind: int) -> Message | None:
    if kind == ord("R"):
        return _relation(data)
    if kind == ord("T"):
        (count,) = _int(data, 1)
        return Truncate(tuple(_int(data, 6 + 4 * number)[0] for number in range(count)))
    if kind == ord("M"):
        flags, lsn = _emitted(data, 1)
        prefix, at = _text(data, 10)
        (size,) = _int(data, at)
        return Emitted(bool(flags & 1), lsn, prefix, data[at + 4 : at + 4 + size])
    if kind in (ord("Y"), ord("O")):
        return None
    raise Unread(
        f"the server sent a message {chr(kind)!r}, which pgoutput 1 does not have: "
        "its version is newer than this riverbridge knows"
    )


_BEGIN, _COMMIT, _INSERT, _UPDATE, _DELETE = b"BCIUD"
_NEW, _OLD, _NULL, _TEXT, _TOAST = b"NOntu"


def _update(data: bytes) -> Change:
    (relation,) = _int(data, 1)
    mark, at = data[5], 6
    old, whole = None, False
    if mark != _NEW:
        whole = mark == _OLD
        old, at = _row(data, at)
        at += 1
    return Change("update", relation, _row(data, at)[0], old, whole)


def _row(data: bytes, at: int) -> tuple[Values, int]:
    (count,) = _short(data, at)
    at += 2
    values: list[bytes | Unchanged | None] = []
    for _ in range(count):
        kind = data[at]
        at += 1
        if kind == _TEXT:
            (size,) = _int(data, at)
            at += 4
            values.append(data[at : at + size])
            at += size
        elif kind == _NULL:
            values.append(None)
        elif kind == _TOAST:
            values.append(UNCHANGED)
        else:
            raise Unread(f"the server sent a value as {chr(kind)!r}; it has to be text")
    return values, at


def _relation(data: bytes) -> Relation:
    (id_,) = _int(data, 1)
    schema, at = _text(data, 5)
    name, at = _text(data, at)
    identity = chr(data[at])
    (count,) = _short(data, at + 1)
    at += 3
    columns = []
    for _ in range(count):
        key = bool(data[at] & 1)
        column, at = _text(data, at + 1)
        columns.append(Column(column, _int(data, at)[0], key))
        at += 8
    return Relation(id_, schema or "pg_catalog", name, identity, tuple(columns))


def _text(data: bytes, at: int) -> tuple[str, int]:
    end = data.index(b"\0", at)
    return data[at:end].decode("utf-8", "replace"), end + 1
