"""Replays on a real database: what is selected, what becomes of it, and that each job goes once."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import psycopg
import pytest

from riverbridge.bridge import replay as module
from riverbridge.bridge.replay import BATCH, PATIENCE, Replayer, Step
from riverbridge.embedded.process import plain_environment
from riverbridge.errors import ReplayError
from riverbridge.model.replay import Replay, ReplayFilter, ReplayRoute, plan_replay
from riverbridge.store.jobs import JobTable
from tests.support.bridge import ScriptedSink, job_id, running_bridge
from tests.support.database import Database
from tests.support.jobs import add, claim, fill, row
from tests.support.running import at_once
from tests.support.wait import eventually

DONE = {"state": "'completed'", "finalized_at": "now() - interval '1 hour'", "attempt": "1"}
ROUTE = ReplayRoute("r", queues=("q",), kinds=("*",), sinks=("one", "two"), key="{args.customer}")


class Still:
    """A `Stop` whose waits pass at once, on a clock of its own; `after` steps it is set."""

    def __init__(self, after: int | None = None) -> None:
        self.now = 0.0
        self.slept: list[float] = []
        self._left = after

    def __call__(self) -> float:
        return self.now

    def is_set(self) -> bool:
        if self._left is not None:
            self._left -= 1
        return self._left is not None and self._left < 0

    def wait(self, timeout: float) -> bool:
        self.now += timeout
        self.slept.append(timeout)
        return False


@pytest.fixture
def replayer(tables: Database) -> Iterator[Replayer]:
    with tables.connect() as connection:
        yield Replayer(connection, None, name="me@here")


def started(
    replayer: Replayer, sink: str | None = None, rate: float | None = None, **wanted: Any
) -> Replay:
    plan = plan_replay(ReplayFilter(**wanted), [ROUTE], sink)
    return replayer.start(plan, replayer.preview(plan), rate=rate)


def replayed(replayer: Replayer, sink: str | None = None, **wanted: Any) -> list[Step]:
    return list(replayer.run(started(replayer, sink, **wanted).id, Still()))


def available(look: psycopg.Connection[Any]) -> list[int]:
    rows = look.execute("SELECT id FROM river_job WHERE state = 'available' ORDER BY id").fetchall()
    return [id for (id,) in rows]


def put_variety(look: psycopg.Connection[Any]) -> None:
    """Jobs 1 to 6 are finished, 7 to 9 are not to be selected by anything."""
    errors = """ARRAY['{"error": "Broken pipe"}', '"x"', '{}', NULL]::jsonb[]"""
    add(look, **DONE, kind="'order.placed'", args="""'{"customer": "c1", "a": {"b": 1}}'""")
    add(look, **DONE | {"state": "'discarded'"}, kind="'order.paid'", errors=errors)
    add(look, **DONE | {"state": "'cancelled'"}, kind="'mail'", tags="'{abc,def}'")
    add(look, **DONE | {"finalized_at": "'2026-01-02Z'"}, args="""'{"customer": 1.50}'""")
    add(look, **DONE, created_at="'2026-01-02Z'", metadata="""'{"m": [1]}'""")
    add(look, **DONE, kind="'order_placed'", tags="'{abc}'")
    add(look, **DONE, queue="'elsewhere'")
    add(look, kind="'order.waiting'")
    add(look, **DONE | {"finalized_at": "now() + interval '5 s'"})


JANUARY = datetime.fromisoformat("2026-01-02T00:00:00Z")
FEBRUARY = datetime.fromisoformat("2026-02-01T00:00:00Z")


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, [1, 2, 3, 4, 5, 6]),
        ({"kinds": ["order.*"]}, [1, 2]),
        ({"kinds": ["order_*", "ma*l"]}, [3, 6]),
        ({"queues": ["q"], "kinds": ["mail"]}, [3]),
        ({"states": ["discarded", "cancelled"]}, [2, 3]),
        ({"ids": [1, 4, 7, 8, 99]}, [1, 4]),
        ({"from_id": 2, "to_id": 3}, [2, 3]),
        ({"finalized_from": JANUARY, "finalized_before": FEBRUARY}, [4]),
        ({"finalized_before": JANUARY}, []),
        ({"created_from": JANUARY, "created_before": FEBRUARY}, [5]),
        ({"error": "bROKEN"}, [2]),
        ({"error": "%"}, []),
        ({"key": "c1"}, [1]),
        ({"key": "1.50"}, [4]),
        ({"tags": ["abc"]}, [3, 6]),
        ({"tags": ["abc", "def"]}, [3]),
        ({"metadata": '{"m": [1]}'}, [5]),
        ({"args": '{"a": {"b": 1}}'}, [1]),
        ({"args": '{"a": {"b": 1}}', "states": ["discarded"]}, []),
    ],
)
def test_every_filter(
    look: psycopg.Connection[Any], replayer: Replayer, wanted: Any, found: list[int]
) -> None:
    put_variety(look)
    given: dict[str, Any] = {
        name: tuple(v) if isinstance(v, list) else v for name, v in wanted.items()
    }
    preview = replayer.preview(plan_replay(ReplayFilter(**given), [ROUTE]))
    assert (preview.total, preview.sample) == (len(found), found)
    replay = started(replayer, **given)
    if found:  # else there is nothing to run
        *_, (replay, _) = replayer.run(replay.id, Still())
    assert (replay.state, replay.done, replay.skipped) == ("finished", len(found), 0)
    assert available(look) == sorted({*found, 8})


def test_a_preview_counts_by_route_and_state_and_says_what_no_route_takes(
    look: psycopg.Connection[Any], replayer: Replayer
) -> None:
    put_variety(look)
    preview = replayer.preview(plan_replay(ReplayFilter(), [ROUTE]))
    assert preview.jobs == {("r", "completed"): 4, ("r", "discarded"): 1, ("r", "cancelled"): 1}
    assert preview.unrouted == 1
    by_key = replayer.preview(plan_replay(ReplayFilter(key="c1"), [ROUTE]))
    assert by_key.jobs == {("r", "completed"): 1}
    assert available(look) == [8]


def test_a_replayed_row_is_as_after_a_retry_and_marked(
    look: psycopg.Connection[Any], replayer: Replayer
) -> None:
    used_up = DONE | {"attempt": "3", "max_attempts": "3", "attempted_at": "now()"}
    add(look, **used_up, attempted_by="'{me}'", errors="""ARRAY['{"error": "x"}'::jsonb]""",
        metadata="""'{"a": 1, "riverbridge:delivered": ["one"], "cancel_attempted_at": "x",
        "riverbridge:parked": {"times": 3}, "riverbridge:replay": 2}'""")  # fmt: skip
    before = row(look, 1)
    replayed(replayer)
    after = row(look, 1)
    assert after.pop("scheduled_at") > before.pop("scheduled_at")
    changed = {"state", "max_attempts", "finalized_at", "metadata"}
    assert {name for name in after if after[name] != before[name]} == changed
    assert (after["state"], after["max_attempts"], after["finalized_at"]) == ("available", 4, None)
    assert after["metadata"] == {"a": 1, "riverbridge:replay": 3}


