"""Conditions on jobs and events, in the Common Expression Language (CEL): `args.total > 100`.

The language has no loops but over lists and maps that are there, no side effects and no way out of
it; an evaluation that goes round more than ten thousand times is ended by the library, and its
regular expressions (RE2) take time linear in the text.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from riverbridge.errors import ConditionError, ConfigurationError

EXTRA = "riverbridge[conditions]"

MISSING = "NOT_FOUND"
"""What the library's error begins with where a field is not there."""

Reader = Callable[[Any], Any]
"""Reads a variable."""


class Variables(NamedTuple):
    """What a condition may ask for.

    columns: a type of CEL and a reader, by name. documents: attributes with JSON text.
    """

    columns: Mapping[str, tuple[str, Reader]]
    documents: Sequence[str]


JOB = Variables(
    {
        "id": ("int", lambda job: job.id),
        "kind": ("string", lambda job: job.kind),
        "queue": ("string", lambda job: job.queue),
        "priority": ("int", lambda job: job.priority),
        "attempt": ("int", lambda job: job.attempt + 1),
        "max_attempts": ("int", lambda job: job.max_attempts),
        "tags": ("list(string)", lambda job: job.tags.split(",") if job.tags else []),
        "created_at": ("timestamp", lambda job: job.created_at),
        "scheduled_at": ("timestamp", lambda job: job.scheduled_at),
    },
    ("args", "metadata"),
)
"""What a job has."""
_whole = msgspec.json.Decoder()


class Condition:
    """A parsed condition; `text` is what was parsed. Any thread may ask it."""

    __slots__ = ("_expression", "_readers", "text")

    def __init__(self, text: str, expression: Any, readers: dict[str, Reader]) -> None:
        """expression: what the library made of it. readers: of the variables it may use."""
        self.text = text
        self._expression = expression
        self._readers = tuple(readers.items())

    @classmethod
    def parse(cls, text: str, known: Variables = JOB) -> Condition:
        """Parse and type-check `text`, over what is known. Raises ConditionError, saying what is
        wrong and where, and ConfigurationError where the library is not installed."""
        cel = _library()
        try:
            expression = _environment(cel, known).compile(text)
        except RuntimeError as error:
            raise ConditionError(f"{text!r}: {_first(error)}") from error
        result = expression.return_type().name().lower()
        if result not in ("bool", "dyn"):
            raise ConditionError(f"{text!r} gives {result}; a condition is true or false")
        readers = {name: read for name, (_, read) in known.columns.items() if _names(text, name)}
        readers |= {name: _document(name, text) for name in known.documents if _names(text, name)}
        return cls(text, expression, readers)

    def holds(self, job: Any) -> bool:
        """Whether it is true of `job`; a field that the job does not have makes it false.

        Raises ConditionError for a job it cannot judge: a text compared with a number, a number of
        more than 64 bits, too much to go through.
        """
        try:
            data = {name: read(job) for name, read in self._readers}
            value = self._expression.eval(data=data).value()
        except (msgspec.MsgspecError, RecursionError, RuntimeError, ValueError) as error:
            raise ConditionError(f"the condition {self.text!r}: {_first(error)}") from error
        if value is True or value is False:
            return value
        problem = str(value)
        if problem.startswith(MISSING):
            return False
        raise ConditionError(f"the condition {self.text!r} is neither true nor false: {problem}")

    def __repr__(self) -> str:
        return f"Condition({self.text!r})"


def _library() -> Any:
    try:
        from cel_expr_python import cel
    except ImportError as error:
        raise ConfigurationError(
            f"a condition needs a library that is not installed: install {EXTRA} ({error})"
        ) from error
    return cel


def _environment(cel: Any, known: Variables) -> Any:
    types = {
        "int": cel.Type.INT,
        "string": cel.Type.STRING,
        "timestamp": cel.Type.TIMESTAMP,
        "list(string)": cel.Type.List(cel.Type.STRING),
        "map(string, string)": cel.Type.Map(cel.Type.STRING, cel.Type.STRING),
    }
    variables = {name: types[type_] for name, (type_, _) in known.columns.items()}
    return cel.NewEnv(variables=variables | dict.fromkeys(known.documents, cel.Type.DYN))


def _names(text: str, variable: str) -> list[str]:
    """Where `text` may use `variable`: also within a string, which costs little."""
    return re.findall(rf"\b{variable}\b", text)


def _document(name: str, text: str) -> Reader:
    """Reads a JSON column: only the fields that `text` names, if it uses it in no other way.

    What is handed over is copied value by value, so 10 KB of args for one field cost much.
    """
    fields = re.findall(rf"\b{name}\.([A-Za-z_]\w*)(?!\w|\s*\()", text, re.ASCII)
    if len(fields) < len(_names(text, name)) or "//" in text:
        return lambda job: _whole.decode(getattr(job, name))
    columns = {f"field_{number}": field for number, field in enumerate(dict.fromkeys(fields))}
    only = msgspec.defstruct(
        "Only", [(column, Any, msgspec.UNSET) for column in columns], rename=columns
    )
    decode = msgspec.json.Decoder(only).decode

    def read(job: Any) -> dict[str, Any]:
        found = decode(getattr(job, name))
        given = ((field, getattr(found, column)) for column, field in columns.items())
        return {field: value for field, value in given if value is not msgspec.UNSET}

    return read


def _first(error: BaseException) -> str:
    """What the library says, on one line and without the picture of the place."""
    return " ".join(str(error).partition("\n |")[0].split())[:500]
