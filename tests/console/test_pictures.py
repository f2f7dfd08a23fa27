"""The pictures in the docs: the console with a shop's jobs, in the window of a browser.

`make pictures` sets RIVERBRIDGE_TEST_PICTURES to the directory they are written to; without it they
are only taken.
"""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

import psycopg

from riverbridge.model.history import BOUNDS
from tests.console.test_browser import site
from tests.support.browser import Browser
from tests.support.console import insert
from tests.support.database import Database
from tests.support.wait import eventually

__all__ = ["site"]  # a fixture

ERRORS = (
    "broker did not answer within 10 s (Local: Message timed out)",
    "HTTP 503 from https://hooks.example.com/orders: upstream connect error",
    "KeyError: 'customer'",
)
TRACE = """Traceback (most recent call last):
  File "shop.py", line 12, in ship
    send(job.args["customer"])
KeyError: 'customer'"""
STATES = ["completed"] * 20 + ["available"] * 5 + ["retryable"] * 3 + ["discarded"] * 2
STATES += ["running"] * 2 + ["cancelled", "scheduled"]


def a_shop(connection: psycopg.Connection[Any]) -> None:
    """The same jobs each time, but for when they were."""
    chance = random.Random(3)
    for n in range(160):
        state = chance.choice(STATES)
        attempt = 0 if state in ("available", "scheduled") else chance.randint(1, 4)
        failed = attempt if state in ("retryable", "discarded") else max(0, attempt - 1)
        insert(
            connection,
            kind=chance.choice(["order.placed", "order.cancelled", "invoice.issued", "mail.send"]),
            queue=chance.choice(["default", "outbox", "mail"]),
            state=state,
            attempt=attempt,
            age=chance.random() * 8000,
            tags=chance.choice([[], ["eu"], ["vip", "eu"]]),
            args={"order_id": 1000 + n, "customer": {"id": n % 7, "name": "Ann Ångström"}},
            attempted_by=["riverbridge_web-1_9c1"] * attempt,
            errors=[
                {"at": f"2026-11-20T16:{10 + i}:04Z", "attempt": i + 1, "trace": TRACE}
                | {"error": chance.choice(ERRORS)}
                for i in range(failed)
            ],
        )
    for minute in range(60):
        run = [0] * (len(BOUNDS) + 1)
        run[4], run[6], run[8] = 60, chance.randint(20, 40), chance.randint(1, 9)
        jobs = 900 + 300 * (minute % 17 > 12) + chance.randint(-90, 90)
        connection.execute(
            "INSERT INTO riverbridge_history (step, at, facet, name, inserted, completed, failed,"
            " wait, run, available, oldest)"
            " SELECT 60, date_trunc('minute', now()) - make_interval(mins => %(minute)s), facet,"
            " name, %(jobs)s, %(jobs)s - 9, %(failed)s, %(run)s, %(run)s, %(waiting)s,"
            " %(waiting)s / 300.0"
            " FROM (VALUES ('all', ''), ('queue', 'outbox'), ('kind', 'order.placed'))"
            " AS what (facet, name)",
            {
                "minute": minute + 1,
                "jobs": jobs,
                "failed": chance.randint(0, 40),
                "waiting": chance.randint(0, 400),
                "run": run,
            },
        )
    connection.execute("ANALYZE river_job")


def test_the_pages_that_the_docs_show(
    site: str, window: Browser, tables: Database, look: psycopg.Connection[Any]
) -> None:
    a_shop(look)
    wanted = os.environ.get("RIVERBRIDGE_TEST_PICTURES")

    def show(name: str, path: str, *texts: str, theme: str = "light") -> None:
        window.open(f"{site}/")
        window.run("localStorage.setItem('riverbridge-theme', arguments[0])", theme)
        window.open(f"{site}{path}")
        eventually(lambda: all(text in window.text() for text in texts))
        picture = window.picture()
        assert picture.startswith(b"\x89PNG")
        if wanted:
            Path(wanted, f"{name}.png").write_bytes(picture)

    row = look.execute("SELECT max(id) FROM river_job WHERE state = 'discarded'").fetchone()
    assert row is not None
    show("overview", "/", "order.placed", theme="dark")
    show("jobs", "/jobs", "invoice.issued", "discarded")
    show("job", f"/jobs/{row[0]}", "What happened", "Attempts")
    assert window.logged() == []