@pytest.mark.parametrize(
    ("there", "then"),
    [("1", 2), ("12345678", 12345679), ("123456789", 1), ("-1", 1), ("1.5", 1), ("1e400", 1),
     ('"7"', 1), ("null", 1), ("[1]", 1), ('{"a": 1}', 1)],
)  # fmt: skip
def test_the_number_goes_on_from_whatever_stands_there(
    look: psycopg.Connection[Any], replayer: Replayer, there: str, then: int
) -> None:
    add(look, **DONE, metadata=f"""'{{"riverbridge:replay": {there}}}'""")
    replayed(replayer)
    assert row(look, 1)["metadata"] == {"riverbridge:replay": then}


def test_a_replay_to_one_sink_leaves_the_others_as_delivered(
    look: psycopg.Connection[Any], replayer: Replayer
) -> None:
    add(look, **DONE, metadata="""'{"riverbridge:delivered": ["two"]}'""")
    replayed(replayer, "two")
    assert row(look, 1)["metadata"] == {"riverbridge:replay": 1, "riverbridge:delivered": ["one"]}


def test_rows_that_cannot_be_are_skipped_with_the_reason(
    look: psycopg.Connection[Any], replayer: Replayer
) -> None:
    """The mask is `available`: a finished job has given up its key."""
    mask = {"unique_states": "B'10000000' >> 7"}
    add(look, **DONE, **mask, unique_key="'taken'")
    add(look, **mask, unique_key="'taken'")
    add(look, **DONE, **mask, unique_key="'twins'")
    add(look, **DONE, **mask, unique_key="'twins'")
    add(look, **DONE, metadata="'[1]'")
    add(look, **DONE | {"attempt": "32767", "max_attempts": "32767"})
    add(look, **DONE, kind="'guarded'")
    look.execute(
        "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS"
        " 'BEGIN IF NEW.kind = ''guarded'' THEN RAISE ''not this one''; END IF; RETURN NEW; END'"
    )
    look.execute(
        "CREATE TRIGGER guard BEFORE UPDATE ON river_job FOR EACH ROW EXECUTE FUNCTION guard()"
    )
    [step] = replayed(replayer)
    assert {skip.job_id: skip.reason for skip in step.skips} == {
        1: "job 2 has its unique key",
        4: "job 3 has its unique key",
        5: "its metadata is no JSON object and cannot be marked",
        7: "not this one",
    }
    assert available(look) == [2, 3, 6]
    assert row(look, 6)["max_attempts"] == 32767
    assert (step.replay.state, step.replay.done, step.replay.skipped) == ("finished", 2, 4)


