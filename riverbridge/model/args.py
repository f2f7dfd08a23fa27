"""What a job's arguments may be, and how they become JSON."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from enum import Enum
from functools import cache, lru_cache, partial
from typing import Any, Protocol, TypeAlias

import msgspec

from riverbridge.errors import InvalidJob
from riverbridge.model.json_object import NESTING_MAX, encoded_problem, object_problem
from riverbridge.model.json_text import encode, encode_as_go, encode_lines, go_float, text_as_go
from riverbridge.model.names import kind_problem


class JobArgs(Protocol):
    """A job's arguments: an instance of a dataclass, msgspec.Struct or pydantic model, with a kind.

    What is of another class has a method `to_json() -> str`, for the text of a JSON object without
    the kind; where there is one it is used. `insert_opts`, a method or an attribute, may give
    InsertOpts that hold where a call says nothing.
    """

    @property
    def kind(self) -> str:
        """Which job this is; the worker that knows it runs it. A `ClassVar[str]` will do."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class RawArgs:
    """A kind, and its arguments as the text of a JSON object."""

    kind: str
    json: str


def kind_and_json(args: object, *, as_go: bool = False) -> tuple[str, str]:
    """The kind of `args` and their JSON, checked.

    args: JobArgs or RawArgs; a field named kind does not become part of the JSON. as_go: in Go's
    spelling, for a unique key; text that is given is then made compact, as Go does with text
    (contract 4.3). Raises InvalidJob.
    """
    if isinstance(args, type):
        raise InvalidJob(f"args: {args.__name__} is a class: give an instance of it")
    kind = getattr(args, "kind", None)
    if kind is None:
        name = type(args).__name__
        raise InvalidJob(f"args: {name} has no kind: add `kind: ClassVar[str]` to the class")
    if type(kind) is not str or _known_kind_problem(kind) is not None:
        _refuse("kind", kind_problem(kind))
        kind = str.__str__(kind)
    if isinstance(args, RawArgs):
        return kind, _given(args.json, as_go)
    if callable(to_json := getattr(args, "to_json", None)):
        return kind, _given(to_json(), as_go)
    try:
        plain, spelled_as_go = _writers(type(args))  # type: ignore[arg-type]  # mypy: no hash
        text = spelled_as_go(args) if as_go else plain(args)
    except InvalidJob:
        raise
    except UnicodeEncodeError as error:
        raise InvalidJob("args: holds half a surrogate pair: send whole characters") from error
    except (ValueError, TypeError, RecursionError) as error:
        name = type(args).__name__
        raise InvalidJob(f"args: {name} has no form in JSON: {error}") from error
    if (problem := encoded_problem(text)) is not None:
        raise InvalidJob(f"args: {problem}")
    return kind, text


def kind_and_lines(args: Sequence[object]) -> tuple[str, str] | None:
    """As `kind_and_json` for many at once, a line of JSON each, in half the time.

    None where one of them has to be looked at by itself: they are not of one plain class and kind,
    one has options of its own, is longer than a thousand characters, or is not fit for a job.
    """
    type_: Any = type(args[0])
    kind = getattr(args[0], "kind", None)
    if type(kind) is not str or _known_kind_problem(kind) is not None or not _plain(type_):
        return None
    for one in args:
        if type(one) is not type_ or one.kind != kind or hasattr(one, "insert_opts"):  # type: ignore[attr-defined]
            return None
    try:
        text = encode_lines(args)
    except (ValueError, TypeError, RecursionError):
        return None
    longest = max(map(len, text.split("\n")))
    if not text.startswith("{") or "\\u0000" in text or longest > 2 * NESTING_MAX:
        return None
    return kind, text[:-1]


Writer: TypeAlias = Callable[[Any], str]
"""Writes an instance of one class as JSON."""


@cache
def _plain(type_: type[Any]) -> bool:
    """Whether all of what is of this class is written by `encode`, and nothing left out."""
    if type_ is RawArgs or hasattr(type_, "to_json"):
        return False
    try:
        return _writers(type_)[0] is encode  # type: ignore[arg-type]  # mypy: no hash
    except InvalidJob:
        return False


@cache
def _writers(type_: type[Any]) -> tuple[Writer, Writer]:
    """How what is of this class is written, and how in Go's spelling. Raises InvalidJob if not."""
    if hasattr(type_, "__pydantic_serializer__"):
        return _model_writers(type_)
    if not issubclass(type_, msgspec.Struct) and not dataclasses.is_dataclass(type_):
        raise InvalidJob(
            f"args: {type_.__name__} has no to_json(): add it, or give a dataclass, "
            "msgspec.Struct, pydantic model or RawArgs"
        )
    leave_out = _kind_field(type_)
    if leave_out is None:
        return encode, encode_as_go
    return partial(encode, leave_out=leave_out), partial(encode_as_go, leave_out=leave_out)


def _kind_field(type_: type[Any]) -> str | None:
    """The key under which an ordinary field named kind would be encoded, or None."""
    if issubclass(type_, msgspec.Struct):
        fields = {field.name: field.encode_name for field in msgspec.structs.fields(type_)}
        return fields.get("kind")
    return "kind" if any(field.name == "kind" for field in dataclasses.fields(type_)) else None


def _model_writers(type_: type[Any]) -> tuple[Writer, Writer]:
    """For a pydantic model or dataclass, whose own serializer knows best; pydantic is not imported.

    Instants are spelled as the model has them, in Go's spelling too.
    """
    dump = partial(
        type_.__pydantic_serializer__.to_python,
        mode="json",
        by_alias=True,
        exclude={"kind"} if "kind" in type_.__pydantic_fields__ else None,
        warnings=False,
    )

    def plain(args: Any) -> str:
        text = encode(dump(args))
        if "null" in text:
            _sorted(args)  # pydantic, too, writes NaN as null
        return text

    return plain, lambda args: encode_as_go(dump(_sorted(args)), sort_maps=False)


def _sorted(value: Any) -> Any:
    """A model as it is, but with the dicts and sets in it sorted: once dumped, models are dicts.

    Raises ValueError for a number that is not finite.
    """
    if isinstance(value, dict):
        return {key: _sorted(value[key]) for key in sorted(value, key=_map_key)}
    if isinstance(value, set | frozenset):
        return sorted(value, key=_map_key)
    if isinstance(value, list | tuple):
        return [_sorted(each) for each in value]
    if isinstance(value, float):
        go_float(value)
    names = getattr(type(value), "__pydantic_fields__", None)
    if names is None and dataclasses.is_dataclass(type(value)):
        names = [field.name for field in dataclasses.fields(value)]
    if not names:
        return value
    copied = copy.copy(value)
    for name in names:
        if hasattr(value, name):  # a frozen class would refuse to be changed in another way
            object.__setattr__(copied, name, _sorted(getattr(value, name)))
    return copied


def _map_key(key: Any) -> str:
    return str(key.value if isinstance(key, Enum) else key)


def _given(text: Any, as_go: bool) -> str:
    _refuse("args", object_problem(text))
    text = str.__str__(text)
    return text_as_go(text) if as_go else text


def _refuse(position: str, problem: str | None) -> None:
    if problem is not None:
        raise InvalidJob(f"{position}: {problem}")


_known_kind_problem = lru_cache(maxsize=1024)(kind_problem)
