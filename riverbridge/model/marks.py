"""Which fields of a class are marked `Unique`, as paths in its JSON (contract 4.3)."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

import msgspec

from riverbridge.errors import InvalidJob
from riverbridge.model.canonical import name_problem


class Unique:
    """Marks a field that counts for a job's unique key: `order_id: Annotated[int, Unique]`.

    Once a field is marked, `UniqueOpts(by_args=True)` counts the marked ones only. Fields of nested
    classes count by themselves; a marked field whose class marks none of its own counts whole. A
    class is entered once, as by River: where two fields are of one class and neither is marked,
    only the fields of the first count. What is inside of a list or a dict is not entered.
    """


@cache
def unique_paths(type_: type[Any]) -> tuple[str, ...]:
    """The marked fields of a dataclass, msgspec.Struct or pydantic model, as sorted paths of names.

    Names are those in the JSON. Of any other class there are none. Raises InvalidJob for a name
    that River would not count as what it is, and if the annotations cannot be read.
    """
    return tuple(sorted({".".join(path) for path in _marked(type_, (), set())}))


def _marked(
    type_: type[Any], way: tuple[str, ...], seen: set[type[Any]]
) -> Iterator[tuple[str, ...]]:
    if type_ in seen:
        return
    seen.add(type_)
    for name, hint in _fields(type_):
        path = (*way, name)
        inner, marked = _opened(hint)
        within = list(_marked(inner, path, seen)) if _has_fields(inner) else []
        if not within and marked:
            if (problem := next(filter(None, map(name_problem, path)), None)) is not None:
                raise InvalidJob(
                    f"args: a field of {type_.__name__} is marked Unique, but {problem}"
                )
            within = [path]
        yield from within


def _opened(hint: Any) -> tuple[Any, bool]:
    """The type itself, without Annotated and `| None`, and whether it was marked on the way."""
    marked = False
    while True:
        origin = get_origin(hint)
        if origin is Annotated:
            hint, *notes = get_args(hint)
            marked = marked or any(note is Unique or isinstance(note, Unique) for note in notes)
        elif origin is Union or origin is types.UnionType:
            given = [each for each in get_args(hint) if each is not types.NoneType]
            if len(given) != 1:
                return hint, marked
            hint = given[0]
        elif hasattr(hint, "__value__"):  # type Name = ...
            hint = hint.__value__
        else:
            return origin or hint, marked


def _has_fields(type_: Any) -> bool:
    return isinstance(type_, type) and (
        dataclasses.is_dataclass(type_)
        or issubclass(type_, msgspec.Struct)
        or hasattr(type_, "__pydantic_fields__")
    )


def _fields(type_: type[Any]) -> Iterator[tuple[str, Any]]:
    """Each field by its name in the JSON, with its annotation."""
    if not _has_fields(type_):
        return
    if (models := getattr(type_, "__pydantic_fields__", None)) is not None:
        for name, field in models.items():
            notes = (field.annotation, *field.metadata)
            yield field.serialization_alias or name, Annotated[notes] if notes[1:] else notes[0]
        return
    if issubclass(type_, msgspec.Struct):
        names = {field.name: field.encode_name for field in msgspec.structs.fields(type_)}
    else:
        names = {field.name: field.name for field in dataclasses.fields(type_)}
    try:
        hints = get_type_hints(type_, include_extras=True)
    except Exception as error:
        raise InvalidJob(
            f"args: the annotations of {type_.__name__} cannot be read to see which fields are "
            f"marked Unique: {error}; define what they name at the top of a module, or name the "
            "fields in by_args"
        ) from error
    for name, encoded in names.items():
        yield encoded, hints[name]
