"""How the demo comes to its worker in Go, with a `go` that does as a test wants it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from riverbridge.demo.go_worker import NotBuilt, find_worker

BUILDS = 'while [ "$1" != -o ]; do shift; done; echo "#!/bin/sh" > "$2"; chmod +x "$2"'


class Finder:
    """Looks for the worker. go: what a `go` does, as a shell script; None has none."""

    def __init__(self, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.said: list[str] = []
        self._home = home
        monkeypatch.setenv("PATH", f"{home}/bin:/usr/bin:/bin")
        monkeypatch.setenv("XDG_CACHE_HOME", str(home / "cache"))
        (home / "bin").mkdir()

    def __call__(
        self, go: str | None, stopped: Callable[[], bool] = lambda: False, limit: float = 20.0
    ) -> Path:
        program = self._home / "bin" / "go"
        program.unlink(missing_ok=True)
        if go is not None:
            program.write_text(f"#!/bin/sh\n{go}\n")
            program.chmod(0o700)
        return find_worker(self._home / "log", stopped, self.said.append, limit)

    def left(self) -> list[str]:
        """What lies in the cache."""
        return [path.name for path in (self._home / "cache" / "riverbridge").glob("*")]


@pytest.fixture
def finder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Finder:
    return Finder(tmp_path, monkeypatch)


def test_it_is_built_once_and_kept(finder: Finder) -> None:
    program = finder(BUILDS)
    assert program.read_text() == "#!/bin/sh\n"
    assert finder("exit 1") == program
    assert len(finder.said) == 1
    assert finder.left() == [program.name]


def test_without_go_there_is_none(finder: Finder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NotBuilt, match="Go is not on the PATH"):
        finder(None)
    assert finder.said == []


def test_a_build_that_fails_says_why_and_leaves_nothing(finder: Finder) -> None:
    with pytest.raises(NotBuilt, match=r"^no such module$"):
        finder("echo first; echo no such module; exit 1")
    assert finder.left() == []


def test_a_build_that_takes_too_long_or_is_interrupted_is_ended(finder: Finder) -> None:
    with pytest.raises(NotBuilt, match="longer than 0 s"):
        finder("sleep 60 & wait", limit=0.1)
    with pytest.raises(NotBuilt, match="interrupted"):
        finder("sleep 60 & wait", stopped=lambda: True)
    assert finder.left() == []