def test_a_key_that_is_taken_in_that_very_moment_is_a_skip(
    tables: Database, look: psycopg.Connection[Any], replayer: Replayer
) -> None:
    mask = {"unique_states": "B'10000000' >> 7", "unique_key": "'k'"}
    add(look, **DONE, **mask)
    add(look, **DONE)
    with tables.connect(autocommit=False) as other:
        add(other, **mask)
        [step] = replayed(replayer)
        other.rollback()
    [skip] = step.skips
    assert skip.job_id == 1
    assert "lock timeout" in skip.reason
    assert available(look) == [2]


def test_a_row_that_is_held_is_waited_for_and_then_skipped(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    fill(look, 5, **DONE)
    with tables.connect() as connection, tables.connect() as holder:
        clock = Still()
        mine = Replayer(connection, None, name="me", clock=clock)
        id = started(mine).id
        holder.execute("BEGIN")
        holder.execute("SELECT FROM river_job WHERE id IN (2, 4) FOR UPDATE")
        steps = []
        for step in mine.run(id, clock):
            steps.append((step.replay.done, [skip.job_id for skip in step.skips]))
        assert clock.now > PATIENCE
    # None passes the held one until it is given up, and then others wait no longer.
    assert steps[:2] == [(1, []), (1, [])]
    assert steps[-1] == (3, [2, 4])
    assert available(look) == [1, 3, 5]


def test_a_row_that_is_held_for_a_moment_is_not_skipped(
    tables: Database, look: psycopg.Connection[Any], replayer: Replayer
) -> None:
    fill(look, 5, **DONE)
    with tables.connect() as holder:
        holder.execute("BEGIN")
        holder.execute("SELECT FROM river_job WHERE id = 2 FOR UPDATE")
        running = replayer.run(started(replayer).id, Still())
        next(running)
        next(running)
        holder.execute("COMMIT")
        *_, last = running
    assert (last.replay.done, last.replay.skipped) == (5, 0)


def test_a_job_that_was_changed_meanwhile_is_left_alone(
    look: psycopg.Connection[Any], replayer: Replayer
) -> None:
    fill(look, BATCH + 2, **DONE)
    id = started(replayer).id
    running = replayer.run(id, Still())
    next(running)
    look.execute("DELETE FROM river_job WHERE id = %s", (BATCH + 1,))
    look.execute("UPDATE river_job SET finalized_at = now() WHERE id = %s", (BATCH + 2,))
    *_, last = running
    assert (last.replay.state, last.replay.done, last.replay.total) == (
        "finished", BATCH, BATCH + 2,
    )  # fmt: skip
    assert row(look, BATCH + 2)["state"] == "completed"


def test_what_a_replay_brought_back_is_not_selected_again(
    tables: Database, look: psycopg.Connection[Any], replayer: Replayer
) -> None:
    """Each batch is delivered before the next; a job of a later replay is a job of its own."""
    fill(look, 2 * BATCH, **DONE)
    table = JobTable(None, "riverbridge_x")
    for number in (1, 2):
        for step in replayer.run(started(replayer).id, Still()):
            with tables.connect() as lane, lane.transaction():
                table.complete(lane, [job.id for job in claim(table, lane, limit=10_000)])
            assert step.replay.done <= 2 * BATCH
        counts = look.execute(
            "SELECT (metadata ->> 'riverbridge:replay')::int, count(*) FROM river_job GROUP BY 1"
        ).fetchall()
        assert counts == [(number, 2 * BATCH)]


KILLED = """
import itertools, os, sys, threading
import psycopg
from riverbridge.bridge.replay import Replayer
with psycopg.connect(sys.argv[1], autocommit=True) as connection:
    replayer = Replayer(connection, None, name="victim")
    for step in replayer.run(int(sys.argv[2]), threading.Event()):
        print(step.replay.done, flush=True)
"""


@pytest.mark.parametrize(
    ("wanted", "there"),
    [(3_000, 30_000), pytest.param(10_000, 100_000, marks=pytest.mark.slow)],
)
def test_killed_at_half_and_gone_on_with_it_is_exactly_what_was_selected(
    tables: Database,
    look: psycopg.Connection[Any],
    replayer: Replayer,
    monkeypatch: pytest.MonkeyPatch,
    wanted: int,
    there: int,
) -> None:
    kind = f"CASE WHEN n % {there // wanted} = 0 THEN 'wanted' ELSE 'other' END"
    fill(look, there, **DONE, kind=kind)
    replay = started(replayer, kinds=("wanted",))
    assert replay.total == wanted
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, tables.dsn, str(replay.id)],
        env=plain_environment(), stdout=subprocess.PIPE, text=True,
    ) as victim:  # fmt: skip
        assert victim.stdout is not None
        for line in victim.stdout:
            if int(line) >= wanted // 3:
                victim.kill()
                break
    half = len(available(look))
    assert wanted // 3 <= half < wanted

    with pytest.raises(ReplayError, match="is being run by victim"):
        list(replayer.run(replay.id, Still()))
    monkeypatch.setattr(module, "SILENCE", 0.0)
    *_, last = replayer.run(replay.id, Still())
    assert (last.replay.state, last.replay.done, last.replay.skipped) == ("finished", wanted, 0)
    assert look.execute(
        "SELECT kind, state::text, metadata ->> 'riverbridge:replay', count(*) FROM river_job"
        " GROUP BY 1, 2, 3 ORDER BY 1"
    ).fetchall() == [
        ("other", "completed", None, there - wanted),
        ("wanted", "available", "1", wanted),
    ]


