"""Globs over kinds and queues: `*` stands for any run of characters, also none; else for itself.

There is no escape: a kind that itself holds `*` can only be matched by the wildcard.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache


def matches(patterns: Iterable[str], kind: str) -> bool:
    """Whether any of `patterns` matches the whole of `kind`; takes time linear in its length."""
    return any(_matches(pattern, kind) for pattern in patterns)


def intersect(a: str, b: str) -> bool:
    """Whether there is a text that both globs match."""
    # possible[j]: the rest of `a` from the current character and the rest of `b` from j meet.
    possible = [False] * len(b) + [True]
    for j in range(len(b) - 1, -1, -1):
        possible[j] = b[j] == "*" and possible[j + 1]
    for char in reversed(a):
        below, possible = possible, [False] * (len(b) + 1)
        possible[len(b)] = char == "*" and below[len(b)]
        for j in range(len(b) - 1, -1, -1):
            if char == "*" or b[j] == "*":
                possible[j] = below[j] or possible[j + 1]
            else:
                possible[j] = char == b[j] and below[j + 1]
    return possible[0]


def exactness(pattern: str) -> tuple[bool, int]:
    """How much a pattern says: a name without `*` above every glob, else the longer the more."""
    return "*" not in pattern, len(pattern) - pattern.count("*")


def to_like(pattern: str) -> str:
    r"""The same glob as a pattern for SQL's LIKE with its default escape, the backslash."""
    escaped = pattern.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return escaped.replace("*", "%")


def to_regex(pattern: str, unless: Iterable[str] = ()) -> str:
    """The same glob as an expression for `re` and for Postgres; what also matches `unless` is not
    meant."""
    others = "|".join(map(_regex, unless))
    return f"^{f'(?!(?:{others})$)' if others else ''}{_regex(pattern)}$"


def _regex(pattern: str) -> str:
    return ".*".join(map(re.escape, pattern.split("*")))


@lru_cache(maxsize=1024)
def _pieces(pattern: str) -> tuple[str, ...]:
    return tuple(pattern.split("*"))


def _matches(pattern: str, text: str) -> bool:
    first, *rest = _pieces(pattern)
    if not rest:
        return text == first
    last = rest.pop()
    if len(text) < len(first) + len(last) or not text.startswith(first):
        return False
    end = len(text) - len(last)
    if text[end:] != last:
        return False
    # The leftmost place of each piece leaves the most room for those after it.
    at = len(first)
    for piece in rest:
        found = text.find(piece, at, end)
        if found < 0:
            return False
        at = found + len(piece)
    return True
