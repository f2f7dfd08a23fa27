"""Values of Postgres, as text, to JSON: the same that `to_jsonb` would make of them.

Numbers keep every digit, instants are ISO 8601 in UTC, `json` stays as it is; arrays and composite
types are taken apart, domains stand for what they are made of, and anything else is the text that
Postgres writes, `bytea` as `\\x…`. NaN and infinities are text, as JSON has none.

The session has to write in UTC, with `DateStyle` ISO.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from typing import Protocol

import msgspec

Convert = Callable[[bytes], bytes]
"""JSON for the text of one value."""


class Type(msgspec.Struct, frozen=True):
    """A type as the catalogue has it.

    base: of a domain. element, delimiter: of an array. fields: of a composite, names and types.
    """

    base: int = 0
    element: int = 0
    delimiter: str = ","
    fields: tuple[tuple[str, int], ...] = ()


_encode = msgspec.json.encode


def string(raw: bytes) -> bytes:
    """As a JSON string."""
    try:
        return _encode(raw.decode())
    except UnicodeDecodeError:
        # A database without an encoding. It goes on as it is, and into quarantine.
        return b'"' + raw.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def _boolean(raw: bytes) -> bytes:
    return b"true" if raw == b"t" else b"false"


def _number(raw: bytes) -> bytes:
    return raw if raw[-1:].isdigit() else string(raw)  # NaN, Infinity


def _same(raw: bytes) -> bytes:
    return raw


def _timestamp(raw: bytes) -> bytes:
    return b'"' + raw.replace(b" ", b"T", 1) + b'"'


def _instant(raw: bytes) -> bytes:
    return b'"' + raw.replace(b" ", b"T", 1).replace(b"+00", b"+00:00", 1) + b'"'


_BUILT_IN: Mapping[int, Convert] = {
    16: _boolean,
    20: _same, 21: _same, 23: _same,
    700: _number, 701: _number, 1700: _number,
    114: _same, 3802: _same,
    1114: _timestamp, 1184: _instant,
}  # fmt: skip


class Catalogue(Protocol):
    """What the database says of itself. Raises psycopg.Error."""

    def look_up(self, type_: int) -> Type | None:
        """The type with this object id; None if it is gone, and then its values are text."""
        ...

    def primary_key(self, relation: int) -> Collection[str]:
        """The names of its columns."""
        ...


class Types:
    """Says how the values of each type are converted."""

    def __init__(self, catalogue: Catalogue) -> None:
        self.catalogue = catalogue
        self._known: dict[int, Convert] = dict(_BUILT_IN)

    def convert(self, type_: int) -> Convert:
        """How to write values of the type with this object id. Raises what the catalogue does."""
        found = self._known.get(type_)
        if found is None:
            found = self._known[type_] = self._made(self.catalogue.look_up(type_))
        return found

    def _made(self, type_: Type | None) -> Convert:
        if type_ is None:
            return string
        if type_.base:
            return self.convert(type_.base)
        if type_.element:
            return partial(_array, self.convert(type_.element), type_.delimiter)
        if type_.fields:
            fields = [(_encode(name) + b":", self.convert(of)) for name, of in type_.fields]
            return partial(_composite, fields)
        return string


@cache
def _items(delimiter: str) -> re.Pattern[bytes]:
    mark = re.escape(delimiter.encode())
    return re.compile(rb'[{}]|%b|"((?:[^"\\]|\\.)*)"|([^{}"%b]+)' % (mark, mark), re.DOTALL)


_escaped = re.compile(rb"\\(.)", re.DOTALL)


def _array(item: Convert, delimiter: str, raw: bytes) -> bytes:
    """`{1,NULL,"a b"}`, of any number of dimensions; where they begin is left out."""
    start = raw.find(b"{")
    if start < 0:
        return string(raw)  # the type is another by now
    written = []
    for found in _items(delimiter).finditer(raw, start):
        quoted, plain = found[1], found[2]
        if quoted is not None:
            written.append(item(_escaped.sub(rb"\1", quoted)))
        elif plain is None:
            written.append(_MARKS.get(found[0], b","))
        else:
            written.append(b"null" if plain == b"NULL" else item(plain))
    return b"".join(written)


_MARKS = {b"{": b"[", b"}": b"]"}
_field = re.compile(rb'(?:"((?:[^"\\]|""|\\.)*)"|([^,"]*))(,|\Z)', re.DOTALL)
_doubled = re.compile(rb'"(")|\\(.)', re.DOTALL)


def _composite(fields: Sequence[tuple[bytes, Convert]], raw: bytes) -> bytes:
    """`(1,"a b",)`, in which nothing at all is NULL; as text if the type was altered meanwhile."""
    values: list[bytes | None] = []
    inner, at, more = raw[1:-1], 0, True
    while more and (found := _field.match(inner, at)) is not None:
        quoted, plain = found[1], found[2]
        if quoted is not None:
            plain = _doubled.sub(lambda pair: pair[1] or pair[2], quoted)
        values.append(None if plain == b"" and quoted is None else plain)
        at, more = found.end(), found[3] == b","
    if len(values) != len(fields):
        return string(raw)
    written = (
        name + (b"null" if value is None else convert(value))
        for (name, convert), value in zip(fields, values, strict=True)
    )
    return b"{" + b",".join(written) + b"}"
