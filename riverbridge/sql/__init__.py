"""River's tables, one statement a file.

Each file is plain SQL for psycopg with named parameters. `/* schema */` before a table, type or
function stands for the schema: nothing where it is left to the search path, else the quoted name
and a dot. `/* include job/filter */` stands for `job/filter.part`, which statements share. Values
never become part of a statement.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files

MARKER = "/* schema */"
_INCLUDE = re.compile(r"/\* include ([\w/]+) \*/")


def qualifier(schema: str | None) -> str:
    """What stands before a name: `""`, or `"schema".` with embedded quotes doubled."""
    return "" if not schema else '"' + schema.replace('"', '""') + '".'


@cache
def statement(name: str, schema: str | None = None) -> bytes:
    """The statement in `<name>.sql`, for `schema`. Read once per process.

    Raises FileNotFoundError for a name that is not there.
    """
    text = _included(_text(f"{name}.sql"))
    return text.replace(MARKER, qualifier(schema)).encode()


def _included(text: str) -> str:
    return _INCLUDE.sub(lambda found: _included(_text(f"{found.group(1)}.part")), text)


def _text(file: str) -> str:
    return files(__name__).joinpath(file).read_text(encoding="utf-8")
