"""Rows as `to_json` writes them: River's own, odd ones, and ones that River could not read."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from riverbridge.model.job import AttemptError, Job, JobState
from riverbridge.model.queue import Queue
from riverbridge.store.rows import FIRST, LAST, read_job, read_queue

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 600000, tzinfo=UTC)
ROW: dict[str, Any] = {
    "id": 2**62,
    "state": "running",
    "attempt": 2,
    "max_attempts": 25,
    "attempted_at": "2026-01-02T03:04:05.6+00:00",
    "created_at": "2026-01-02T03:04:05.6+00:00",
    "finalized_at": None,
    "scheduled_at": "2026-01-02T03:04:05.6+00:00",
    "priority": 4,
    "args": {"ü": [1.5, None]},
    "attempted_by": ["a", "b"],
    "errors": [{"at": "2026-01-02T03:04:05.6Z", "attempt": 1, "error": "no", "trace": "f"}],
    "kind": "k",
    "metadata": {"a": 1},
    "queue": "q",
    "tags": ["abc"],
    "unique_key": r"\x00ff",
    "unique_states": "10110001",
}
JOB = Job(
    id=2**62,
    state=JobState.RUNNING,
    attempt=2,
    max_attempts=25,
    kind="k",
    queue="q",
    priority=4,
    args={"ü": [1.5, None]},
    metadata={"a": 1},
    tags=["abc"],
    created_at=MOMENT,
    scheduled_at=MOMENT,
    attempted_at=MOMENT,
    attempted_by=["a", "b"],
    finalized_at=None,
    errors=[AttemptError(MOMENT, 1, "no", "f")],
    unique_key=b"\x00\xff",
    unique_states=[
        JobState.AVAILABLE, JobState.PENDING, JobState.RETRYABLE, JobState.SCHEDULED,
    ],
)  # fmt: skip


def read(**changes: Any) -> Job:
    return read_job(json.dumps(ROW | changes))


def test_every_column_is_read_and_one_more_does_no_harm() -> None:
    assert read() == JOB
    assert read(added_by_a_later_version=1) == JOB


def test_the_columns_that_may_be_null() -> None:
    names = ("attempted_at", "attempted_by", "finalized_at", "errors", "unique_key")
    job = read(**dict.fromkeys((*names, "unique_states")))
    assert [getattr(job, name) for name in names] == [None] * 5
    assert job.unique_states is None


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-01-02T05:34:05.6+02:30", MOMENT),
        ("1850-01-01T00:53:28+00:53:28", datetime(1850, 1, 1, tzinfo=UTC)),
        ("9999-12-31T23:59:59.999999+00:00", LAST),
        ("10000-01-01T01:59:59.999999+02:00", LAST),
        ("9999-12-31T23:59:59.999999-05:00", LAST),
        ("294276-12-31T23:59:59.999999+00:00", LAST),
        ("infinity", LAST),
        ("-infinity", FIRST),
        ("0001-01-01T00:00:00+05:00", FIRST),
        ("4713-01-01T00:00:00+00:00 BC", FIRST),
    ],
)
def test_instants_are_in_utc_and_within_pythons_years(text: str, moment: datetime) -> None:
    at = read(scheduled_at=text).scheduled_at
    assert at == moment
    assert at.utcoffset() == timedelta(0)


def test_a_key_is_the_same_in_both_forms_of_bytea() -> None:
    """As a session with bytea_output = escape has it."""
    assert read(unique_key=r"\000a\\x\377").unique_key == b"\x00a\\x\xff"
    assert read(unique_key=r"\x00615c78ff").unique_key == b"\x00a\\x\xff"


def test_what_river_could_not_read_is_passed_on() -> None:
    bad = [None, [1], {"at": "yesterday", "attempt": 1, "error": "e"}]
    assert read(errors=bad).errors == [
        AttemptError(FIRST, 0, json.dumps(element)) for element in bad
    ]
    odd: list[Any] = [read(args=[1]).args, read(metadata="text").metadata]
    assert odd == [[1], "text"]
    assert read(tags=[None]).tags == [None]


def test_numbers_beyond_a_double_do_not_hide_the_row() -> None:
    text = json.dumps(ROW)
    for number, value in (
        ("1e400", float("inf")),
        ("9" * 400, 10**400 - 1),
        ("-1" + "0" * 5000, float("-inf")),
    ):
        assert read_job(text.replace("1.5", number)).args == {"ü": [value, None]}


@pytest.mark.parametrize("depth", [400, 900, 1000, 10_000])
def test_what_is_nested_too_deeply_to_be_read_is_given_as_its_text(depth: int) -> None:
    deep = '{"a":' * depth + r'"]}\" ["' + "}" * depth
    text = json.dumps(ROW).replace('{"\\u00fc": [1.5, null]}', deep)
    args: Any = read_job(text).args
    if isinstance(args, str):
        assert (args, depth > 500) == (deep, True)
    else:
        assert depth < 1000
    assert read_job(text).metadata == ROW["metadata"]


def test_a_queue() -> None:
    row = {
        "name": "q",
        "created_at": "2026-01-02T03:04:05.6+00:00",
        "metadata": {"a": [1]},
        "paused_at": None,
        "updated_at": "2026-01-02T04:04:05.6+01:00",
    }
    queue = read_queue(json.dumps(row))
    assert queue == Queue("q", MOMENT, {"a": [1]}, None, MOMENT)
    paused = read_queue(json.dumps(row | {"paused_at": "infinity"}))
    assert paused.paused_at == LAST
    assert queue.updated_at.utcoffset() == timedelta(0)
