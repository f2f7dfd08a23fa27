"""Templates of topics, keys and headers: literals and dotted paths, nothing that runs.

`orders.{kind}` or `{args.customer.id}`; `{args.region|eu}` is `eu` for a job without that field;
`{{` and `}}` stand for braces. A number keeps the spelling
Postgres gives it, so nothing is lost that a float could not hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from operator import attrgetter
from typing import Any, TypeVar

import msgspec

from riverbridge.errors import TemplateError
from riverbridge.model.job import ClaimedJob

T = TypeVar("T")

LONGEST = 4096
"""Characters a rendered template may have."""

Reader = Callable[[ClaimedJob], str | None]
"""Reads one field of a job as text; None where it is missing or null. Raises TemplateError."""

_COLUMNS: dict[str, Reader] = {
    "id": lambda job: str(job.id),
    "kind": attrgetter("kind"),
    "queue": attrgetter("queue"),
    "priority": lambda job: str(job.priority),
    "attempt": lambda job: str(job.attempt + 1),
    "tags": attrgetter("tags"),
}
DOCUMENTS = ("args", "metadata")
"""The columns that hold JSON."""
PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_STEP = re.compile(r"[\w\-:@/ ]+\Z")
_NULL = msgspec.Raw(b"null")
_string = msgspec.json.Decoder(str)


@lru_cache(maxsize=1000)
def _only(name: str) -> msgspec.json.Decoder[Any]:
    """Reads one field of an object as `value`, in a third of the time it takes to read all."""
    only = msgspec.defstruct("Only", [("value", msgspec.Raw, _NULL)], rename={"value": name})
    return msgspec.json.Decoder(only)


def field(document: str, *path: str) -> Reader:
    """Reads the field at `path` of a job's `args` or `metadata`, as text."""
    return _reader(document, path, _text)


def json_field(document: str, *path: str) -> Callable[[ClaimedJob], bytes]:
    """The same, as the JSON that Postgres holds there; `null` also where there is nothing."""
    return _reader(document, path, bytes)


def _reader(
    document: str, path: Sequence[str], convert: Callable[[msgspec.Raw], T]
) -> Callable[[ClaimedJob], T]:
    """The reader raises TemplateError if a document on the way is not an object, or is nested too
    deep. All other fields are passed over; one scan for each template is less than keeping them.
    """
    text_of = attrgetter(document)
    first, *steps = (_only(name).decode for name in path)

    def read(job: ClaimedJob) -> T:
        try:
            raw = first(text_of(job)).value
            for step in steps:
                if raw == _NULL:
                    break
                raw = step(raw).value
            return convert(raw)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise TemplateError(f"{document}.{'.'.join(path)}: {error}") from error

    return read


def _text(raw: msgspec.Raw) -> str | None:
    """A string's value, null as None, and everything else in the spelling it has."""
    try:
        return _string.decode(raw)
    except msgspec.ValidationError:
        return None if raw == _NULL else bytes(raw).decode()


class Template:
    """A parsed template; `text` is what was parsed."""

    __slots__ = ("_fields", "_first", "constant", "text")

    def __init__(self, text: str, first: str, fields: Sequence[tuple[str, Reader, str]]) -> None:
        """first: what stands before the fields; each is its name, its reader and what follows."""
        self.text = text
        self._first = first
        self._fields = tuple(fields)
        self.constant: str | None = None if fields else first
        """The result, where it is the same for every job."""

    @classmethod
    def parse(cls, text: str, escape: Callable[[str], str] | None = None) -> Template:
        """Parse `text`; raises TemplateError naming the part that is wrong and what is known.

        escape: what a job's value goes through before it stands between the literals.
        """
        literals = [""]
        fields: list[tuple[str, Reader]] = []
        end = 0
        for match in PART.finditer(text):
            literals[-1] += text[end : match.start()]
            end = match.end()
            found = match.group()
            if found in ("{{", "}}"):
                literals[-1] += found[0]
            elif match.group(1) is None:
                raise TemplateError(
                    f"{text!r} has a single {found!r} at character {match.start() + 1}; "
                    f"write {found * 2} for a brace"
                )
            else:
                name, bar, other = match.group(1).partition("|")
                name, read = _field(text, name)
                if escape is not None:
                    read = _escaped(read, escape)
                fields.append((name, _or(read, other) if bar else read))
                literals.append("")
        literals[-1] += text[end:]
        first, *others = literals
        return cls(text, first, [(*one, after) for one, after in zip(fields, others, strict=True)])

    def render(self, job: ClaimedJob) -> str:
        """The text for one job; raises TemplateError where a field has no value."""
        text = self._first
        for name, read, after in self._fields:
            value = read(job)
            if value is None:
                raise TemplateError(
                    f"the template {self.text!r} needs {name}, which this job does not have"
                )
            text += value + after
        if len(text) > LONGEST:
            raise TemplateError(
                f"the template {self.text!r} gives {len(text)} characters, above {LONGEST}"
            )
        return text

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


def _escaped(read: Reader, escape: Callable[[str], str]) -> Reader:
    def reader(job: ClaimedJob) -> str | None:
        value = read(job)
        return None if value is None else escape(value)

    return reader


def _or(read: Reader, other: str) -> Reader:
    def reader(job: ClaimedJob) -> str | None:
        value = read(job)
        return other if value is None else value

    return reader


def is_path(steps: Sequence[str]) -> bool:
    """Whether templates can name such a field."""
    return all(_STEP.match(step) for step in steps)


def _field(text: str, name: str) -> tuple[str, Reader]:
    root, *path = name.strip().split(".")
    if root in _COLUMNS and not path:
        return root, _COLUMNS[root]
    if root in DOCUMENTS and path and is_path(path):
        return f"{root}.{'.'.join(path)}", field(root, *path)
    known = ", ".join([*_COLUMNS, *(f"{document}.<path>" for document in DOCUMENTS)])
    raise TemplateError(f"{text!r} asks for {{{name}}}, which no job has; known are {known}")
