"""The statements in the ways other drivers mark a parameter; each is translated once."""

from __future__ import annotations

import re
from functools import cache

from riverbridge.sql import statement

_MARK = re.compile(r"%\((\w+)\)[sb]|%%")


@cache
def named(name: str, schema: str | None) -> str:
    """With `%(name)s` for every parameter, as psycopg2 has it."""
    return _MARK.sub(
        lambda found: f"%({found.group(1)})s" if found.group(1) else "%%",
        statement(name, schema).decode(),
    )


@cache
def numbered(name: str, schema: str | None) -> tuple[str, tuple[str, ...]]:
    """With `$1`, `$2` …, as asyncpg has it, and the names that the numbers stand for."""
    numbers: dict[str, int] = {}

    def number(found: re.Match[str]) -> str:
        if not found.group(1):
            return "%"
        return f"${numbers.setdefault(found.group(1), len(numbers) + 1)}"

    return _MARK.sub(number, statement(name, schema).decode()), tuple(numbers)
