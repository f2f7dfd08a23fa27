"""Templates of topics, keys and headers: literals and dotted paths, nothing that runs.

`orders.{kind}` or `{args.customer.id}`; `{{` and `}}` stand for braces. A number keeps the spelling
Postgres gives it, so nothing is lost that a float could not hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import msgspec

from riverbridge.errors import TemplateError
from riverbridge.model.job import ClaimedJob

LONGEST = 4096
"""Characters a rendered template may have."""

_COLUMNS: dict[str, Callable[[ClaimedJob], str]] = {
    "id": lambda job: str(job.id),
    "kind": lambda job: job.kind,
    "queue": lambda job: job.queue,
    "priority": lambda job: str(job.priority),
    "attempt": lambda job: str(job.attempt + 1),
    "tags": lambda job: job.tags,
}
_DOCUMENTS = ("args", "metadata")
_PART = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_STEP = re.compile(r"[\w\-:@/ ]+\Z")
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])
_string = msgspec.json.Decoder(str)


@lru_cache(maxsize=1000)
def _only(name: str) -> msgspec.json.Decoder[Any]:
    """Reads one field of an object as `value`, in a third of the time it takes to read all."""
    field = ("value", msgspec.Raw, msgspec.Raw(b"null"))
    return msgspec.json.Decoder(msgspec.defstruct("Only", [field], rename={"value": name}))


class Fields:
    """What templates can ask of one job; its documents are parsed once, and only when asked for."""

    __slots__ = ("_documents", "job")

    def __init__(self, job: ClaimedJob) -> None:
        self.job = job
        self._documents: dict[str, dict[str, msgspec.Raw]] = {}

    def first(self, document: str, name: str) -> str | None:
        """As `find` for a field at the top: the others are passed over and not kept."""
        text = self.job.args if document == "args" else self.job.metadata
        try:
            return _text(_only(name).decode(text).value)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise TemplateError(f"{document}.{name}: {error}") from error

    def find(self, document: str, path: tuple[str, ...]) -> str | None:
        """The value at `path` as text; None where it is missing or null.

        Raises TemplateError if a document on the way is not an object, or is nested too deep.
        """
        try:
            known = self._documents.get(document)
            if known is None:
                text = self.job.args if document == "args" else self.job.metadata
                known = self._documents[document] = _object.decode(text)
            raw = known.get(path[0])
            for step in path[1:]:
                if raw is None:
                    return None
                raw = _object.decode(raw).get(step)
            return None if raw is None else _text(raw)
        except (msgspec.MsgspecError, RecursionError) as error:
            raise TemplateError(f"{document}.{'.'.join(path)}: {error}") from error


def _text(raw: msgspec.Raw) -> str | None:
    """A string's value, null as None, and everything else in the spelling it has."""
    try:
        return _string.decode(raw)
    except msgspec.ValidationError:
        text = bytes(raw).decode()
        return None if text == "null" else text


class Template:
    """A parsed template; `text` is what was parsed."""

    __slots__ = ("_parts", "constant", "text")

    def __init__(self, text: str, parts: list[str | tuple[str, tuple[str, ...]]]) -> None:
        self.text = text
        self._parts = parts
        self.constant: str | None = None
        """The result, where it is the same for every job."""
        if all(isinstance(part, str) for part in parts):
            self.constant = "".join(part for part in parts if isinstance(part, str))

    @classmethod
    def parse(cls, text: str) -> Template:
        """Parse `text`; raises TemplateError naming the part that is wrong and what is known."""
        parts: list[str | tuple[str, tuple[str, ...]]] = []
        end = 0
        for match in _PART.finditer(text):
            parts.append(text[end : match.start()])
            end = match.end()
            found = match.group()
            if found in ("{{", "}}"):
                parts.append(found[0])
            elif match.group(1) is None:
                raise TemplateError(
                    f"{text!r} has a single {found!r} at character {match.start() + 1}; "
                    f"write {found * 2} for a brace"
                )
            else:
                parts.append(_field(text, match.group(1)))
        parts.append(text[end:])
        return cls(text, [part for part in parts if part != ""])

    def render(self, fields: Fields) -> str:
        """The text for one job; raises TemplateError where a field has no value."""
        if self.constant is not None:
            return self.constant
        if len(self._parts) == 1:
            text = self._value(self._parts[0], fields)
        else:
            text = "".join([self._value(part, fields) for part in self._parts])
        if len(text) > LONGEST:
            raise TemplateError(
                f"the template {self.text!r} gives {len(text)} characters, above {LONGEST}"
            )
        return text

    def _value(self, part: str | tuple[str, tuple[str, ...]], fields: Fields) -> str:
        if isinstance(part, str):
            return part
        root, path = part
        if not path:
            return _COLUMNS[root](fields.job)
        value = fields.first(root, path[0]) if len(path) == 1 else fields.find(root, path)
        if value is None:
            raise TemplateError(
                f"the template {self.text!r} needs {root}.{'.'.join(path)}, "
                "which this job does not have"
            )
        return value

    def __repr__(self) -> str:
        return f"Template({self.text!r})"


def _field(text: str, name: str) -> tuple[str, tuple[str, ...]]:
    root, *path = name.strip().split(".")
    if root in _COLUMNS and not path:
        return root, ()
    if root in _DOCUMENTS and path and all(_STEP.match(step) for step in path):
        return root, tuple(path)
    known = ", ".join([*_COLUMNS, *(f"{document}.<path>" for document in _DOCUMENTS)])
    raise TemplateError(f"{text!r} asks for {{{name}}}, which no job has; known are {known}")
