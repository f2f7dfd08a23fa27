"""From a claimed row to the args its job function is typed for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from riverbridge.errors import InvalidJob, WorkerError
from riverbridge.model.args import RawArgs
from riverbridge.model.job import ClaimedJob

Decode = Callable[[ClaimedJob], Any]
"""Raises InvalidJob, saying what does not fit."""


def kind_of(args: Any) -> str | None:
    """The kind that the class `args` says it is: a class attribute, or the default of a field."""
    kind = getattr(args, "kind", None)
    if isinstance(kind, str):
        return kind
    if isinstance(args, type) and issubclass(args, msgspec.Struct):
        defaults = {field.name: field.default for field in msgspec.structs.fields(args)}
        kind = defaults.get("kind")
    elif hasattr(args, "__pydantic_fields__"):
        kind = getattr(args.__pydantic_fields__.get("kind"), "default", None)
    return kind if isinstance(kind, str) else None


def decoder(args: Any) -> Decode:
    """How to read jobs into `args`: RawArgs, a class with a method from_json, a pydantic model, or
    what msgspec knows (dataclass, Struct, TypedDict, dict). Raises WorkerError for other types.
    """
    if args is RawArgs:
        return lambda row: RawArgs(row.kind, row.args)
    name = getattr(args, "__name__", str(args))
    read = _reader(args, name)

    def decode(row: ClaimedJob) -> Any:
        try:
            return read(row.args)
        except Exception as error:
            raise InvalidJob(f"args do not fit {name}: {error}") from error

    return decode


def _reader(args: Any, name: str) -> Callable[[str], Any]:
    if callable(from_json := getattr(args, "from_json", None)):
        return from_json  # type: ignore[no-any-return]
    # So pydantic need not be imported, or be there.
    if (validator := getattr(args, "__pydantic_validator__", None)) is not None:
        return validator.validate_json  # type: ignore[no-any-return]
    try:
        unread = _unread(msgspec.inspect.type_info(args), set())
        if unread is None:
            return msgspec.json.Decoder(args).decode
    except (TypeError, NotImplementedError) as error:
        unread = str(error)
    raise WorkerError(
        f"args: {name} cannot be read from JSON ({unread}): use a dataclass, msgspec.Struct, "
        "pydantic model or RawArgs, or give the class a classmethod from_json(text)"
    )


def _unread(part: object, seen: set[int]) -> str | None:
    """What of a type msgspec would not know how to read, which it else says with the first job."""
    if isinstance(part, msgspec.inspect.CustomType):
        return f"{part.cls.__qualname__} has no form in it"
    if isinstance(part, list | tuple):
        parts = list(part)
    elif isinstance(part, msgspec.inspect.Type | msgspec.inspect.Field) and id(part) not in seen:
        seen.add(id(part))
        parts = [getattr(part, name) for name in part.__struct_fields__]
    else:
        return None
    return next(filter(None, (_unread(each, seen) for each in parts)), None)
