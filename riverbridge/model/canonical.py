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
from typing import TypeAlias

import msgspec

from riverbridge.errors import InvalidJob

Members: TypeAlias = dict[str, msgspec.Raw]
Tree: TypeAlias = "dict[str, Tree | msgspec.Raw]"

_object = msgspec.json.Decoder(Members)
_encode = msgspec.json.Encoder().encode
_pairs = json.JSONDecoder(object_pairs_hook=list, parse_int=str, parse_float=str)

_SPECIAL = re.compile(r"\A(?:[:!\[{]|\Z)|[.*?|#@\\]")
_INDEX = re.compile(r"-1|[0-9]+")
_ESCAPED_WHOLE = re.compile(r"[^ !#-\[\]-\x7f]")
_ESCAPED = re.compile('[\x00-\x1f"&<>\\\\\u2028\u2029]')
_SHORT = {'"': '\\"', "\\": "\\\\", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t"}


def whole(text: str) -> bytes:
    """All of the object `text`: its own keys sorted, its values as they are.

    Raises InvalidJob for a key that River does not hash as what it is, or that is there twice.
    """
    return _written(_members(text.encode()), sort=True)


def chosen(text: str, paths: Iterable[str]) -> bytes:
    """What `text` has at `paths`, which are sorted and were found good by `path_problem`.

    What is not there is left out; the empty text if nothing is. Raises InvalidJob for a key on the
    way that is there twice.
    """
    top: Tree = {}
    known: dict[tuple[str, ...], Members] = {(): _members(text.encode())}
    for path in paths:
        *parents, last = path.split(".")
        raw = _at(known, parents).get(last)
        if raw is None:
            continue
        level = top
        for parent in parents:
            step = level.setdefault(parent, {})
            if not isinstance(step, dict):
                break  # counted whole already
            level = step
        else:
            level.setdefault(last, raw)
    return _written(top) if top else b""


def path_problem(path: object) -> str | None:
    """Why `path`, keys joined by dots, cannot be counted as River counts it, or None."""
    if not isinstance(path, str):
        return f"must be text, not {type(path).__name__}"
    return next(filter(None, map(name_problem, path.split("."))), None)


def name_problem(name: str) -> str | None:
    """Why River would not count the key `name` of a path as what it is, or None."""
    if (problem := key_problem(name)) is None and _INDEX.fullmatch(name) is not None:
        return f"the key {name!r} of a path is an index to River, and no name: rename it"
    return problem


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


def _members(text: bytes) -> Members:
    """The members of an object, raw. Raises InvalidJob if one is there twice."""
    found = _object.decode(text)
    # Of two members the decoder keeps the last, as Postgres does, but River counts the first.
    if _encode(found) != text:
        seen = set()
        for key, _ in _pairs.decode(text.decode().strip()):
            if key in seen:
                raise InvalidJob(
                    f"args: the key {key[:64]!r} is there twice, and Postgres would keep one and "
                    "River's unique key count the other: give it once"
                )
            seen.add(key)
    return found


def _at(known: dict[tuple[str, ...], Members], parents: list[str]) -> Members:
    """The members of the object that is the value of the last of `parents`; none if there is none.

    known: those of the objects that were on the way to others.
    """
    way: tuple[str, ...] = ()
    for parent in parents:
        members, way = known[way], (*way, parent)
        if way not in known:
            raw = bytes(members.get(parent, b""))
            known[way] = _members(raw) if raw.startswith(b"{") else {}
    return known[way]


def _written(tree: Tree | Members, *, sort: bool = False) -> bytes:
    parts: list[bytes | msgspec.Raw] = []
    for key in sorted(tree) if sort else tree:
        value = tree[key]
        parts.append(_label(key))
        parts.append(_written(value) if isinstance(value, dict) else value)
    # The label before the first value needs no comma.
    return b"{" + b"".join(parts)[1:] + b"}"


@lru_cache(maxsize=4096)
def _label(key: str) -> bytes:
    """What stands before a value: a comma, its key and a colon."""
    if (problem := key_problem(key)) is not None:
        raise InvalidJob(f"args: {problem}")
    # River's library copies a key as it is, unless one character makes it have Go quote all of it.
    text = key if _ESCAPED_WHOLE.search(key) is None else _ESCAPED.sub(_escape, key)
    return f',"{text}":'.encode()


def _escape(found: re.Match[str]) -> str:
    character = found.group()
    return _SHORT.get(character) or f"\\u{ord(character):04x}"
