"""Where the tests' servers keep their files."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.memory import keep_files_in_memory


@pytest.fixture
def unset(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Nobody has said where to; and what the test sets is gone afterwards."""
    monkeypatch.setenv("TMPDIR", "")
    monkeypatch.setenv("PYTEST_DEBUG_TEMPROOT", "")
    del os.environ["TMPDIR"], os.environ["PYTEST_DEBUG_TEMPROOT"]
    yield
    tempfile.tempdir = None


def test_servers_use_memory_and_what_pytest_keeps_stays(unset: None, tmp_path: Path) -> None:
    before = tempfile.gettempdir()
    assert keep_files_in_memory(tmp_path, room=1)
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(tmp_path)
    assert os.environ["PYTEST_DEBUG_TEMPROOT"] == before


@pytest.mark.parametrize(("name", "room"), [("missing", 1), ("", 1 << 60)], ids=["none", "small"])
def test_without_enough_of_it_nothing_changes(
    unset: None, tmp_path: Path, name: str, room: int
) -> None:
    assert not keep_files_in_memory(tmp_path / name, room)
    assert "TMPDIR" not in os.environ


def test_what_is_given_is_kept(
    unset: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", "/elsewhere")
    assert not keep_files_in_memory(tmp_path, room=1)
    assert os.environ["TMPDIR"] == "/elsewhere"
