"""The console in a browser: the keys, the confirmation, what is live."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from riverbridge.service import serve_console
from riverbridge.settings import load
from tests.support.browser import Browser
from tests.support.console import insert
from tests.support.database import Database
from tests.support.wait import eventually


@pytest.fixture
def site(tables: Database) -> Iterator[str]:
    """Where the console is served, as `riverbridge console` serves it."""
    env = {"DATABASE_URL": tables.dsn, "RIVERBRIDGE_HTTP__PORT": "0"}
    stop, said = threading.Event(), list[str]()
    serving = threading.Thread(
        target=serve_console, args=(load(env, None, None), stop, said.append)
    )
    serving.start()
    try:
        eventually(lambda: said)
        yield said[0].rpartition(" ")[2].rstrip("/")
    finally:
        stop.set()
        serving.join()


def test_at_two_in_the_morning(
    site: str, window: Browser, tables: Database, look: psycopg.Connection[Any]
) -> None:
    def sees(*texts: str) -> None:
        eventually(lambda: all(text in window.text() for text in texts))

    def state(id: int) -> str:
        row = look.execute("SELECT state::text FROM river_job WHERE id = %s", [id]).fetchone()
        return "" if row is None else str(row[0])

    payload = "<script>document.title = 'taken'</script>"
    first = insert(look, kind="mail", state="discarded", args={"text": payload})
    second = insert(look, kind="order", state="discarded")
    window.open(f"{site}/jobs?state=discarded")
    sees("mail", "order", payload, "Live")
    late = insert(look, kind="late", state="discarded")
    sees("late")  # by itself
    window.press("j", "j", "x", "r")  # the second row: the newest is first
    sees("Retry 1 job?", "Held")
    assert state(second) == "discarded"
    eventually(lambda: window.clicked("//dialog[@open]//button[@value='yes']"))
    sees("1 job made available")
    assert (state(second), state(first), state(late)) == ("available", "discarded", "discarded")
    window.press("/", "kind:mail", "\ue007")
    sees("mail")
    eventually(lambda: "order" not in window.text())
    eventually(lambda: window.clicked("//a[b='mail']"))
    sees(payload, "What happened", f"Jobs / {first}")
    assert "taken" not in window.title()
    assert window.logged() == []
