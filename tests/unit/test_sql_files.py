"""The SQL files: one statement each, every name of ours behind the marker, no value inside."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from riverbridge import sql

FOLDER = Path(sql.__file__).parent
FILES = sorted(
    path for path in FOLDER.rglob("*.sql") if "migrations" not in path.relative_to(FOLDER).parts
)


def name(path: Path) -> str:
    return str(path.relative_to(FOLDER).with_suffix(""))


def whole(path: Path) -> str:
    """The text of the file, with what it includes in its place."""
    return re.sub(
        r"/\* include (\S+) \*/",
        lambda found: whole(FOLDER / f"{found.group(1)}.part"),
        path.read_text(encoding="utf-8"),
    )


def commentless(path: Path) -> str:
    return re.sub(r"--[^\n]*", "", whole(path))


def bare(path: Path) -> str:
    """The statement without comments (but the marker) and without the inside of literals."""
    return re.sub(r"'(?:[^']|'')*'", "''", commentless(path))


def test_there_are_files() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_table_type_and_function_of_ours_has_the_marker(path: Path) -> None:
    text = bare(path).replace(sql.MARKER, "\u2020")
    # A name that qualifies a column is no place for a schema.
    names = re.findall(r"(?<![\w.])(\u2020?)((?:river|riverbridge)_\w+)\b(?!\s*\.)", text)
    assert [found for marker, found in names if not marker] == []


@pytest.mark.parametrize("path", FILES, ids=name)
def test_every_file_is_one_statement_for_named_parameters(path: Path) -> None:
    text = bare(path)
    assert ";" not in text.strip().rstrip(";")
    left = re.sub(r"%\(\w+\)[sb]|%%", "", text)
    assert "%" not in left
    assert "{" not in left
    literals = re.findall(r"'(?:[^']|'')*'", commentless(path))
    assert "%" not in "".join(literals).replace("%%", "")


@pytest.mark.parametrize("path", FILES, ids=name)
def test_the_schema_is_quoted_and_nothing_is_left_of_the_marker(path: Path) -> None:
    plain = sql.statement(name(path))
    assert sql.MARKER.encode() not in plain
    marked = whole(path).count(sql.MARKER)
    assert sql.statement(name(path), 'a"b').count(b'"a""b".') == marked


def test_every_file_is_used() -> None:
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (FOLDER.parent).rglob("*.py"))
    unused = [
        name(path)
        for path in FILES
        if f'"{name(path)}"' not in sources
        and f'"{path.stem.removesuffix("_unlined")}"' not in sources
    ]
    assert unused == []


def test_a_name_that_is_not_there() -> None:
    with pytest.raises(FileNotFoundError):
        sql.statement("job/none")
