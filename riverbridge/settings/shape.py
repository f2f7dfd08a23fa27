"""The settings as a tree of tables and leaves, read off the models: what may stand where.

A path is the names from the top, as in TOML; its variable is the prefix and the names in upper
case, joined by two underscores. DATABASE_URL has no prefix.
"""

from __future__ import annotations

import difflib
import inspect
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from riverbridge.settings.values import Properties, Rule, Seconds

PREFIX = "RIVERBRIDGE_"
DEFAULT = "default"
Path = tuple[str, ...]


@dataclass(frozen=True)
class Leaf:
    """A single setting."""

    field: FieldInfo
    rule: Rule | None

    @property
    def pairs(self) -> Properties | None:
        """The rule, if the setting is a table of names the user chooses."""
        return self.rule if isinstance(self.rule, Properties) else None

    @property
    def keeps(self) -> bool:
        """Whether None is a value of its own: for ever."""
        return isinstance(self.rule, Seconds) and self.rule.keep

    def show(self, value: Any) -> str:
        return self.rule.show(value) if self.rule else str(value)


@dataclass(frozen=True)
class Table:
    """Settings under one name."""

    fields: Mapping[str, Leaf | Table | Named]


@dataclass(frozen=True)
class Named:
    """Tables under names the user chooses.

    of: what any of them may hold. kinds: what one of a type holds, by type, where there are
    several; what other types hold is there too, for the models to refuse. types: of the entries, by
    name, as far as they are known.
    """

    of: Table
    kinds: Mapping[str, Table] = field(default_factory=dict)
    types: Mapping[str, str] = field(default_factory=dict)

    def table(self, entry: str) -> Table:
        """What the entry of this name may hold: settings of one name differ between types."""
        return self.kinds.get(self.types.get(entry, ""), self.of)


Node = Leaf | Table | Named


def tree(*models: type[BaseModel]) -> Table:
    """What a model, or any of several, holds."""
    fields: dict[str, Node] = {}
    for model in models:
        own = inspect.get_annotations(model)
        # What a model adds comes before what it has from its base: it is what the user looks for.
        for name in sorted(model.model_fields, key=lambda name: name not in own):
            info = model.model_fields[name]
            fields.setdefault(info.alias or name, _node(info))
    return Table(fields)


def _node(info: FieldInfo) -> Node:
    annotation: Any = info.annotation
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return tree(annotation)
    rule = next((m for m in info.metadata if isinstance(m, Rule)), None)
    if rule is None and get_origin(annotation) is not None:
        inner = get_args(annotation)[-1]
        if get_origin(inner) is Annotated:
            inner = get_args(inner)[0]
        union = get_origin(inner) in (Union, types.UnionType)
        models = get_args(inner) if union else (inner,)
        if all(isinstance(m, type) and issubclass(m, BaseModel) for m in models):
            return _named(models)
    return Leaf(info, rule)


def _named(models: tuple[type[BaseModel], ...]) -> Named:
    of = tree(*models)
    if len(models) == 1:
        return Named(of)
    kinds = {}
    for model in models:
        own = tree(model)
        [kind] = get_args(model.model_fields["type"].annotation)
        kinds[kind] = replace(own, fields={**of.fields, **own.fields})
    return Named(of, kinds)


def typed(root: Table, types: Mapping[Path, str]) -> Table:
    """The same, where the types of entries are known. types: by path, as `("sinks", "events")`."""
    fields = dict(root.fields)
    for name, node in fields.items():
        if isinstance(node, Named) and node.kinds:
            own = {path[1]: kind for path, kind in types.items() if path[0] == name}
            fields[name] = replace(node, types=own)
    return replace(root, fields=fields)


def variable(path: Path) -> str:
    """The environment variable of a path; names that are not plain are escaped and cut."""
    if path == ("database_url",):
        return "DATABASE_URL"
    name = PREFIX + "__".join(path).upper()
    safe = name.encode("ascii", "backslashreplace").decode()
    safe = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in safe)
    return safe if len(safe) <= 200 else safe[:200] + "…"


def leaves(model: BaseModel, path: Path = ()) -> Iterator[tuple[Path, Leaf, Any]]:
    """Every setting of a model with its path and value."""
    for key, node in tree(type(model)).fields.items():
        name = next(n for n, f in type(model).model_fields.items() if (f.alias or n) == key)
        value = getattr(model, name)
        if isinstance(node, Leaf):
            yield (*path, key), node, value
        elif isinstance(node, Named):
            for entry, part in value.items():
                yield from leaves(part, (*path, key, entry))
        else:
            yield from leaves(value, (*path, key))


def hint(node: Node, path: Path, unknown: str) -> str:
    """` (did you mean …?)` for a name that `node` at `path` does not have, or nothing."""
    if isinstance(node, Table):
        if close := difflib.get_close_matches(unknown.lower(), node.fields, 1, 0.7):
            return f"; did you mean {variable((*path, close[0]))}?"
        if split := _split(node, unknown.lower()):
            return f"; did you mean {variable(path + split)}?"
    return ""


def _split(node: Node, text: str) -> Path | None:
    """`http_port` as http and port: one underscore where two are needed."""
    if isinstance(node, Leaf):
        return None
    if isinstance(node, Named):
        for key in sorted(node.of.fields, key=len, reverse=True):
            if text.endswith("_" + key) and len(text) > len(key) + 1:
                return (text[: -len(key) - 1], key)
        return None
    for key, child in node.fields.items():
        rest = text.removeprefix(key + "_")
        if rest == text or isinstance(child, Leaf):
            continue
        if isinstance(child, Table) and rest in child.fields:
            return (key, rest)
        if isinstance(child, Named) and (found := _split(child, rest.replace("__", "_"))):
            return (key, *found)
    return None
