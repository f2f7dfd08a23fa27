"""One row among a thousand that Postgres will not let us write: it holds up nobody else."""

from __future__ import annotations

import signal

import pytest

from riverbridge.bridge.route import Unmatched
from riverbridge.engine.batch import Feed
from riverbridge.engine.settling import Aside
from riverbridge.model.retry import RiverRetry
from tests.chaos.processes import Scene
from tests.support.wait import eventually

JOBS = 1000

RAISES = "RAISE EXCEPTION 'this row is not to be written'"
SWALLOWS = "RETURN NULL"

LOCKED: dict[str, str] = {}
BECOMES_LEASES = {"RIVERBRIDGE_HOLD": "0.2"}
LEASED_FIRST = {
    "RIVERBRIDGE_ROUTES__ALL__QUEUES": "outbox",
    "RIVERBRIDGE_ROUTES__ALL__CLAIM": "lease",
}


def _guard_row(scene: Scene, id_: int, body: str, when: str = "true") -> None:
    scene.connection.execute(
        f"""
        CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body}; END $$;
        CREATE TRIGGER guard BEFORE UPDATE ON river_job FOR EACH ROW
        WHEN (new.id = {id_} AND {when}) EXECUTE FUNCTION guard();
        """
    )


def _batch_of(scene: Scene, id_: int) -> tuple[object, ...] | None:
    """What the rows of one claim have in common: the instant of its transaction."""
    return scene.connection.execute(
        "SELECT attempted_at FROM river_job WHERE id = %s", (id_,)
    ).fetchone()


@pytest.mark.parametrize("body", [RAISES, SWALLOWS], ids=["raises", "swallows"])
@pytest.mark.parametrize(
    ("environment", "delay"),
    [(LOCKED, 0.0), (BECOMES_LEASES, 0.6), (LEASED_FIRST, 0.0)],
    ids=["locked", "becomes-leases", "leased-first"],
)
def test_a_row_that_cannot_be_written_holds_up_no_other(
    scene: Scene, body: str, environment: dict[str, str], delay: float
) -> None:
    ids = scene.insert(JOBS)
    bad = ids[300]
    _guard_row(scene, bad, body)
    process = scene.start("one", environment, delay=delay)
    scene.until({"completed": JOBS - 1, "available": 1}, 30)
    eventually(lambda: process.said(f"job {bad} ", "left alone for 60 s"))
    # What follows is still served, and the bad row is not taken again with it.
    after = scene.insert(10)
    scene.until({"completed": JOBS + 9, "available": 1})
    process.send(signal.SIGTERM)
    assert process.wait(20) == 0
    counts = scene.ledger.counts("begin")
    assert counts.pop(bad, 0) <= 1
    assert counts == dict.fromkeys({*ids, *after} - {bad}, 1)
    assert _batch_of(scene, bad - 1) == _batch_of(scene, bad + 1)


@pytest.mark.parametrize("body", [RAISES, SWALLOWS], ids=["raises", "swallows"])
def test_a_lease_that_cannot_be_settled_stays_ours_and_is_tried_again(
    scene: Scene, body: str
) -> None:
    ids = scene.insert(JOBS)
    bad = ids[300]
    _guard_row(scene, bad, body, "new.state <> 'running'")
    process = scene.start("one", LEASED_FIRST)
    scene.until({"completed": JOBS - 1, "running": 1}, 30)
    eventually(lambda: process.said(f"job {bad} ", "left alone for 60 s"))
    assert scene.ledger.counts() == dict.fromkeys(ids, 1)


@pytest.mark.every_major
def test_a_job_at_the_last_attempt_number_is_delivered_once_and_keeps_it(scene: Scene) -> None:
    ids = scene.insert(JOBS, max_attempts=32767)
    bad = ids[300]
    scene.connection.execute("UPDATE river_job SET attempt = 32767 WHERE id = %s", (bad,))
    process = scene.start("one")
    scene.until({"completed": JOBS}, 30)
    assert scene.ledger.counts() == dict.fromkeys(ids, 1)
    assert scene.connection.execute(
        "SELECT attempt FROM river_job WHERE id = %s", (bad,)
    ).fetchone() == (32767,)
    assert process.said(f"job {bad} is at attempt 32767", "the number stays")


@pytest.mark.every_major
def test_an_error_text_that_postgres_cannot_hold_is_made_valid(scene: Scene) -> None:
    ids = scene.insert(JOBS, max_attempts=1)
    bad = ids[300]
    fail = {str(bad): "retry: before\x00after \ud800" + "x" * 10_000}
    scene.start("one", fail=fail)
    scene.until({"completed": JOBS - 1, "discarded": 1}, 30)
    assert scene.ledger.counts() == dict.fromkeys(ids, 1)
    row = scene.connection.execute(
        "SELECT errors[1] ->> 'error' FROM river_job WHERE id = %s", (bad,)
    ).fetchone()
    assert row is not None
    assert "before\\u0000after \\ud800x" in row[0]
    assert len(row[0].encode()) <= 4096
    assert _batch_of(scene, bad) == _batch_of(scene, bad + 1)


def test_a_row_is_left_alone_a_minute_and_twice_as_long_each_time(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 0.0
    aside = Aside(lambda: now)
    feed = Feed("all", "outbox", Unmatched(), RiverRetry())
    for rest in (60, 120, 240, 480, 960, 1920, 3600, 3600):
        aside.add(7, feed, "why")
        now += rest - 1
        assert aside.ids() == [7]
        now += 1
        assert aside.ids() == []
        assert f"left alone for {rest} s: why" in caplog.messages[-1]
    now += 3601
    aside.ids()
    aside.add(7, feed, "why")
    assert "left alone for 60 s" in caplog.messages[-1]


@pytest.mark.parametrize("body", [RAISES, SWALLOWS], ids=["raises", "swallows"])
def test_a_lease_of_a_dead_process_that_cannot_be_taken_back_holds_up_no_other(
    scene: Scene, body: str
) -> None:
    died = scene.start("died", LEASED_FIRST, delay=60).until_serving()
    ids = scene.insert(20)
    bad = ids[7]
    scene.until({"running": 20})
    died.send(signal.SIGKILL)
    _guard_row(scene, bad, body)
    # As if it had been silent for long: the other process need not wait for that.
    scene.connection.execute("UPDATE riverbridge_process SET heartbeat_at = now() - interval '1h'")
    process = scene.start("one", LEASED_FIRST)
    scene.until({"completed": 19, "running": 1}, 20)
    # Several rescue rounds later there is still one report.
    rounds = eventually(lambda: _beats(scene, 2))
    eventually(lambda: _beats(scene, rounds + 2))
    reports = [line for line in process.messages() if f"job {bad} " in line]
    assert len(reports) == 1
    assert "left alone for 60 s" in reports[0]


def _beats(scene: Scene, least: int) -> int:
    """Which whole second of its life the newest process's heartbeat is in, if at least `least`."""
    row = scene.connection.execute(
        "SELECT extract(epoch FROM heartbeat_at - started_at)::int FROM riverbridge_process"
        " ORDER BY started_at DESC LIMIT 1"
    ).fetchone()
    assert row is not None
    assert row[0] >= least
    return int(row[0])
