"""How long each statement of a program took, by the names of the files in `riverbridge/sql`."""

from __future__ import annotations

import inspect
import threading
import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

import riverbridge.sql
from riverbridge.sql import statement


class Took(NamedTuple):
    """One statement. seconds: until its last row was here. busy: those for which its server process
    had a processor, or None where the system does not tell."""

    name: str
    seconds: float
    busy: float | None


class Stopwatch:
    """What the connections took that it opened; for several threads."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._lock = threading.Lock()
        self._took: list[Took] = []

    def connect(self) -> psycopg.Connection[Any]:
        """A connection as `riverbridge.store.database.connector` opens them."""
        watched: type[_Watched] = type("Watched", (_Watched,), {"watch": self})
        return watched.connect(self._dsn, autocommit=True, prepare_threshold=2)

    def add(self, took: Took) -> None:
        with self._lock:
            self._took.append(took)

    def taken(self) -> list[Took]:
        """The statements since the last time it was asked."""
        with self._lock:
            taken, self._took = self._took, []
        return taken


class _Watched(psycopg.Connection[Any]):
    watch: Stopwatch

    def wait(self, gen: Any, *args: Any, **options: Any) -> Any:
        """All that a connection sends goes through here; a cursor's generator knows its query."""
        query = inspect.getgeneratorlocals(gen).get("query") if inspect.isgenerator(gen) else None
        busy, started = self._busy(), time.perf_counter()
        try:
            return super().wait(gen, *args, **options)
        finally:
            seconds, after = time.perf_counter() - started, self._busy()
            if query is not None:
                used = None if busy is None or after is None else after - busy
                text = query if isinstance(query, bytes) else str(query).encode()
                self.watch.add(Took(_name(text), seconds, used))

    def _busy(self) -> float | None:
        if not hasattr(self, "_file"):
            self._file = Path(f"/proc/{self.info.backend_pid}/schedstat")
        try:
            return int(self._file.read_text().split()[0]) / 1e9
        except OSError:
            return None


def _name(query: bytes) -> str:
    return _names().get(query, query[:40].decode())


@cache
def _names() -> dict[bytes, str]:
    root = Path(riverbridge.sql.__file__).parent
    files = [file.relative_to(root).with_suffix("") for file in root.rglob("*.sql")]
    return {statement(str(name)): str(name) for name in files if name.parts[0] != "migrations"}
