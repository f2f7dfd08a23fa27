"""Templates of topics, keys and headers: literals and dotted paths, nothing that runs.

`orders.{kind}` or `{args.customer.id}`; `{args.region|eu}` is `eu` for a job without that field;
`{{` and `}}` stand for braces. A number keeps the spelling
Postgres gives it, so nothing is lost that a float could not hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, NamedTuple, TypeVar

import msgspec

from riverbridge.errors import TemplateError
from riverbridge.model.job import ClaimedJob

T = TypeVar("T")

LONGEST = 4096
"""Characters a rendered template may have."""

Reader = Callable[[Any], str | None]
"""Reads one field as text; None where it is missing or null. Raises TemplateError."""


class Fields(NamedTuple):
    """What a template may ask for.

    owner: what has the fields, for errors. columns: those with a name. documents: those with a path
    below a name; each makes a reader of a path's steps.
    """

    owner: str
    columns: Mapping[str, Reader]
    documents: Mapping[str, Callable[..., Reader]]


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
_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
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
    def parse(
        cls, text: str, escape: Callable[[str], str] | None = None, *, known: Fields | None = None
    ) -> Template:
        """Parse `text`; raises TemplateError naming the part that is wrong and what is known.

        escape: what a value goes through before it stands between the literals. known: what it
        may ask for; by default what a job has.
        """
        known = JOB if known is None else known
        (first, *others), parts = split(text, repr(text))
        fields: list[tuple[str, Reader]] = []
        for part in parts:
            name, bar, other = part.partition("|")
            name, read = _field(text, name, known)
            if escape is not None:
                read = _escaped(read, escape)
            fields.append((name, _or(read, other) if bar else read))
        pairs = zip(fields, others, strict=True)
        return cls(text, first, [(*one, after) for one, after in pairs])

    def render(self, job: Any) -> str:
        """The text for one job, or what else it knows; TemplateError where a field is missing."""
        text = self._first
        for name, read, after in self._fields:
            value = read(job)
            if value is None:
                raise TemplateError(f"the template {self.text!r} needs {name}, which is not there")
            text += value + after
        if len(text) > LONGEST:
            raise TemplateError(
                f"the template {self.text!r} gives {len(text)} characters, above {LONGEST}"
            )
        return text

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


def split(text: str, shown: str) -> tuple[list[str], list[str]]:
    """The literals of `text`, and what stands in braces between them; `{{` and `}}` are braces.

    shown: what an error calls the text. Raises TemplateError for a single brace.
    """
    literals, names, end = [""], list[str](), 0
    for match in _PART.finditer(text):
        literals[-1] += text[end : match.start()]
        end = match.end()
        found = match.group()
        if found in ("{{", "}}"):
            literals[-1] += found[0]
        elif match.group(1) is None:
            raise TemplateError(
                f"{shown} has a single {found!r} at character {match.start() + 1}; "
                f"write {found * 2} for a brace"
            )
        else:
            names.append(match.group(1))
            literals.append("")
    literals[-1] += text[end:]
    return literals, names


def _escaped(read: Reader, escape: Callable[[str], str]) -> Reader:
    def reader(job: Any) -> str | None:
        value = read(job)
        return None if value is None else escape(value)

    return reader


def _or(read: Reader, other: str) -> Reader:
    def reader(job: Any) -> str | None:
        value = read(job)
        return other if value is None else value

    return reader


def is_path(steps: Sequence[str]) -> bool:
    """Whether templates can name such a field."""
    return all(_STEP.match(step) for step in steps)


def _field(text: str, name: str, fields: Fields) -> tuple[str, Reader]:
    root, *path = name.strip().split(".")
    if root in fields.columns and not path:
        return root, fields.columns[root]
    if root in fields.documents and path and is_path(path):
        return f"{root}.{'.'.join(path)}", fields.documents[root](*path)
    known = ", ".join([*fields.columns, *(f"{document}.<path>" for document in fields.documents)])
    raise TemplateError(
        f"{text!r} asks for {{{name}}}, which no {fields.owner} has; known are {known}"
    )


JOB = Fields("job", _COLUMNS, {name: partial(field, name) for name in DOCUMENTS})
"""What a job has."""
