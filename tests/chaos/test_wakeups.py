"""Announcements are hints: forged ones do no harm, and without any jobs are found by looking."""

from __future__ import annotations

import time
from collections.abc import Mapping

import pytest

from tests.chaos.processes import Scene
from tests.support.bridge import ScriptedSink, running_bridge
from tests.support.wait import eventually

FORGED = [
    "",
    "{",
    "null",
    "[]",
    '"outbox"',
    '{"queue": 5}',
    '{"queue": null}',
    '{"queue": "' + "x" * 7000 + '"}',
    '{"queue": "nobody"}',
    '{"queue": "outbox", "action": "pause"}',
    '{"action": "explode", "queue": "*"}',
    "[" * 3000,
    '{"queue": "outbox"}',
]


def test_a_storm_of_forged_announcements_does_no_harm(scene: Scene) -> None:
    process = scene.start("one").until_serving()
    eventually(lambda: scene.sessions("% listener") == 1)
    for topic in ("river_insert", "river_leadership"):
        for payload in FORGED * 100:
            scene.connection.execute(
                "SELECT pg_notify(current_schema() || '.' || %s, %s)", (topic, payload)
            )
    ids = scene.insert(100)
    scene.until({"completed": 100})
    assert scene.ledger.counts() == dict.fromkeys(ids, 1)
    assert process.running
    assert not process.said("died")
    assert not process.said("lost the listening connection")


def test_a_storm_of_announcements_keeps_the_claims_in_bounds(scene: Scene) -> None:
    claims = (
        "SELECT coalesce(sum(calls), 0) FROM"
        " (SELECT idx_scan AS calls FROM pg_stat_user_tables WHERE relname = 'river_job') AS t"
    )
    scene.start("one").until_serving()
    eventually(lambda: scene.sessions("% listener") == 1)
    began = time.monotonic()
    before = _scans(scene, claims)
    while time.monotonic() - began < 2:
        scene.connection.execute(
            "SELECT pg_notify(current_schema() || '.river_insert', '{\"queue\": \"outbox\"}')"
        )
    seconds = time.monotonic() - began
    eventually(lambda: scene.sessions("% listener") == 1)
    # Each claim looks at four priorities; about 200 claims a second are allowed.
    assert (_scans(scene, claims) - before) / seconds < 4 * 260


def _scans(scene: Scene, query: str) -> int:
    row = scene.connection.execute(query.encode()).fetchone()
    assert row is not None
    return int(row[0])


@pytest.mark.parametrize(
    ("poll", "env"),
    [(0.3, {"LISTEN": "false"}), (0.3, {"POOLER": "true"}), (1.0, {})],
    ids=["polling", "pooler", "listening-in-vain"],
)
def test_without_announcements_a_job_is_found_by_looking(
    scene: Scene, poll: float, env: Mapping[str, str]
) -> None:
    sink = ScriptedSink()
    settings = dict(env) | {"POLL_INTERVAL": str(poll)}
    with running_bridge(scene.database, {"test": sink}, settings):
        for _ in range(5):
            before = len(sink.received)
            inserted = time.monotonic()
            scene.insert(1)
            eventually(lambda count=before: len(sink.received) > count)  # type: ignore[misc]
            assert sink.received[before][0] - inserted < poll + 0.5
