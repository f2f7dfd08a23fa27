"""What people write into a search, and what it asks for."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from riverbridge.console.redaction import MASK, Redaction, Rule
from riverbridge.errors import InvalidRequest
from riverbridge.model.job_search import JobSearch, parse_search

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ("", {}),
        ("kind:order.* kind:mail -kind:x", {"kinds": ("order.*", "mail"), "not_kinds": ("x",)}),
        ('queue:a -queue:b tag:eu -tag:"u s"',
         {"queues": ("a",), "not_queues": ("b",), "tags": ("eu",), "not_tags": ("u s",)}),
        ("id:1 id:22 priority:4 worker:w", {"ids": (1, 22), "priorities": (4,), "workers": ("w",)}),
        ("since:2h until:2026-01-31T13:00Z",
         {"since": NOW - timedelta(hours=2), "until": NOW + timedelta(hours=1)}),
        ("finished:24h", {"finished": NOW - timedelta(hours=24)}),
        ("since:2026-01-30", {"since": datetime(2026, 1, 30, tzinfo=UTC)}),
        (r'two words "a phrase" -not "q\"uote"',
         {"words": ("two", "words", "a phrase", 'q"uote'), "not_words": ("not",)}),
        ('error:"timed out" -error:x', {"errors": ("timed out",), "not_errors": ("x",)}),
        ("https://a.b/c 12:30 -", {"words": ("https://a.b/c", "12:30", "-")}),
        ("state:running", {"states": ("running",)}),
    ],
)  # fmt: skip
def test_tokens(text: str, asked: dict[str, Any]) -> None:
    assert parse_search(text, NOW) == JobSearch(**asked)


@pytest.mark.parametrize(
    ("text", "objects"),
    [
        ("args.a:x", [{"a": "x"}]),
        ("args.a.b:42", [{"a": {"b": 42}}, {"a": {"b": "42"}}]),
        ('args.a:"42"', [{"a": "42"}]),
        ("args.a:true args.b.c:x", [{"a": True, "b": {"c": "x"}}, {"a": "true", "b": {"c": "x"}}]),
        ("args.items[].sku:x", [{"items": [{"sku": "x"}]}]),
        ("args.a:007", [{"a": "007"}]),
        ("args.a.b:x args.a.c:y", [{"a": {"b": "x", "c": "y"}}]),
    ],
)
def test_values_in_args(text: str, objects: list[Any]) -> None:
    assert [json.loads(each) for each in parse_search(text, NOW).args] == objects


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("kinds:x", "kinds: is nothing to search for: use args, error"),
        ("kind:", "kind: has no value"),
        ("-args.a:1", "cannot be asked for by what it is not"),
        ("-id:1", "only kind, queue, tag, error and words can be left out"),
        ("args:1", "say what of it, as in args.customer.id:42"),
        ("kind.a:1", "only args and metadata have parts"),
        ("id:x", "id: x is no number"),
        ("id:99999999999999999999", "is no number"),
        ("priority:5", "priority: 5 is none"),
        ("state:done", "state: done is none: use available"),
        ("since:soon", "since: soon is no instant"),
        ("since:999999w", "since"),
        ("args.a:1 args.b:2 args.c:3", "too many values that may be a number or a text"),
        ("args.a:x args.a:y", "asks for two values at one place"),
        ("x" * 2001, "2001 characters"),
        ("a\0b", "the search"),
    ],
)
def test_what_cannot_be_asked(text: str, problem: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        parse_search(text, NOW)
    assert problem in str(refused.value)


@pytest.mark.parametrize(
    ("rule", "path", "hidden"),
    [
        ("card.number", "card.number", True),
        ("card", "card.number", True),
        ("card.number", "card", False),
        ("card.*", "card.owner", True),
        ("items.*.sku", "items[].sku", True),
        ("items.0.sku", "items[].sku", True),
        ("card", "cards", False),
    ],
)
def test_what_a_search_could_tell(rule: str, path: str, hidden: bool) -> None:
    assert Redaction([Rule.parse(f"pay:{rule}")]).hides(path.split(".")) is hidden


def test_what_is_hidden() -> None:
    redaction = Redaction([Rule.parse("pay.*:card.number"), Rule.parse("items.*.sku")])
    args = {"card": {"number": {"deep": 1}, "owner": "A"}, "items": [{"sku": "x"}, 5, "y"]}
    shown = {"card": {"number": MASK, "owner": "A"}, "items": [{"sku": MASK}, 5, "y"]}
    assert redaction.args("pay.out", args) == shown
    assert redaction.args("other", args)["card"]["number"] == {"deep": 1}
    assert redaction.args("pay.out", '{"card": {"number": [[[') == MASK
