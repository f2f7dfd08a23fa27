"""Changed rows as the bodies of events.

    {"op":"update","schema":"public","table":"orders",
     "new":{"id":7,"total":12.50},"old":{"id":7,"total":9.00},
     "lsn":"0/16B3748","xid":771,"at":"2026-01-02T03:04:05.678901+00:00"}

`old` is what the table's replica identity has the server keep: all columns with FULL; else the key,
of a row that was deleted or whose key was changed. A value that an update did not touch and that
lies out of line is not sent: it is taken from `old` if that has it, else its column is missing in
`new` and named in `unchanged`.
"""

from __future__ import annotations

import msgspec

from riverbridge.sources.postgres_json import Types, string
from riverbridge.sources.postgres_output import (
    UNCHANGED,
    Begin,
    Change,
    Relation,
    Unchanged,
    Values,
)
from riverbridge.sources.postgres_position import spell

_encode = msgspec.json.encode
_FULL = "f"


class Told(msgspec.Struct, frozen=True, gc=False):
    """What an event says of a change. id: by which it is known, if not by its place."""

    topic: str
    key: bytes | None
    body: bytes
    id: str | None = None


def about(begin: Begin) -> bytes:
    """What is the same for all changes of a transaction."""
    at = begin.at.isoformat()
    return b'"lsn":"%b","xid":%d,"at":"%b"' % (spell(begin.lsn).encode(), begin.xid, at.encode())


class Table:
    """A published table, as it was for the changes that follow."""

    def __init__(self, relation: Relation, types: Types) -> None:
        """Raises what looking up a type does."""
        self.name = f"{relation.schema}.{relation.name}"
        key = {column.name for column in relation.columns if column.key}
        if relation.identity == _FULL:  # all columns are its identity
            key = set(types.catalogue.primary_key(relation.id))
        self._columns = [
            (_encode(column.name) + b":", types.convert(column.type), column.name in key)
            for column in relation.columns
        ]
        where = b'"schema":%b,"table":%b' % (_encode(relation.schema), _encode(relation.name))
        self._heads = {
            op: b'{"op":"%b",%b,' % (op.encode(), where)
            for op in ("insert", "update", "delete", "truncate")
        }

    def tell(self, change: Change, about: bytes) -> Told | None:
        """The event of a changed row."""
        new, old = b"null", b"null"
        missing: list[bytes] = []
        if change.old is not None:
            old = self._old(change.old, whole=change.whole)
        if change.new is not None:
            new, missing = self._new(change.new, change.old if change.whole else None)
        more = b',"unchanged":[%b]' % b",".join(missing) if missing else b""
        body = b'%b"new":%b,"old":%b%b,%b}' % (self._heads[change.op], new, old, more, about)
        return Told(self.name, self._key(change.new or change.old or ()), body)

    def emptied(self, about: bytes) -> Told | None:
        """The event of a TRUNCATE."""
        return Told(
            self.name, None, b'%b"new":null,"old":null,%b}' % (self._heads["truncate"], about)
        )

    def row(self, values: Values) -> bytes:
        """One row; columns that were not sent are left out."""
        return self._new(values, None)[0]

    def _new(self, values: Values, old: Values | None) -> tuple[bytes, list[bytes]]:
        written: list[bytes] = []
        missing: list[bytes] = []
        for number, ((name, convert, _), value) in enumerate(
            zip(self._columns, values, strict=True)
        ):
            if isinstance(value, Unchanged):
                value = UNCHANGED if old is None else old[number]
            if value is None:
                written.append(name + b"null")
            elif isinstance(value, Unchanged):
                missing.append(name[:-1])
            else:
                written.append(name + convert(value))
        return b"{" + b",".join(written) + b"}", missing

    def _old(self, values: Values, *, whole: bool) -> bytes:
        return b"{%b}" % b",".join(
            name + (convert(value) if isinstance(value, bytes) else b"null")
            for (name, convert, key), value in zip(self._columns, values, strict=True)
            if whole or key
        )

    def _key(self, values: Values) -> bytes | None:
        """The text of a key of one column; of several a JSON array of their texts."""
        texts = [
            value if isinstance(value, bytes) else b""
            for (_, _, key), value in zip(self._columns, values, strict=True)
            if key
        ]
        if len(texts) < 2:
            return texts[0] if texts else None
        return b"[" + b",".join(map(string, texts)) + b"]"
