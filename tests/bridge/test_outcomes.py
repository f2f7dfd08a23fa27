"""What each outcome of a sink leaves in the row, says in the log, and says at `/readyz`."""

from __future__ import annotations

import logging

import pytest

from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
)
from tests.support.bridge import ScriptedSink, running_bridge
from tests.support.database import Database
from tests.support.jobs import add, row
from tests.support.wait import eventually

CLAIMED_NO_MORE = "nothing more is claimed for it, no attempts are spent: because"


@pytest.mark.parametrize(
    ("outcome", "state", "attempt", "errors", "says"),
    [
        (Delivered(), "completed", 1, [], ""),
        (Retry("because"), "retryable", 1, ["out: because"], ""),
        (Retry("because", ambiguous=True), "retryable", 1, ["out: because"], ""),
        (Permanent("because"), "discarded", 1, ["out: because"], ""),
        (Snoozed(60.0), "scheduled", 0, [], ""),
        (
            Unreachable("because"),
            "available",
            0,
            [],
            f"sink out does not answer; {CLAIMED_NO_MORE}",
        ),
        (
            Misconfigured("because"),
            "available",
            0,
            [],
            f"sink out is misconfigured; {CLAIMED_NO_MORE}",
        ),
    ],
    ids=lambda given: type(given).__name__ if isinstance(given, Outcome) else "",
)
def test_what_an_outcome_leaves_and_says(
    database: Database,
    caplog: pytest.LogCaptureFixture,
    outcome: Outcome,
    state: str,
    attempt: int,
    errors: list[str],
    says: str,
) -> None:
    caplog.set_level(logging.WARNING, "riverbridge")
    sink = ScriptedSink(lambda message: outcome)
    env = {
        "ROUTES__R__QUEUES": "outbox",
        "ROUTES__R__RETRY": "fixed",
        "ROUTES__R__RETRY_DELAY": "60",
    }
    with database.connect() as connection, running_bridge(database, {"out": sink}, env) as bridge:
        id_ = add(connection, queue="'outbox'")
        eventually(lambda: sink.received and row(connection, id_)["state"] == state)
        eventually(lambda: bridge.checks()["sink-out"] == ("breaker open" if says else None))
        found = row(connection, id_)
    assert (found["state"], found["attempt"]) == (state, attempt)
    assert [error["error"] for error in found["errors"] or []] == errors
    told = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [text for text in told if text.startswith("sink out")] == ([says] if says else [])
