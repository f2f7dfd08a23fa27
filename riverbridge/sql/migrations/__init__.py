"""The migrations this release ships: River's line `main` and our own line `riverbridge`.

Each version is a pair of files `<line>/NNN_name.up.sql` and `.down.sql`, and is run as one
transaction (contract 1.3). `/* schema */` stands for the schema, as in every other statement.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from riverbridge.sql import MARKER, qualifier

MAIN = "main"
BRIDGE = "riverbridge"
LINES = (MAIN, BRIDGE)
"""The lines in the order they are applied; `riverbridge` needs `main` version 5."""

Direction = Literal["up", "down"]

_FILE = re.compile(r"([0-9]{3})_([a-z0-9_]+)\.(up|down)\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One version of a line. `up` and `down` still hold the schema marker."""

    line: str
    version: int
    name: str
    """For people: the file name's words."""
    up: str
    down: str

    def sql(self, direction: Direction, schema: str | None = None) -> str:
        """The statements for `schema`; without one the search path decides."""
        text = self.up if direction == "up" else self.down
        return text.replace(MARKER, qualifier(schema)).strip()


@cache
def migrations(line: str) -> tuple[Migration, ...]:
    """The shipped versions of `line`, ascending. Read once per process.

    Raises ValueError for another line, for a file name that says nothing and for half a pair.
    """
    if line not in LINES:
        raise ValueError(f"no migration line {line!r} here; there are {', '.join(LINES)}")
    pairs: dict[tuple[int, str], dict[str, str]] = {}
    for file in files(__name__).joinpath(line).iterdir():
        if not file.name.endswith(".sql"):
            continue
        found = _FILE.fullmatch(file.name)
        if found is None:
            raise ValueError(f"migration file {line}/{file.name} is not NNN_name.up|down.sql")
        number, name, direction = found.groups()
        pairs.setdefault((int(number), name), {})[direction] = file.read_text(encoding="utf-8")
    return tuple(_pair(line, *key, pairs[key]) for key in sorted(pairs))


def _pair(line: str, version: int, name: str, texts: dict[str, str]) -> Migration:
    if len(texts) != 2:
        raise ValueError(f"migration {line}/{version:03}_{name} lacks its up or its down file")
    return Migration(line, version, name.replace("_", " "), texts["up"], texts["down"])