def test_stopped_gone_on_with_and_over(look: psycopg.Connection[Any], replayer: Replayer) -> None:
    fill(look, 3 * BATCH, **DONE)
    id = started(replayer).id
    [step] = replayer.run(id, Still(after=1))
    assert step.replay.done == BATCH
    assert replayer.get(id).runner is None
    *_, last = replayer.run(id, Still())
    assert last.replay.done == 3 * BATCH
    with pytest.raises(ReplayError, match="is finished, with 1500 of 1500"):
        list(replayer.run(id, Still()))
    with pytest.raises(ReplayError, match="nothing to cancel"):
        replayer.cancel(id)
    with pytest.raises(ReplayError, match="is not there"):
        replayer.cancel(id + 1)


def test_cancelled_while_it_runs(
    tables: Database, look: psycopg.Connection[Any], replayer: Replayer
) -> None:
    fill(look, 3 * BATCH, **DONE)
    id = started(replayer).id
    running = replayer.run(id, Still())
    next(running)
    with tables.connect() as connection:
        ended = Replayer(connection, None, name="other").cancel(id)
    assert (ended.state, ended.done) == ("cancelled", BATCH)
    with pytest.raises(ReplayError, match="is cancelled, with 500 of 1500"):
        next(running)
    assert len(available(look)) == BATCH


