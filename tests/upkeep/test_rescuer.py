"""Jobs that are stuck: which are taken back, which are left alone, and what spoils nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from riverbridge.model.job import ClaimedJob
from riverbridge.upkeep.rescuer import Rescuer
from tests.support.database import Database
from tests.support.jobs import add, row

LONG_AGO = "now() - interval '2 hours'"
NEVER = "'-infinity'"
FINISH = "UPDATE river_job SET state = 'completed', finalized_at = now() WHERE id = %s"


@pytest.fixture
def conn(tables: Database) -> Iterator[psycopg.Connection]:
    with tables.connect() as connection:
        yield connection


def stuck(conn: psycopg.Connection, **columns: Any) -> int:
    """A job of kind `k` whose second attempt of three began two hours ago."""
    given = {"attempt": "2", "max_attempts": "3", "attempted_at": LONG_AGO}
    return add(conn, state="'running'", attempted_by="ARRAY['a']", **(given | columns))


def rescuer(
    retry: Callable[[ClaimedJob], float] = lambda job: 600.0,
    timeout: Callable[[ClaimedJob], float | None] = lambda job: 60.0,
) -> Rescuer:
    return Rescuer(kinds={"k"}, retry=retry, timeout=timeout)


def states(conn: psycopg.Connection) -> dict[int, str]:
    return dict(conn.execute("SELECT id, state::text FROM river_job").fetchall())


def test_a_stuck_job_is_retried_as_after_an_error(conn: psycopg.Connection) -> None:
    asked: list[ClaimedJob] = []

    def retry(job: ClaimedJob) -> float:
        asked.append(job)
        return 600.0

    errors = json.dumps({"at": "2026-01-01T00:00:00Z", "attempt": 1, "error": "x", "trace": ""})
    id_ = stuck(conn, errors=f"ARRAY['{errors}'::jsonb]", metadata="""'{"mine": 1}'""")
    due = row(conn, id_)["scheduled_at"]
    added = rescuer(retry)
    added.step(conn, 5)
    after = row(conn, id_)
    now = datetime.now(UTC)
    assert (after["state"], after["attempt"], after["finalized_at"]) == ("retryable", 2, None)
    assert timedelta(seconds=590) < after["scheduled_at"] - now < timedelta(seconds=610)
    assert after["metadata"] == {"mine": 1, "river:rescue_count": 1}
    new = after["errors"][1]
    assert abs(datetime.fromisoformat(new.pop("at")) - now) < timedelta(seconds=10)
    assert new == {"attempt": 2, "error": "Stuck job rescued by JobRescuer", "trace": ""}
    (job,) = asked
    assert (job.id, job.kind, job.failures, job.metadata) == (id_, "k", 1, '{"mine": 1}')
    assert (job.attempt, job.scheduled_at, added.rescued) == (1, due, 1)


def test_the_last_attempt_is_discarded_and_a_marked_job_cancelled(conn: psycopg.Connection) -> None:
    last = stuck(conn, attempt="3")
    mark = """'{"cancel_attempted_at": "2026-01-01T00:00:00Z"}'"""
    marked = stuck(conn, metadata=mark)
    stranger = stuck(conn, metadata=mark, kind="'unknown'")
    due = row(conn, last)["scheduled_at"]
    rescuer().step(conn, 5)
    assert states(conn) == {last: "discarded", marked: "cancelled", stranger: "cancelled"}
    after = row(conn, last)
    assert (after["scheduled_at"], after["finalized_at"] is None) == (due, False)


def test_a_kind_that_is_not_known_here_is_left_alone(
    conn: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    before = [row(conn, stuck(conn, kind="'other'", attempt="3")) for _ in range(2)]
    known = stuck(conn)
    added = rescuer()
    added.step(conn, 5)
    added.step(conn, 5)
    assert [row(conn, each["id"]) for each in before] == before
    assert states(conn)[known] == "retryable"
    assert added.unknown == {"other"}
    assert caplog.text.count("which no worker of this process knows") == 1


def test_a_job_within_its_time_is_left_alone(conn: psycopg.Connection) -> None:
    young = stuck(conn, attempted_at="now() - interval '59 minutes'")
    ids = {kind: stuck(conn, kind=f"'{kind}'") for kind in ("patient", "endless", "k")}
    limits: dict[str, float | None] = {"patient": 7300.0, "endless": None, "k": 7100.0}
    Rescuer(kinds=limits.keys(), retry=lambda job: 1, timeout=lambda job: limits[job.kind]).step(
        conn, 5
    )
    left = {young, ids["patient"], ids["endless"]}
    assert {id_ for id_, state in states(conn).items() if state == "running"} == left


@pytest.mark.parametrize(
    "meanwhile",
    [
        FINISH,
        # Rescued by somebody else and begun again: the same state, another attempt.
        "UPDATE river_job SET attempt = 3, attempted_at = now() WHERE id = %s",
        # A snooze gives the number back: by the number alone it would be the same attempt.
        "UPDATE river_job SET attempted_at = now() WHERE id = %s",
        "DELETE FROM river_job WHERE id = %s",
    ],
)
def test_a_job_that_moves_on_between_search_and_rescue_is_not_touched(
    tables: Database, conn: psycopg.Connection, meanwhile: str
) -> None:
    first, second = stuck(conn), stuck(conn)
    left: list[dict[str, Any]] = []

    def retry(job: ClaimedJob) -> float:
        if not left:  # it is asked after the search, and before the rescue
            with tables.connect() as other:
                other.execute(meanwhile.encode(), (first,))
                left.extend([row(other, first)] if "DELETE" not in meanwhile else [{}])
        return 600.0

    added = rescuer(retry)
    added.step(conn, 5)
    assert added.rescued == 1
    assert states(conn)[second] == "retryable"
    if left[0]:
        assert row(conn, first) == left[0]


def test_a_row_that_somebody_is_settling_is_not_waited_for(
    tables: Database, conn: psycopg.Connection
) -> None:
    held, free = stuck(conn), stuck(conn)
    added = rescuer()
    with tables.connect(autocommit=False) as other:
        other.execute(FINISH, (held,))
        added.step(conn, 0.5)
        other.commit()
    assert states(conn) == {held: "completed", free: "retryable"}
    added.step(conn, 5)
    assert states(conn)[held] == "completed"


@pytest.mark.parametrize(
    ("metadata", "state", "kept"),
    [
        ("[1]", "retryable", [1]),
        ('"text"', "retryable", "text"),
        ("null", "retryable", None),
        ('{"cancel_attempted_at": "yesterday"}', "cancelled", {"cancel_attempted_at": "yesterday"}),
        ('{"cancel_attempted_at": 7}', "cancelled", {"cancel_attempted_at": 7}),
        ('{"cancel_attempted_at": null}', "retryable", {"cancel_attempted_at": None}),
        ('{"river:rescue_count": "x"}', "retryable", {}),
        ('{"river:rescue_count": 1e300}', "retryable", {}),
    ],
)
def test_bad_metadata_spoils_no_other_row(
    conn: psycopg.Connection, metadata: str, state: str, kept: Any
) -> None:
    good, bad = stuck(conn), stuck(conn, metadata=f"'{metadata}'")
    rescuer().step(conn, 5)
    assert states(conn) == {good: "retryable", bad: state}
    after = row(conn, bad)["metadata"]
    if isinstance(kept, dict):
        count = after.pop("river:rescue_count")
        assert count == (2147483647 if "1e300" in metadata else 1)
    assert after == kept


def test_a_row_that_cannot_be_written_spoils_no_other(
    conn: psycopg.Connection, caplog: pytest.LogCaptureFixture
) -> None:
    ids = [stuck(conn) for _ in range(5)]
    instant_of_no_year = stuck(conn, attempted_at=NEVER)
    conn.execute(
        "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'not this row'; END $$"
    )
    guard = f"FOR EACH ROW WHEN (NEW.id = {ids[2]}) EXECUTE FUNCTION guard()"
    conn.execute(f"CREATE TRIGGER guard BEFORE UPDATE ON river_job {guard}".encode())
    added = rescuer()
    added.step(conn, 5)
    left = {id_ for id_, state in states(conn).items() if state == "running"}
    assert left == {ids[2], instant_of_no_year}
    assert added.rescued == 4
    assert f"job {ids[2]} is stuck and cannot be rescued: not this row" in caplog.text


@pytest.mark.parametrize("answer", [-1.0, float("nan"), "soon", ZeroDivisionError])
def test_a_retry_policy_that_fails_is_rivers(conn: psycopg.Connection, answer: Any) -> None:
    def retry(job: ClaimedJob) -> float:
        if answer is ZeroDivisionError:
            raise ZeroDivisionError("a defect")
        delay: float = answer
        return delay

    id_ = stuck(conn)
    rescuer(retry).step(conn, 5)
    delay = row(conn, id_)["scheduled_at"] - datetime.now(UTC)
    assert timedelta(seconds=-5) < delay < timedelta(seconds=2)


def test_a_batch_goes_on_after_the_last_row_that_was_looked_at(conn: psycopg.Connection) -> None:
    strangers = [stuck(conn, kind="'other'") for _ in range(4)]
    known = stuck(conn)
    added = rescuer()
    added.batch.limit = 2
    for looked_at in (2, 4, 5):
        added.step(conn, 5)
        assert (states(conn)[known] == "retryable") is (looked_at == 5)
    late = stuck(conn)
    added.step(conn, 5)  # the next round begins from the first
    assert states(conn) == dict.fromkeys(strangers, "running") | {
        known: "retryable",
        late: "running",
    }
