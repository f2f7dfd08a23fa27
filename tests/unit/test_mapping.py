"""Which job an event becomes, and which become none."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from riverbridge.bridge.mapping import ANY_STATE, Mapper, Plan
from riverbridge.errors import ConditionError, TemplateError
from riverbridge.model.options import NewJob
from riverbridge.sources.base import Event

PLAN = Plan(kind="signup")
HEADERS = (
    ("ce_specversion", b"1.0"),
    ("ce_id", b"17"),
    ("ce_source", b"shop"),
    ("ce_type", b"order.placed"),
    ("ce_subject", b"order-1"),
)


def job_of(event: Event, plan: Plan = PLAN) -> NewJob:
    [mapped] = Mapper("events", plan).map(event)
    assert mapped.reason == ""
    assert mapped.job is not None
    return mapped.job


def reason_of(event: Event, plan: Plan = PLAN) -> str:
    [mapped] = Mapper("events", plan).map(event)
    assert mapped.job is None
    return mapped.reason


def test_an_object_is_the_args_as_it_is() -> None:
    job = job_of(Event("t/0@7", b' {"a": 1.0e+2,\n"a": "\xc3\xa9"}'))
    assert job.args == ' {"a": 1.0e+2,\n"a": "é"}'
    assert (job.kind, job.queue, job.priority, job.max_attempts) == ("signup", "default", 1, 25)
    assert json.loads(job.metadata) == {"riverbridge:source": "events"}
    assert job.unique_states == ANY_STATE
    assert len(job.unique_key or b"") == 32


@pytest.mark.parametrize(
    ("body", "decoding", "value"),
    [
        (b"[1, {}]", "json", [1, {}]),
        (b' "x" ', "json", "x"),
        (b"null", "json", None),
        (b"17", "json", 17),
        (b'say "hi"\n', "text", 'say "hi"\n'),
        (b"\xff\x00", "base64", "/wA="),
    ],
)
def test_what_is_no_object_stands_under_value(body: bytes, decoding: str, value: object) -> None:
    plan = replace(PLAN, decoding=decoding)  # type: ignore[arg-type]
    assert json.loads(job_of(Event("1", body), plan).args) == {"value": value}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "not JSON"),
        (b'{"a": 1', "not JSON"),
        (b'{"a": 1} x', "not JSON"),
        (b'1}, {"a": 2', "not JSON"),
        (b"1], [2", "not JSON"),
        (b"NaN", "not JSON"),
        (b'\xef\xbb\xbf{"a": 1}', "not JSON"),
        (b'{"a": "\xff"}', "not UTF-8 at byte 7"),
        (b'{"a": "\\u0000"}', "a NUL"),
        (b'"\\ud800"', "not JSON"),
        (b'{"a":' * 20_000 + b"1" + b"}" * 20_000, "nested in more than 500 levels"),
        (b"1e400", "a number|not JSON"),
        (b"\x00\x00\x00\x00\x07\x02\x08", "schema registry"),
    ],
    ids=range(13),
)
def test_what_is_not_json_goes_into_quarantine(body: bytes, why: str) -> None:
    import re

    assert re.search(why, reason_of(Event("1", body)))


def test_templates_make_the_job_of_the_event() -> None:
    plan = Plan(
        kind="{type}", queue="q-{body.plan}", priority="{headers.x.priority}", max_attempts="3",
        scheduled_at="{body.due}", tags=("{subject}",), metadata={"from": "{topic} {key} {time}"},
    )  # fmt: skip
    event = Event(
        "t/0@7",
        b'{"plan": "pro", "due": "2026-01-02T03:04:05+01:00"}',
        "t",
        b"k1",
        (*HEADERS, ("X.Priority", b"2")),
        datetime(2026, 1, 1, tzinfo=UTC),
    )
    job = job_of(event, plan)
    assert (job.kind, job.queue, job.priority, job.max_attempts) == ("order.placed", "q-pro", 2, 3)
    assert job.scheduled_at == datetime(2026, 1, 2, 2, 4, 5, tzinfo=UTC)
    assert job.tags == ("order-1",)
    assert json.loads(job.metadata)["from"] == "t k1 2026-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("plan", "why"),
    [
        (Plan(kind="{body.missing}"), "body.missing"),
        (Plan(kind="a", priority="{body.n}"), "9 is out of range"),
        (Plan(kind="a", priority="{key}"), "no whole number"),
        (Plan(kind="a", queue="{body.bad}"), "queue"),
        (Plan(kind="a", scheduled_at="{body.bad}"), "no instant"),
        (Plan(kind="a", scheduled_at="2026-01-01"), "time zone"),
        (Plan(kind="a", metadata={"k": "{headers.bin}"}), "not UTF-8"),
    ],
)
def test_what_the_mapping_does_not_find_or_river_refuses_is_said(plan: Plan, why: str) -> None:
    event = Event("1", b'{"n": 9, "bad": "Not Good"}', key=b"x", headers=(("bin", b"\xff"),))
    assert why in reason_of(event, plan)


def test_a_template_that_no_event_can_fill_is_refused_at_once() -> None:
    with pytest.raises(TemplateError, match=r"no event has; known are id, source.*body\.<path>"):
        Mapper("events", Plan(kind="{args.kind}"))


def test_binary_and_structured_cloud_events_are_the_same_event() -> None:
    binary = Event("t/0@1", b'{"n": 1}', headers=HEADERS)
    structured = Event(
        "t/0@2",
        b'{"specversion":"1.0","id":"17","source":"shop","type":"order.placed","subject":"order-1",'
        b'"data": {"n": 1}}',
        headers=(("Content-Type", b"application/cloudevents+json; charset=UTF-8"),),
    )
    plan = Plan(kind="{type}", tags=("{subject}",))
    one, other = job_of(binary, plan), job_of(structured, plan)
    assert json.loads(one.args) == json.loads(other.args) == {"n": 1}
    assert (one.kind, one.tags, one.unique_key) == (other.kind, other.tags, other.unique_key)
    [elsewhere] = Mapper("other", plan).map(binary)
    assert elsewhere.digest != one.unique_key


def test_bytes_of_a_structured_cloud_event() -> None:
    def event(media: str, data: bytes) -> Event:
        text = (
            b'{"specversion":"1.0","id":"1","source":"s","type":"t","datacontenttype":"%s",'
            b'"data_base64":"%s"}' % (media.encode(), data)
        )
        return Event("1", text, headers=(("content-type", b"application/cloudevents+json"),))

    assert json.loads(job_of(event("application/json", b"eyJuIjoxfQ==")).args) == {"n": 1}
    assert json.loads(job_of(event("image/png", b"iVBO")).args) == {"value": "iVBO"}
    assert "not base64" in reason_of(event("image/png", b"?"))


def test_a_cloud_event_without_an_id_is_none() -> None:
    headers = tuple(pair for pair in HEADERS if pair[0] != "ce_id")
    assert "without id" in reason_of(Event("1", b"{}", headers=headers))


def test_the_trace_goes_into_the_metadata() -> None:
    headers = (("traceparent", b"00-a-b-01"), ("tracestate", b"x=y"))
    metadata = json.loads(job_of(Event("1", b"{}", headers=headers)).metadata)
    assert (metadata["traceparent"], metadata["tracestate"]) == ("00-a-b-01", "x=y")


def test_the_identity_is_the_events_unless_said() -> None:
    one, again = Event("1", b'{"order": 5, "v": 1}'), Event("2", b'{"order": 5, "v": 2}')
    assert job_of(one).unique_key != job_of(again).unique_key
    plan = replace(PLAN, identity="{body.order}")
    assert job_of(one, plan).unique_key == job_of(again, plan).unique_key


def test_a_tombstone_is_passed_over_made_a_job_or_put_away() -> None:
    [skipped] = Mapper("events", PLAN).map(Event("1", None, key=b"k-1"))
    assert (skipped.job, skipped.reason) == (None, "")
    made = job_of(Event("1", None, key=b"k-1"), replace(PLAN, tombstones="job", tags=("{key}",)))
    assert (json.loads(made.args), made.tags) == ({"value": None}, ("k-1",))
    assert "tombstone" in reason_of(Event("1", None), replace(PLAN, tombstones="quarantine"))


@pytest.mark.parametrize(
    ("only", "taken"),
    [
        ("body.n > 5", True),
        ("body.n > 9", False),
        ("body.missing == 1", False),
        ('event.type == "order.placed" && event.source == "shop"', True),
        ('event.type != "order.placed"', False),
        ('headers["x-plan"] == "pro" && "ce_id" in headers', True),
        ('headers["none"] == "pro"', False),
        ('event.key == "k1" && event.topic == "t" && event.id == "17"', True),
        ('timestamp(event.time) > timestamp("2026-01-01T00:00:00Z")', False),
        ("has(event.subject) && !has(event.nothing)", True),
    ],
)
def test_only_events_of_which_the_filter_is_true_become_jobs(only: str, taken: bool) -> None:
    pytest.importorskip("cel_expr_python")
    headers = (*HEADERS, ("X-Plan", b"pro"))
    event = Event("t/0@7", b'{"n": 9}', "t", b"k1", headers, datetime(2026, 1, 1, tzinfo=UTC))
    [mapped] = Mapper("events", replace(PLAN, only=only)).map(event)
    assert (mapped.job is not None, mapped.reason) == (taken, "")


def test_what_a_filter_cannot_judge_is_put_away() -> None:
    pytest.importorskip("cel_expr_python")
    assert "body.n" in reason_of(Event("1", b'{"n": "x"}'), replace(PLAN, only="body.n > 5"))
    # A field that is not there is nothing that cannot be judged.
    [plain] = Mapper("events", replace(PLAN, only='event.type != "t"')).map(Event("1", b"{}"))
    assert (plain.job, plain.reason) == (None, "")
    with pytest.raises(ConditionError, match="args"):
        Mapper("events", replace(PLAN, only="args.n > 5"))