def test_of_two_runners_only_one_moves_jobs(
    tables: Database,
    look: psycopg.Connection[Any],
    replayer: Replayer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fill(look, 3 * BATCH, **DONE)
    id = started(replayer).id
    running = replayer.run(id, Still())
    next(running)
    with tables.connect() as connection:
        second = Replayer(connection, None, name="me@here")
        with pytest.raises(ReplayError, match="is being run by me@here"):
            next(second.run(id, Still()))
        # The first falls silent, and wakes up when the second has taken over.
        monkeypatch.setattr(module, "SILENCE", 0.0)
        others = second.run(id, Still())
        assert next(others).replay.done == 2 * BATCH
        monkeypatch.undo()
        with pytest.raises(ReplayError, match="is being run by me@here"):
            next(running)
        assert [step.replay.done for step in others] == [3 * BATCH]
    assert len(available(look)) == 3 * BATCH


def test_two_that_begin_together_do_it_once(
    tables: Database, look: psycopg.Connection[Any], replayer: Replayer
) -> None:
    fill(look, 4 * BATCH, **DONE)
    id = started(replayer).id
    ends: list[str] = []

    def run() -> None:
        with tables.connect() as connection:
            try:
                *_, last = Replayer(connection, None, name="me").run(id, Still())
                ends.append(last.replay.state)
            except ReplayError:
                ends.append("refused")

    at_once(*[run] * 2)
    assert sorted(ends) == ["finished", "refused"]
    assert replayer.get(id).done == 4 * BATCH


def test_the_rate_holds_by_the_clock_and_after_a_resume(
    tables: Database, look: psycopg.Connection[Any]
) -> None:
    fill(look, 100, **DONE)
    with tables.connect() as connection:
        clock = Still()
        mine = Replayer(connection, None, name="me", clock=clock)
        id = started(mine, rate=10.0).id
        for step in mine.run(id, clock):
            # No burst beyond what half a second lets through.
            assert step.replay.done <= 10 * clock.now + 5
            if step.replay.done == 50:
                break
        assert clock.now == pytest.approx(4.5)
        mine.run(id, clock).close()
        *_, last = mine.run(id, clock, rate=0.1)
        assert last.replay.rate == 0.1
        assert clock.now == pytest.approx(4.5 + 490)
        assert max(clock.slept) <= 2.0  # it says that it is there


def test_the_bridge_delivers_what_is_replayed_with_the_same_id_and_the_header(
    database: Database,
) -> None:
    sink = ScriptedSink()

    with database.connect() as outside, database.connect() as connection:

        def all_finished() -> bool:
            count = "SELECT count(*) FROM river_job WHERE state = 'completed'"
            return bool(outside.execute(count).fetchone() == (3,))

        fill(outside, 3, queue="'outbox'")
        with running_bridge(database, {"events": sink}):
            eventually(all_finished, within=30)
            route = ReplayRoute("outbox", ("outbox",), ("*",), ("events",))
            mine = Replayer(connection, None, name="me")
            for _ in range(2):
                plan = plan_replay(ReplayFilter(ids=(1, 3)), [route])
                list(mine.run(mine.start(plan, mine.preview(plan)).id, Still()))
                eventually(all_finished, within=30)
    came: Counter[tuple[str, str | None]] = Counter(
        (message.id, dict(message.headers).get("riverbridge-replay"))
        for _, message in sink.received
    )
    ids = {job_id(message): message.id for _, message in sink.received}
    firsts: list[tuple[str, str | None]] = [(ids[number], None) for number in (1, 2, 3)]
    again: list[tuple[str, str | None]] = [
        (ids[number], replay) for number in (1, 3) for replay in ("1", "2")
    ]
    assert came == Counter(firsts + again)
