"""Templates and envelopes: text or TemplateError, whatever a job holds."""

from __future__ import annotations

import contextlib
import json
from datetime import UTC, datetime, timedelta, timezone
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverbridge.bridge.body import Body
from riverbridge.bridge.envelope import KINDS_KEPT, Envelope, EnvelopeKind, expired
from riverbridge.bridge.template import LONGEST, Template
from riverbridge.errors import TemplateError
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Cancelled
from tests.support.jobs import job


def rendered(template: str, **columns: object) -> str:
    return Template.parse(template).render(job(**columns))


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("plain", "plain"),
        ("100%", "100%"),
        ("%s of {kind} %(a)s", "%s of order.placed %(a)s"),
        ("{kind}", "order.placed"),
        ("{ id }-{queue}-{priority}-{tags}", "7-q-2-x,y"),
        ("{attempt}", "3"),
        ("{{{kind}}}", "{order.placed}"),
        ("{{kind}}", "{kind}"),
        ("a{{}}b", "a{}b"),
        ("{args.s}", 'tab\there "é" 😀'),
        ("{args.n}", "12345678901234567890.000000000000000001000"),
        ("{args.t}", "true"),
        ("{args.o.a}", "[1, 2]"),
        ("{args.o}", '{"a": [1, 2]}'),
        ("{args.null-ish}", "null"),
        ("{args.with space}", "1"),
        ("{args.e}", ""),
        ("{metadata.m:n}", "1"),
        ("{args.s2|none}-{args.t|none}", "none-true"),
        ("{args.gone|}.{args.o.b.c|x y}", ".x y"),
        ("{metadata.gone|a/b}", "a/b"),
    ],
)
def test_templates(template: str, text: str) -> None:
    args = (
        r'{"s": "tab\there \"é\" \ud83d\ude00", "n": 12345678901234567890.000000000000000001000, '
        r'"t": true, "o": {"a": [1, 2]}, "null-ish": "null", "with space": 1, "e": ""}'
    )
    columns = {"id": 7, "priority": 2, "tags": "x,y", "attempt": 2}
    assert rendered(template, args=args, metadata='{"m:n": 1}', **columns) == text


def test_null_is_no_value_and_another_type_on_the_way_is_an_error() -> None:
    assert rendered("{args.a|other}", args='{"a": null}') == "other"
    with pytest.raises(TemplateError):
        rendered("{args.a.b|other}", args='{"a": 1}')
    assert Template.parse("{args.a|a/b}", lambda value: "!").render(job(args="{}")) == "a/b"


def test_only_what_a_job_brings_is_escaped() -> None:
    template = Template.parse("/a b/{args.x}/{kind}", lambda value: value.upper())
    assert template.render(job(args='{"x": "y z"}')) == "/a b/Y Z/ORDER.PLACED"
    with pytest.raises(TemplateError, match=r"needs args\.x"):
        template.render(job(args="{}"))


@pytest.mark.parametrize(
    "template",
    [
        "{",
        "}",
        "a{b",
        "{}",
        "{nothing}",
        "{kind.x}",
        "{args}",
        "{args.}",
        "{args..a}",
        "{metadata}",
        "{args.a[0]}",
        "{kind!r}",
        "{id:>99999999}",
        "{args.a\nb}",
        "{kind}}",
        "{__class__}",
    ],
)
def test_templates_that_cannot_be_parsed_say_what_is_wrong(template: str) -> None:
    with pytest.raises(
        TemplateError, match=r"write \S+ for a brace|which no job has; known are id"
    ):
        Template.parse(template)


@pytest.mark.parametrize(
    ("args", "path"),
    [
        ("{}", "a"),
        ('{"a": null}', "a"),
        ('{"a": 1}', "a.b"),
        ('{"a": "text"}', "a.b"),
        ('{"a": [1]}', "a.b"),
        ('{"a": null}', "a.b"),
        ('{"a": {}}', "a.b.c.d"),
        ("[1]", "a"),
        ('"text"', "a"),
        ("1", "a"),
    ],
)
def test_a_field_without_a_value_is_named(args: str, path: str) -> None:
    with pytest.raises(TemplateError, match=rf"args\.{path}"):
        rendered(f"{{args.{path}}}", args=args)


def test_deep_documents_are_refused_or_read_never_a_crash() -> None:
    deep = '{"a": ' * 100_000 + "1" + "}" * 100_000
    with pytest.raises(TemplateError):
        rendered("{args.a.b}", args=deep)


def test_a_long_result_is_refused_in_few_words() -> None:
    assert rendered("{args.a}", args=json.dumps({"a": "x" * LONGEST})) == "x" * LONGEST
    with pytest.raises(TemplateError, match="10000000 characters") as refused:
        rendered("{args.a}", args=json.dumps({"a": "x" * 10_000_000}))
    assert len(str(refused.value)) < 200


@given(st.text())
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        template = Template.parse(text)
    except TemplateError:
        return
    with contextlib.suppress(TemplateError):
        assert isinstance(template.render(job()), str)


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner),
    max_leaves=10,
)


