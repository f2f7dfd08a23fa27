"""Claims, settlements and leases on a real table."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from riverbridge.model.globs import to_like
from riverbridge.model.job import JobState
from riverbridge.model.settlement import Lease, Settlement
from riverbridge.store.jobs import JobTable
from tests.support.database import Database
from tests.support.jobs import EVERY_FLOOR, add, claim, fill, row

TABLE = JobTable(None, "riverbridge_me")
FRACTION = timedelta(milliseconds=900)


def ids(table: JobTable, connection: psycopg.Connection[Any], **changes: Any) -> list[int]:
    return [job.id for job in claim(table, connection, **changes)]


def test_claims_go_by_priority_then_instant_then_id(tables: Database) -> None:
    with tables.connect() as look:
        late = add(look, priority="1", scheduled_at="now() - interval '1 second'")
        low = add(look, priority="4", scheduled_at="now() - interval '1 day'")
        early = add(look, priority="1", scheduled_at="now() - interval '1 minute'")
        tie = add(
            look,
            priority="1",
            scheduled_at=f"(SELECT scheduled_at FROM river_job WHERE id={early})",
        )
        middle = add(look, priority="2", scheduled_at="now() - interval '1 hour'")
        assert ids(TABLE, look) == [early, tie, late, middle, low]
        assert ids(TABLE, look, limit=4) == [early, tie, late, middle]


@pytest.mark.parametrize(
    "columns",
    [
        {"queue": "'other'"},
        {"scheduled_at": "now() + interval '1 second'"},
        {"scheduled_at": "'infinity'"},
        {"state": "'scheduled'"},
        {"state": "'pending'"},
        {"state": "'running'"},
        {"state": "'completed'", "finalized_at": "now()"},
    ],
    ids=str,
)
def test_what_is_not_due_or_not_ours_is_not_claimed(
    tables: Database, columns: dict[str, str]
) -> None:
    with tables.connect() as look:
        add(look, **columns)
        assert ids(TABLE, look) == []


def test_a_claim_reads_what_postgres_holds(tables: Database) -> None:
    with tables.connect() as look:
        look.execute("SET TIME ZONE 'Pacific/Kiritimati'")
        add(
            look,
            args="""'{"b": 1.000000000000000000001, "a": "é"}'""",
            attempt="3",
            errors="ARRAY['{}'::jsonb, '{}'::jsonb]",
            tags="'{x,y}'",
            priority="2",
            created_at="'infinity'",
            scheduled_at="'-infinity'",
        )
        [job] = claim(TABLE, look)
        assert job.args == '{"a": "é", "b": 1.000000000000000000001}'
        assert (job.attempt, job.failures, job.max_attempts, job.priority) == (3, 2, 25, 2)
        assert job.tags == "x,y"
        assert job.created_at == datetime.max.replace(tzinfo=UTC)
        assert job.scheduled_at == datetime.min.replace(tzinfo=UTC)


def test_a_floor_hides_what_lies_more_than_a_second_below_it(tables: Database) -> None:
    with tables.connect() as look:
        row_ = look.execute("SELECT now() - interval '1 hour'").fetchone()
        assert row_ is not None
        floor: datetime = row_[0]
        below = add(look, scheduled_at=f"'{floor - timedelta(seconds=1.1)}'")
        within = add(look, scheduled_at=f"'{floor - FRACTION}'")
        other = add(look, priority="2", scheduled_at=f"'{floor - timedelta(hours=1)}'")
        floors = [floor.isoformat(), *EVERY_FLOOR[1:]]
        assert ids(TABLE, look, floors=floors) == [within, other]
        assert ids(TABLE, look) == [below, within, other]


def test_the_byte_budget_ends_a_claim_after_the_row_that_fills_it(tables: Database) -> None:
    with tables.connect() as look:
        fill(look, 10, args="jsonb_build_object('é', repeat('é', 50))")
        [one] = claim(TABLE, look, limit=1)
        size = len(one.args.encode())
        assert size > len(one.args)
        assert len(claim(TABLE, look, byte_budget=3 * size)) == 3
        assert len(claim(TABLE, look, byte_budget=3 * size + 1)) == 4
        assert len(claim(TABLE, look, byte_budget=1)) == 1


def test_kinds_are_matched_whole_and_literally(tables: Database) -> None:
    with tables.connect() as look:
        matching = add(look, kind="'a_b.x'")
        other = add(look, kind="'aXb.x'")
        assert ids(TABLE, look, kinds=[to_like("a_b.*")]) == [matching]
        assert ids(TABLE, look, kinds=[to_like("a_b.*")], taken=False) == [other]
        assert ids(TABLE, look, kinds=[to_like("b.*"), to_like("A_B.X")]) == []


def test_rows_set_aside_are_passed_over(tables: Database) -> None:
    with tables.connect() as look:
        bad, good = add(look), add(look)
        assert ids(TABLE, look, aside=[bad]) == [good]


def test_two_claims_at_once_share_the_rows(tables: Database) -> None:
    with tables.connect() as one, tables.connect() as two:
        fill(one, 10)
        with one.transaction(), two.transaction():
            first = ids(TABLE, one, limit=6)
            second = ids(TABLE, two, limit=6)
        assert len(first) == 6
        assert len(second) == 4
        assert not set(first) & set(second)


@pytest.mark.parametrize("priorities", ["1 1", "1 4"])
def test_a_claim_leaves_what_it_does_not_take_to_others(tables: Database, priorities: str) -> None:
    with tables.connect() as one, tables.connect() as other:
        first, second = (add(one, priority=priority) for priority in priorities.split())
        with one.transaction(), other.transaction():
            assert ids(TABLE, one, limit=1) == [first]
            assert ids(TABLE, other, limit=1) == [second]


def test_a_completed_row_is_what_a_river_worker_leaves(tables: Database) -> None:
    with tables.connect() as look:
        id_ = add(look, attempt="2", attempted_by="ARRAY['before']")
        with look.transaction():
            assert TABLE.complete(look, ids(TABLE, look)) == 1
        left = row(look, id_)
        assert (left["state"], left["attempt"], left["errors"]) == ("completed", 3, None)
        assert left["attempted_by"] == ["before", "riverbridge_me"]
        assert left["attempted_at"] <= left["finalized_at"]


@pytest.mark.parametrize(("before", "after"), [(98, 99), (99, 100), (100, 100), (150, 100)])
def test_attempted_by_keeps_its_last_hundred(tables: Database, before: int, after: int) -> None:
    names = f"(SELECT array_agg('c' || i ORDER BY i) FROM generate_series(1, {before}) AS i)"
    with tables.connect() as look:
        done, failed, out = (add(look, attempted_by=names) for _ in range(3))
        with look.transaction():
            jobs = claim(TABLE, look)
            TABLE.complete(look, [done])
            TABLE.settle(look, [Settlement(failed, JobState.DISCARDED, 1, "x")])
            TABLE.lease(look, [job for job in jobs if job.id == out])
        for id_ in (done, failed, out):
            kept = row(look, id_)["attempted_by"]
            assert len(kept) == after
            assert kept[-1] == "riverbridge_me"
            assert kept[-2] == f"c{before}"


def test_deletion_spares_rows_that_keep_their_key_taken(tables: Database) -> None:
    with tables.connect() as look:
        plain = add(look)
        # Bit 5 of the mask, from the left, is `completed`.
        holds = add(look, unique_key="'\\x01'", unique_states="B'11110101'")
        bits = look.execute(
            "SELECT river_job_state_in_bitmask(B'11110101', 'completed'),"
            " river_job_state_in_bitmask(B'11010001', 'completed')"
        ).fetchone()
        assert bits is not None
        frees = add(look, unique_key="'\\x02'", unique_states="B'00000001'")
        with look.transaction():
            assert TABLE.delete(look, ids(TABLE, look)) == 3
        left = dict(look.execute("SELECT id, state::text FROM river_job").fetchall())
        expected = {holds: "completed"} if bits[0] else {}
        assert left == expected
        assert plain not in left
        assert frees not in left


def test_settlements_write_each_row_in_its_own_way(tables: Database) -> None:
    with tables.connect() as look:
        first = [add(look, attempt="1", metadata="""'{"snoozes": 1}'""") for _ in range(6)]
        with look.transaction():
            claim(TABLE, look)
            rows = [
                Settlement(first[0], JobState.COMPLETED, 2),
                Settlement(first[1], JobState.RETRYABLE, 2, 'é "quoted"', 90.0),
                Settlement(first[2], JobState.AVAILABLE, 2, "soon", 1.0),
                Settlement(first[3], JobState.DISCARDED, 2, "no"),
                Settlement(first[4], JobState.SCHEDULED, 1, None, 60.0, '{"snoozes": 2}'),
                Settlement(first[5], JobState.CANCELLED, 2, "old"),
            ]
            got = TABLE.settle(look, rows)
            assert got == {settled.id: settled.state for settled in rows}
        left = [row(look, id_) for id_ in first]
        assert [one["state"] for one in left] == [settled.state.value for settled in rows]
        assert [one["attempt"] for one in left] == [2, 2, 2, 2, 1, 2]
        assert [one["finalized_at"] is None for one in left] == [
            False,
            True,
            True,
            False,
            True,
            False,
        ]
        assert left[4]["metadata"] == {"snoozes": 2}
        assert left[1]["errors"] == [
            {
                "at": left[1]["attempted_at"].astimezone(UTC).isoformat()[:-6].rstrip("0") + "Z",
                "attempt": 2,
                "error": 'é "quoted"',
                "trace": "",
            }
        ]
        wait = left[1]["scheduled_at"] - left[1]["attempted_at"]
        assert 90 <= wait.total_seconds() < 95
        assert left[3]["scheduled_at"] < left[3]["attempted_at"] + timedelta(seconds=1)


@pytest.mark.parametrize("leased", [False, True])
@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (JobState.RETRYABLE, "cancelled"),
        (JobState.SCHEDULED, "cancelled"),
        (JobState.AVAILABLE, "available"),
        (JobState.COMPLETED, "completed"),
        (JobState.DISCARDED, "discarded"),
    ],
)
def test_a_job_marked_by_cancel_does_not_wait_for_another_attempt(
    tables: Database, wanted: JobState, found: str, leased: bool
) -> None:
    with tables.connect() as look:
        id_ = add(look, metadata="""'{"cancel_attempted_at": "2026-01-01T00:00:00Z"}'""")
        before = row(look, id_)["scheduled_at"]
        snoozed = wanted is JobState.SCHEDULED
        settled = Settlement(id_, wanted, 0 if snoozed else 1, None if snoozed else "x", 60.0)
        with look.transaction():
            jobs = claim(TABLE, look)
            if leased:
                [lease] = TABLE.lease(look, jobs)
                assert TABLE.settle_leased(look, [(lease, settled)]) == {id_: found}
            else:
                assert TABLE.settle(look, [settled]) == {id_: found}
        left = row(look, id_)
        assert left["state"] == found
        if found == "cancelled":
            assert left["attempt"] == 1
            assert left["scheduled_at"] == before
            assert left["finalized_at"] is not None
            assert (left["errors"] is None) == snoozed


def test_attempts_stop_at_the_column_s_largest(tables: Database) -> None:
    with tables.connect() as look:
        first = [add(look, attempt="32767", max_attempts="32767") for _ in range(3)]
        with look.transaction():
            jobs = claim(TABLE, look)
            TABLE.complete(look, first[:1])
            TABLE.settle(look, [Settlement(first[1], JobState.DISCARDED, 32767, "x")])
            TABLE.lease(look, jobs[2:])
        assert {row(look, id_)["attempt"] for id_ in first} == {32767}
        assert row(look, first[1])["errors"][0]["attempt"] == 32767


def test_a_lease_is_what_river_s_fetch_leaves(tables: Database) -> None:
    with tables.connect() as look:
        id_ = add(look, attempt="1")
        with look.transaction():
            [lease] = TABLE.lease(look, claim(TABLE, look))
        left = row(look, id_)
        assert (left["state"], left["attempt"]) == ("running", 2)
        assert left["attempted_at"] == lease.claimed_at
        assert left["attempted_by"] == [lease.owner] == ["riverbridge_me"]
        assert (lease.attempt, lease.job.attempt) == (2, 1)


@pytest.mark.parametrize(
    "meanwhile",
    [
        "state = 'available'",
        "attempt = attempt + 1",
        "attempted_by = array_append(attempted_by, 'another')",
        "attempted_at = attempted_at + interval '1 microsecond'",
        "state = 'cancelled', finalized_at = now()",
    ],
)
def test_a_lease_that_is_no_longer_ours_is_not_settled(tables: Database, meanwhile: str) -> None:
    with tables.connect() as look:
        id_ = add(look)
        with look.transaction():
            [lease] = TABLE.lease(look, claim(TABLE, look))
        assert TABLE.still_leased(look, [lease]) == {id_}
        look.execute(f"UPDATE river_job SET {meanwhile}".encode())
        before = row(look, id_)
        assert TABLE.still_leased(look, [lease]) == set()
        settled = [(lease, Settlement(id_, JobState.COMPLETED, 1))]
        assert TABLE.settle_leased(look, settled) == {}
        assert row(look, id_) == before


def test_a_deleted_lease_and_one_of_another_client_are_not_settled(tables: Database) -> None:
    with tables.connect() as look:
        gone, other = add(look), add(look)
        with look.transaction():
            leases = TABLE.lease(look, claim(TABLE, look))
        look.execute("DELETE FROM river_job WHERE id = %s", (gone,))
        theirs = [
            (
                Lease(one.job, one.attempt, "another", one.claimed_at),
                Settlement(other, JobState.COMPLETED, 1),
            )
            for one in leases
            if one.job.id == other
        ]
        assert TABLE.settle_leased(look, theirs) == {}
        settled = [(one, Settlement(one.job.id, JobState.COMPLETED, 1)) for one in leases]
        assert TABLE.settle_leased(look, settled).keys() == {other}
        assert row(look, other)["attempt"] == 1


def test_orphans_are_shown_as_before_the_attempt_that_was_lost(tables: Database) -> None:
    with tables.connect() as look:
        id_ = add(look, attempt="1")
        add(
            look,
            attempted_by="ARRAY['riverbridge_me', 'another']",
            state="'running'",
            attempted_at="now()",
        )
        with look.transaction():
            TABLE.lease(look, claim(TABLE, look))
        with look.transaction():
            given: dict[str, Any] = {"owners": ["riverbridge_me"], "queues": ["q"], "limit": 10}
            [orphan] = TABLE.orphans(look, **given)
            assert orphan.lease.job.id == id_
            assert (orphan.lease.job.attempt, orphan.lease.attempt) == (1, 2)
            assert not orphan.cancel_marked
            assert TABLE.orphans(look, **given, age=30.0) == []
