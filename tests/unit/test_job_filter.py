"""Filters, orders and cursors: what is refused with which words, and what a cursor says."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec
import pytest

from riverbridge.errors import InvalidRequest
from riverbridge.model.job import Job, JobState
from riverbridge.model.job_filter import filter_parameters, id_problem, limit_problem
from riverbridge.model.job_order import job_order

WHEN = datetime(2026, 3, 4, 5, 6, 7, 890000, tzinfo=UTC)
JOB = Job(7, JobState.COMPLETED, 1, 25, "k", "q", 1, {}, {}, [], WHEN, WHEN, WHEN, [], WHEN)


class Kind(StrEnum):
    ORDER = "order"


def test_what_is_given_becomes_a_list_of_plain_values() -> None:
    given = filter_parameters(
        ids={3}, kinds=(Kind.ORDER,), states=[JobState.RUNNING, "pending"], metadata={"a": "é"}
    )
    assert {name for name, value in given.items() if value is None} == {
        *("priorities", "queues", "tags_all", "tags_any"),
    }
    assert (given["ids"], given["metadata"]) == ([3], '{"a":"é"}')
    assert [type(value) for value in (*given["kinds"], *given["states"])] == [str] * 3
    assert given["states"] == ["running", "pending"]


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        ({"ids": []}, "ids: is empty"),
        ({"kinds": "order"}, "kinds: must be a list, not str"),
        ({"kinds": {"order": 1}}, "kinds: must be a list, not dict"),
        ({"kinds": iter(["order"])}, "kinds: must be a list, not list_iterator"),
        ({"kinds": ["a", None]}, r"kinds\[1\]: must be text, not NoneType"),
        ({"kinds": ["a\x00b"]}, r"kinds\[0\]: holds '\\x00' at position 1"),
        ({"queues": ["\ud800"]}, r"queues\[0\]: holds '\\ud800'"),
        ({"ids": [True]}, r"ids\[0\]: must be a whole number, not bool"),
        ({"ids": [2**63]}, r"ids\[0\]: 9223372036854775808 is out of range"),
        ({"ids": ["7"]}, r"ids\[0\]: must be a whole number, not str"),
        ({"priorities": [5]}, r"priorities\[0\]: 5 is no priority: use 1 to 4"),
        ({"priorities": [True]}, r"priorities\[0\]: True is no priority"),
        ({"states": ["done"]}, r"states\[0\]: 'done' is no state: use available, cancelled"),
        ({"states": [[]]}, r"states\[0\]: \[\] is no state"),
        ({"metadata": "{}"}, "metadata: must be a mapping, not str"),
        ({"metadata": {"a": float("nan")}}, "metadata: has no form in JSON"),
        ({"metadata": {"a": "\x00"}}, "metadata: holds a NUL"),
    ],
)
def test_what_cannot_be_asked(filters: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidRequest, match=says):
        filter_parameters(**filters)


@pytest.mark.parametrize("value", [0, 10_001, 1.0, True, None])
def test_a_limit_is_1_to_10000(value: object) -> None:
    assert limit_problem(value)
    assert not limit_problem(1) and not limit_problem(10_000)  # noqa: PT018


def test_an_id_fits_a_bigint() -> None:
    assert not id_problem(2**63 - 1)
    assert id_problem(2**63)
    assert id_problem(-1)


@pytest.mark.parametrize(
    ("by", "states", "name"),
    [
        ("id", ["running"], "id"),
        ("scheduled_at", ["running"], "scheduled_at"),
        ("finalized_at", None, "finalized_at"),
        ("finalized_at", ["discarded"], "finalized_at"),
        ("time", None, "scheduled_at"),
        ("time", ["pending", "completed"], "scheduled_at"),
        ("time", ["running"], "attempted_at or none"),
        ("time", ["completed", "discarded"], "finalized_at"),
        ("time", ["completed", "running"], "finalized_at or none"),
    ],
)
def test_the_column_of_an_order(by: Any, states: list[str] | None, name: str) -> None:
    assert job_order(by, states=states).name == name


def test_orders_that_cannot_be() -> None:
    with pytest.raises(InvalidRequest, match="'kind' is no order: use id, scheduled_at"):
        job_order("kind")  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="only in finished jobs, not in running, pending ones"):
        job_order("finalized_at", states=["running", "completed", "pending"])


def test_a_cursor_is_spelled_so_that_either_alphabet_of_base64_reads_it() -> None:
    odd = msgspec.structs.replace(JOB, kind="~~~???<>&é漢\x7f", queue="'\"\\")
    cursor = job_order("finalized_at").cursor(odd)
    assert not set("+/-_") & set(cursor)
    assert json.loads(base64.b64decode(cursor)) == {
        "id": 7,
        "kind": odd.kind,
        "queue": odd.queue,
        "sort_field": "finalized_at",
        "time": "2026-03-04T05:06:07.89Z",
    }


def cursor(**changes: Any) -> str:
    fields = {"id": 7, "kind": "k", "queue": "q", "sort_field": "scheduled_at"}
    text = json.dumps(fields | {"time": "2026-03-04T05:06:07.89Z"} | changes)
    return base64.urlsafe_b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("time", "after"),
    [
        ("2026-03-04T05:06:07.89Z", "2026-03-04T05:06:07.89Z"),
        ("2026-03-04T07:06:07.890001+02:00", "2026-03-04T05:06:07.890001Z"),
        ("2026-03-04T05:06:07Z", "2026-03-04T05:06:07Z"),
        ("9999-12-31T23:59:59.999999Z", "infinity"),
        ("0001-01-01T00:00:00Z", "-infinity"),
    ],
)
def test_the_time_of_a_cursor(time: str, after: str) -> None:
    parameters = job_order("scheduled_at").after(cursor(time=time, kind="~?é"))
    assert parameters == {"after_id": 7, "after_time": after}


def test_what_is_not_there_comes_back_as_the_latest() -> None:
    order = job_order("time", states=["running"])
    missing = msgspec.structs.replace(JOB, attempted_at=None)
    assert order.after(order.cursor(missing))["after_time"] == "infinity"


def test_a_cursor_by_id_has_no_time() -> None:
    order = job_order()
    text = order.cursor(JOB)
    assert json.loads(base64.b64decode(text))["time"] == "0001-01-01T00:00:00Z"
    assert order.after(text) == {"after_id": 7, "after_time": None}
    assert order.after(None) == {"after_id": None, "after_time": None}


@pytest.mark.parametrize(
    "text",
    [
        "", "no", "bm8=", cursor()[:-4], cursor(id="7"), cursor(time="yesterday"), cursor(id=2**70),
        cursor(time="0001-01-01T00:00:00+05:00"), "é", 7, b"bm8=", cursor(sort_field=None),
        cursor(time="2026-03-04T05:06:07"),
    ],
)  # fmt: skip
def test_what_is_no_cursor(text: Any) -> None:
    with pytest.raises(InvalidRequest, match="after: is no cursor of a list of jobs"):
        job_order("scheduled_at").after(text)


def test_a_cursor_of_another_order() -> None:
    with pytest.raises(InvalidRequest, match="ordered by 'scheduled_at', and this one is by 'id'"):
        job_order("id").after(cursor())


def test_a_microsecond_is_not_lost() -> None:
    late = msgspec.structs.replace(JOB, scheduled_at=WHEN + timedelta(microseconds=1))
    order = job_order("scheduled_at")
    assert order.after(order.cursor(late))["after_time"] == "2026-03-04T05:06:07.890001Z"