@given(documents, st.lists(st.sampled_from("abc"), min_size=1, max_size=4))
def test_any_document_gives_its_value_or_is_refused(document: object, path: list[str]) -> None:
    found: object = document
    for step in path:
        found = found.get(step) if isinstance(found, dict) else None
    name = "{args." + ".".join(path) + "}"
    try:
        text = rendered(name, args=json.dumps(document))
    except TemplateError:
        assert found is None
        return
    assert text == (found if isinstance(found, str) else json.dumps(found))


def envelope(kind: str = "cloudevents", **more: object) -> Envelope:
    return Envelope(kind, source="river/1/db/public", **more)  # type: ignore[arg-type]


def headers(one: ClaimedJob, kind: str = "cloudevents") -> dict[str, str]:
    message = envelope(kind).render(one)
    assert len(dict(message.headers)) == len(message.headers)
    return dict(message.headers)


def test_cloudevents_binary() -> None:
    east = timezone(timedelta(hours=5, minutes=30))
    created = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC).astimezone(east)
    body = '{"n": 1.000000000000000000001, "é": "語"}'
    message = envelope().render(job(id=42, args=body, created_at=created))
    assert message.id == "river/1/db/public:42"
    assert message.body == body.encode()
    assert (message.destination, message.key, message.timestamp) == ("", None, None)
    assert dict(message.headers) == {
        "ce_id": "river/1/db/public:42",
        "ce_type": "order.placed",
        "ce_time": "2026-01-02T03:04:05.000678Z",
        "ce_specversion": "1.0",
        "ce_source": "river/1/db/public",
        "content-type": "application/json",
    }


def test_each_job_of_an_envelope_has_its_own_headers() -> None:
    one = envelope()
    for number in range(2 * KINDS_KEPT + 3):
        created = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=number // 2)
        found = dict(
            one.render(job(id=number, kind=f"k{number % 1500}", created_at=created)).headers
        )
        assert found["ce_type"] == f"k{number % 1500}"
        assert found["ce_time"] == created.isoformat()[:-6] + "Z"
        assert found["ce_id"].endswith(f":{number}")


def test_raw() -> None:
    assert headers(job(id=42), "raw") == {"event-id": "river/1/db/public:42"}


BIG = '{"n": 1.000000000000000000001, "é": "語"}'


def test_cloudevents_structured() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    one = job(id=42, args=BIG, metadata=json.dumps({"traceparent": parent}))
    message = envelope("cloudevents-structured").render(one)
    content_type = "application/cloudevents+json; charset=UTF-8"
    assert dict(message.headers) == {"content-type": content_type, "traceparent": parent}
    assert message.body is not None
    assert message.body.endswith(f',"data":{BIG}}}'.encode())
    assert json.loads(message.body) == {
        "specversion": "1.0",
        "id": "river/1/db/public:42",
        "source": "river/1/db/public",
        "type": "order.placed",
        "time": "2026-01-02T03:04:05Z",
        "datacontenttype": "application/json",
        "traceparent": parent,
        "data": json.loads(BIG),
    }


def test_debezium() -> None:
    message = envelope("debezium").render(job(args=BIG, metadata='{"event_id": "0af7"}'))
    assert message.body == BIG.encode()
    assert message.headers == (("id", "0af7"),)


def test_the_whole_job() -> None:
    one = job(id=42, args=BIG, metadata='{"a": 1.10}', attempt=2, tags="x,y", priority=3)
    message = envelope("job").render(one)
    assert dict(message.headers) == {
        "event-id": "river/1/db/public:42",
        "content-type": "application/json",
    }
    assert message.body is not None
    assert BIG.encode() in message.body
    assert b'"metadata":{"a": 1.10}' in message.body
    assert json.loads(message.body) == {
        "id": 42,
        "kind": "order.placed",
        "queue": "q",
        "priority": 3,
        "attempt": 3,
        "max_attempts": 25,
        "created_at": "2026-01-02T03:04:05Z",
        "scheduled_at": "2026-01-02T03:04:05Z",
        "tags": ["x", "y"],
        "args": json.loads(BIG),
        "metadata": {"a": 1.1},
    }
    assert json.loads(envelope("job").render(job()).body or b"")["tags"] == []


@pytest.mark.parametrize("kind", get_args(EnvelopeKind))
def test_a_tombstone_has_no_body(kind: str) -> None:
    assert envelope(kind).render(job(metadata='{"tombstone": true}')).body is None
    for metadata in ('{"tombstone": false}', '{"tombstone": null}', '{"a": "\\"tombstone\\""}'):
        assert envelope(kind).render(job(metadata=metadata)).body is not None


def test_a_job_is_delivered_until_it_expires() -> None:
    now = datetime.now(timezone(timedelta(hours=5)))
    for metadata in ("{}", '{"expires_at": null}', '{"other": {"expires_at": "x"}}'):
        assert expired(job(metadata=metadata)) is None
    later = (now + timedelta(minutes=1)).isoformat()
    assert expired(job(metadata=json.dumps({"expires_at": later}))) is None
    past = (now - timedelta(seconds=1)).isoformat()
    over = expired(job(metadata=json.dumps({"expires_at": past})))
    assert over == Cancelled(f"not delivered: it expired at {past}")


