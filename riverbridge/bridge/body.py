"""The body of the envelope `template`: JSON in which fields of the job stand.

`{"id": {id}, "name": "order {args.no} of {kind}", "args": {args}}`. A field that stands alone is a
whole JSON value, with its own quotes if it is text; one within a string is text in that string.
Values go in as JSON, never as they are, so no job can break the document; what Postgres holds as
JSON goes in byte for byte.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from riverbridge.bridge.template import DOCUMENTS, is_path, json_field, split
from riverbridge.errors import TemplateError
from riverbridge.model.job import ClaimedJob

Value = Callable[[ClaimedJob, str], bytes]
"""Reads a field as JSON, given the job and the event's id."""

_encode = msgspec.json.Encoder().encode
_NULL = b"null"

_COLUMNS: dict[str, Value] = {
    "event_id": lambda job, id_: _encode(id_),
    "id": lambda job, _: _encode(job.id),
    "kind": lambda job, _: _encode(job.kind),
    "queue": lambda job, _: _encode(job.queue),
    "priority": lambda job, _: _encode(job.priority),
    "attempt": lambda job, _: _encode(job.attempt + 1),
    "tags": lambda job, _: _encode(job.tags.split(",") if job.tags else []),
    "created_at": lambda job, _: _encode(job.created_at),
    "scheduled_at": lambda job, _: _encode(job.scheduled_at),
    "args": lambda job, _: job.args.encode(),
    "metadata": lambda job, _: job.metadata.encode(),
}
# What JSON does not have outside of strings: a brace right before a name.
_ALONE = re.compile(r"\{\s*([A-Za-z_][^{}\"]*)\}")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')


class Body:
    """A parsed body."""

    def __init__(self, first: bytes, fields: Sequence[tuple[Value, bytes]]) -> None:
        """first: what stands before the fields; each has what follows it."""
        self._first = first
        self._fields = tuple(fields)

    @classmethod
    def parse(cls, text: str) -> Body:
        """Raises TemplateError for what would be no JSON, and for fields that no job has."""
        literals, fields = [""], list[Value]()
        trial, place = "", 0
        while place < len(text):
            if alone := _ALONE.match(text, place):
                fields.append(_value(alone[1]))
                literals.append("")
                trial, place = trial + "null", alone.end()
            elif string := _STRING.match(text, place):
                parts, names = split(string[1], f"the string {string[1][:80]!r}")
                literals[-1] += '"' + parts[0]
                literals += parts[1:]
                literals[-1] += '"'
                fields += [_text(name.strip(), _value(name)) for name in names]
                trial, place = f'{trial}"{"x".join(parts)}"', string.end()
            else:
                literals[-1] += text[place]
                trial, place = trial + text[place], place + 1
        try:
            msgspec.json.decode(trial.encode())
        except (msgspec.MsgspecError, RecursionError, UnicodeEncodeError) as error:
            raise TemplateError(
                f"{text[:80]!r} is no JSON with values in place of its fields: {error}"
            ) from None
        first, *others = (literal.encode() for literal in literals)
        return cls(first, list(zip(fields, others, strict=True)))

    def render(self, job: ClaimedJob, id_: str) -> bytes:
        """The document for `job`, whose event has this id; raises TemplateError."""
        parts = [self._first]
        for value, after in self._fields:
            parts += (value(job, id_), after)
        return b"".join(parts)


def _value(name: str) -> Value:
    name = name.strip()
    root, *path = name.split(".")
    if name in _COLUMNS:
        return _COLUMNS[name]
    if root in DOCUMENTS and path and is_path(path):
        read = json_field(root, *path)
        return lambda job, _: read(job)
    known = ", ".join([*_COLUMNS, *(f"{document}.<path>" for document in DOCUMENTS)])
    raise TemplateError(f"the body asks for {{{name}}}, which no job has; known are {known}")


def _text(name: str, value: Value) -> Value:
    """The value as what stands between the quotes of a JSON string."""

    def text(job: ClaimedJob, id_: str) -> bytes:
        found = value(job, id_)
        if found == _NULL:
            raise TemplateError(f"the body needs {name} in a text, which this job does not have")
        return found[1:-1] if found.startswith(b'"') else _encode(found.decode())[1:-1]

    return text
