"""The part of a job's args that its unique key counts, spelled as River spells it (contract 4.3).

River reads and writes this text by the paths of a library, gjson, to which some keys mean more than
themselves: `a.b` is two, `a*` is a pattern, and such keys are left out of River's hash or garbled
in it. They are refused here, so that a key is either River's own or none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec

from riverbridge.errors import InvalidJob

Tree: TypeAlias = "dict[str, Tree | str]"

_members_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encoder = msgspec.json.Encoder()
_pairs = json.JSONDecoder(object_pairs_hook=list, parse_int=str, parse_float=str)

_SPECIAL = re.compile(r"\A(?:[:!\[{]|\Z)|[.*?|#@\\]")
_INDEX = re.compile(r"-1|[0-9]+")
_ESCAPED_WHOLE = re.compile(r"[^ !#-\[\]-\x7f]")
_ESCAPED = re.compile('[\x00-\x1f"&<>\\\\\u2028\u2029]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def whole(text: str) -> str:
    """All of the object `text`: its own keys sorted, its values as they are.

    Raises InvalidJob for a key that River does not hash as what it is, or that is there twice.
    """
    found = _members(text)
    for key in found:
        if (problem := key_problem(key)) is not None:
            raise InvalidJob(f"args: {problem}")
    return _written({key: _raw(found[key]) for key in sorted(found)})


def chosen(text: str, paths: Iterable[str]) -> str:
    """What `text` has at `paths`, which are sorted and were found good by `path_problem`.

    What is not there is left out; the empty text if nothing is. Raises InvalidJob for a key on the
    way that is there twice.
    """
    top: Tree = {}
    known = {"": _members(text)}
    for path in paths:
        *parents, last = path.split(".")
        if (raw := _at(known, parents, last)) is None:
            continue
        level = top
        for parent in parents:
            step = level.setdefault(parent, {})
            if isinstance(step, str):
                break  # counted whole already
            level = step
        else:
            level.setdefault(last, raw)
    return _written(top) if top else ""


def path_problem(path: object) -> str | None:
    """Why `path`, keys joined by dots, cannot be counted as River counts it, or None."""
    if not isinstance(path, str):
        return f"must be text, not {type(path).__name__}"
    for key in path.split("."):
        if (problem := key_problem(key)) is not None:
            return problem
        if _INDEX.fullmatch(key) is not None:
            return f"the key {key!r} of a path is an index to River, and no name: rename it"
    return None


@lru_cache(maxsize=4096)
def key_problem(key: str) -> str | None:
    """Why River would not count `key` as what it is, or None."""
    if (found := _SPECIAL.search(key)) is None:
        return None
    if key == "":
        return "an empty key cannot be counted by a unique key: name it"
    where = "begins with" if found.start() == 0 and found.group() in ":![{" else "holds"
    return (
        f"the key {key[:64]!r} {where} {found.group()!r}, which River's unique keys take for a "
        "pattern or a path: rename it, or count only other keys"
    )


def _members(text: str | bytes) -> dict[str, msgspec.Raw]:
    """The members of an object, raw; InvalidJob if one is there twice."""
    found = _members_decoder.decode(text)
    # Of two members the decoder keeps the last, as Postgres does, but River counts the first.
    plain = text.encode() if isinstance(text, str) else text
    if _encoder.encode(found) == plain:
        return found
    seen = set()
    for key, _ in _pairs.decode(plain.decode().strip(" \t\r\n")):
        if key in seen:
            raise InvalidJob(
                f"args: the key {key[:64]!r} is there twice, and Postgres would keep one and "
                "River's unique key count the other: give it once"
            )
        seen.add(key)
    return found


def _at(known: dict[str, dict[str, msgspec.Raw]], parents: list[str], last: str) -> str | None:
    """The raw value at a path, or None. `known` keeps the members of the objects on the way."""
    way = ""
    for parent in parents:
        members, way = known[way], f"{way}.{parent}"
        if way not in known:
            raw = bytes(members.get(parent, b""))
            known[way] = _members(raw) if raw.startswith(b"{") else {}
    raw_value = known[way].get(last)
    return None if raw_value is None else _raw(raw_value)


def _raw(value: msgspec.Raw) -> str:
    return str(value, "utf-8")


def _written(tree: Any) -> str:
    if isinstance(tree, str):
        return tree
    return (
        "{" + ",".join([f"{_quoted(key)}:{_written(value)}" for key, value in tree.items()]) + "}"
    )


@lru_cache(maxsize=4096)
def _quoted(key: str) -> str:
    # River's library copies a key as it is, unless one character makes it have Go quote all of it.
    if _ESCAPED_WHOLE.search(key) is None:
        return f'"{key}"'
    return '"' + _ESCAPED.sub(_escape, key) + '"'


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    return _SHORT.get(character) or f"\\u{ord(character):04x}"