@pytest.mark.parametrize("bad", ["soon", "2026-01-02", "2026-01-02T03:04:05", 5, True, ["x"]])
def test_an_instant_that_is_none_is_named(bad: object) -> None:
    with pytest.raises(TemplateError, match=r"metadata\.expires_at: .* is no instant"):
        expired(job(metadata=json.dumps({"expires_at": bad})))


@pytest.mark.parametrize(
    ("metadata", "id_"),
    [
        ('{"event_id": "mine"}', "mine"),
        ('{"event_id": 12345678901234567890123}', "12345678901234567890123"),
        ('{"event_id": ""}', "river/1/db/public:1"),
        ('{"event_id": null}', "river/1/db/public:1"),
        ('{"other": {"event_id": "x"}}', "river/1/db/public:1"),
        ('["event_id"]', None),
    ],
)
def test_the_inserter_may_give_the_event_id(metadata: str, id_: str | None) -> None:
    for attempt in (0, 3):
        if id_ is None:
            with pytest.raises(TemplateError):
                envelope().render(job(metadata=metadata, attempt=attempt))
        else:
            message = envelope().render(job(metadata=metadata, attempt=attempt))
            assert message.id == id_
            assert dict(message.headers)["ce_id"] == id_


def test_the_trace_context_travels() -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    metadata = json.dumps({"traceparent": parent, "tracestate": "a=1,b=2", "tracing": 1})
    found = headers(job(metadata=metadata))
    assert found["traceparent"] == parent
    assert found["tracestate"] == "a=1,b=2"
    assert "tracing" not in found
    assert "traceparent" not in headers(job(metadata='{"traceparent": null}'))


@pytest.mark.parametrize("bad", ["a\r\nb", "a\nb", "a\rb", "a\x00b"])
def test_no_header_holds_a_line_break(bad: str) -> None:
    mine = envelope(headers={"x": Template.parse("{args.h}")})
    assert dict(mine.render(job(args='{"h": "fine"}')).headers)["x"] == "fine"
    for one in (
        job(args=json.dumps({"h": bad})),
        job(args='{"h": ""}', kind=bad),
        job(args='{"h": ""}', metadata=json.dumps({"event_id": bad})),
    ):
        with pytest.raises(TemplateError, match="line break or NUL"):
            mine.render(one)
    traced = job(args='{"h": ""}', metadata=json.dumps({"traceparent": bad, "tracestate": "a=1"}))
    assert "traceparent" not in dict(mine.render(traced).headers)
    assert dict(mine.render(traced).headers)["tracestate"] == "a=1"


def test_headers_are_bounded_in_number_and_size() -> None:
    many = {f"h{n}": Template.parse("v") for n in range(65)}
    with pytest.raises(TemplateError, match="the limit is 64"):
        envelope(headers=many).render(job())
    large = {f"h{n}": Template.parse("{args.h}") for n in range(5)}
    assert envelope(headers=large).render(job(args='{"h": "x"}'))
    with pytest.raises(TemplateError, match="the limit is 16384"):
        envelope(headers=large).render(job(args=json.dumps({"h": "x" * 4000})))


def test_destination_and_key() -> None:
    made = envelope(destination=Template.parse("jobs.{kind}"), key=Template.parse("{args.a}"))
    message = made.render(job())
    assert (message.destination, message.key) == ("jobs.order.placed", "1")
    with pytest.raises(TemplateError):
        made.render(job(args="{}"))


def test_a_body_of_the_users_own() -> None:
    made = envelope("template", body=Body.parse('{"no":{id},"data":{args}}'))
    message = made.render(job(id=42, args=BIG))
    assert message.body == b'{"no":42,"data":' + BIG.encode() + b"}"
    assert dict(message.headers) == {
        "event-id": "river/1/db/public:42",
        "content-type": "application/json",
    }


@pytest.mark.parametrize("kind", ["cloudevents", "debezium", "job", "raw", "template"])
def test_the_content_type_may_be_another(kind: str) -> None:
    body = Body.parse("{args}") if kind == "template" else None
    message = envelope(kind, content_type="application/x+json", body=body).render(job())
    assert [value for name, value in message.headers if name == "content-type"] == [
        "application/x+json"
    ]


def test_a_body_is_for_its_own_envelope_only() -> None:
    made = envelope("job", body=Body.parse('{"no":{id}}'))
    assert json.loads(made.render(job(id=42)).body or b"")["id"] == 42


def test_a_message_may_have_a_time_and_a_partition() -> None:
    created, due = datetime(2026, 1, 2, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC)
    one = job(created_at=created, scheduled_at=due, args='{"p": 7}')
    assert envelope(timestamp="created_at").render(one).timestamp == created
    assert envelope(timestamp="scheduled_at").render(one).timestamp == due
    placed = envelope(partition=Template.parse("{args.p}"))
    assert placed.render(one).partition == 7
    assert placed.render(one).timestamp is None
    for bad in ("-1", "1.0", '"x"', "1234567890", '""', '"٣"', "true"):
        with pytest.raises(TemplateError, match="no whole number"):
            placed.render(job(args=f'{{"p": {bad}}}'))
