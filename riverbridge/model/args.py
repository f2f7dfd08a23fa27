"""What a job's arguments may be, and how they become JSON."""

from __future__ import annotations

import dataclasses
from functools import cache
from typing import Any, Protocol

import msgspec

from riverbridge.errors import InvalidJob
from riverbridge.model.json_object import encode_object


class JobArgs(Protocol):
    """Arguments that write their own JSON.

    A dataclass or msgspec.Struct needs only the class attribute `kind`.
    """

    @property
    def kind(self) -> str:
        """Which job this is; the worker that knows it runs it."""
        ...

    def to_json(self) -> str:
        """The arguments as the text of a JSON object, without the kind."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class RawArgs:
    """A kind, and its arguments as the text of a JSON object."""

    kind: str
    json: str


def kind_and_json(args: object) -> tuple[str, str]:
    """The kind of `args` and their JSON, unchecked but for being there.

    args: a JobArgs, RawArgs, or an instance of a dataclass or msgspec.Struct with the attribute
    `kind`, which does not become part of the JSON. Raises InvalidJob.
    """
    if isinstance(args, RawArgs):
        return args.kind, args.json
    if isinstance(args, type):
        raise InvalidJob(f"args: {args.__name__} is a class: give an instance of it")
    kind = getattr(args, "kind", None)
    name = type(args).__name__
    if kind is None:
        raise InvalidJob(f"args: {name} has no kind: add `kind: ClassVar[str]` to the class")
    if callable(to_json := getattr(args, "to_json", None)):
        return kind, to_json()
    if not isinstance(args, msgspec.Struct) and not dataclasses.is_dataclass(args):
        raise InvalidJob(
            f"args: {name} has no to_json(): add it, or give a dataclass, msgspec.Struct or RawArgs"
        )
    try:
        return kind, encode_object(args, leave_out=_kind_field(args.__class__))
    except (ValueError, TypeError) as error:
        raise InvalidJob(f"args: {name} has no form in JSON: {error}") from error


@cache
def _kind_field(type_: type[Any]) -> str | None:
    """The key under which an ordinary field named kind would be encoded, or None."""
    if issubclass(type_, msgspec.Struct):
        fields = {field.name: field.encode_name for field in msgspec.structs.fields(type_)}
        return fields.get("kind")
    return "kind" if any(field.name == "kind" for field in dataclasses.fields(type_)) else None
