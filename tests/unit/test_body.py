"""Bodies by template: JSON whatever a job holds, and what is no JSON is refused at the start."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given

from riverbridge.bridge.body import Body
from riverbridge.errors import TemplateError
from tests.support.jobs import job
from tests.support.json_values import objects, texts


def rendered(body: str, **columns: Any) -> bytes:
    return Body.parse(body).render(job(**columns), "shop:1")


def test_every_field() -> None:
    body = (
        '{"e": {event_id}, "id":{id},"kind": { kind },"q":{queue},"p":{priority},"a":{attempt},'
        '"tags":{tags},"c":{created_at},"s":{scheduled_at},"args":{args},"meta":{metadata}}'
    )
    found = rendered(
        body,
        id=42,
        attempt=2,
        tags="x,y",
        created_at=datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
        args='{"n": 1.10}',
        metadata="{}",
    )
    assert b'"args":{"n": 1.10}' in found
    assert json.loads(found) == {
        "e": "shop:1",
        "id": 42,
        "kind": "order.placed",
        "q": "q",
        "p": 1,
        "a": 3,
        "tags": ["x", "y"],
        "c": "2026-01-02T03:04:05.000678Z",
        "s": "2026-01-02T03:04:05Z",
        "args": {"n": 1.1},
        "meta": {},
    }
    assert rendered('{"t":{tags}}') == b'{"t":[]}'


ARGS = (
    r'{"s": "say \"hi\" \\ \u0001 é", "n": 12345678901234567890.10, '
    r'"o": {"a": [1, "x"]}, "z": null}'
)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{args.s}", r'"say \"hi\" \\ \u0001 é"'),
        ("[{args.n}, {args.o}]", '[12345678901234567890.10, {"a": [1, "x"]}]'),
        ('{"z":{args.z},"none":{args.none},"deep":{args.none.deep}}', None),
        ('"{args.s}!"', r'"say \"hi\" \\ \u0001 é!"'),
        ('"{id}: {args.o} of {kind}"', r'"1: {\"a\": [1, \"x\"]} of order.placed"'),
        (r'"{{\"{id}\"}} \\{kind}"', r'"{\"1\"} \\order.placed"'),
        ('{"{kind}": 1}', '{"order.placed": 1}'),
        ("{ } ", "{ } "),
        ("{metadata.m:n}", "7"),
    ],
)
def test_values_go_in_as_json(body: str, text: str | None) -> None:
    found = rendered(body, args=ARGS, metadata='{"m:n": 7}').decode()
    if text is None:
        assert json.loads(found) == {"z": None, "none": None, "deep": None}
    else:
        assert found == text
        json.loads(found)


@given(objects, texts)
def test_no_job_can_break_the_document(document: dict[str, Any], kind: str) -> None:
    body = '{"kind":{kind},"text":"a {kind} b","args":{args},"again":[{args}]}'
    found = json.loads(rendered(body, args=json.dumps(document), kind=kind))
    assert found == {
        "kind": kind,
        "text": f"a {kind} b",
        "args": document,
        "again": [document],
    }


@pytest.mark.parametrize(
    "body",
    [
        '{"id":{id}',
        '{"id":{id}}}',
        "{id}{id}",
        "-{id}",
        "{{id}: 1}",
        "id={id}",
        '{"a":NaN}',
        '{"a":"x}',
        "{'a':{id}}",
        "",
    ],
)
def test_what_is_no_json_is_refused_at_the_start(body: str) -> None:
    with pytest.raises(TemplateError, match="is no JSON"):
        Body.parse(body)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("{nothing}", r"\{nothing\}, which no job has; known are event_id, id"),
        ("{args.}", r"\{args\.\}, which no job has"),
        ("{id.x}", "which no job has"),
        ('"{nothing}"', "which no job has"),
        ('"a { b"', "single '{'"),
        ('"a } b"', "single '}'"),
    ],
)
def test_what_no_job_has_is_refused_at_the_start(body: str, why: str) -> None:
    with pytest.raises(TemplateError, match=why):
        Body.parse(body)


def test_a_text_needs_its_values() -> None:
    with pytest.raises(TemplateError, match=r"needs args\.none in a text"):
        rendered('"{args.none}"')
    with pytest.raises(TemplateError, match=r"args\.a\.b: "):
        rendered("{args.a.b}", args='{"a": 1}')
