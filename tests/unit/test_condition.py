"""Conditions: what they may say, when they hold, and what they cannot judge."""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from riverbridge.bridge.condition import Condition
from riverbridge.errors import ConditionError, ConfigurationError
from tests.support.jobs import job
from tests.support.running import at_once

JOB = job(
    id=7,
    kind="order.placed",
    args='{"total": 129, "price": 1.5, "eu": true, "none": null, "who": {"id": "c1", "vip": true},'
    ' "lines": [{"sku": "a"}, {"sku": "b"}], "class": 3, "größe": 4, "size": 1}',
    metadata='{"source": "shop"}',
    tags="urgent,gift",
    created_at=datetime(2026, 1, 2, tzinfo=UTC),
)


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        ("args.total > 100 && args.price < 2.0", True),
        ("args.total > 100.5", True),
        ("args.total == 129.0", True),
        ('args.who.id == "c1"', True),
        ("args.who.vip && !args.eu", False),
        ("args.eu", True),
        ('"gift" in tags && size(tags) == 2', True),
        ('kind.startsWith("order.") && priority == 1 && queue == "q" && id == 7', True),
        ("attempt == 1 && max_attempts == 25", True),
        ('metadata.source == "shop"', True),
        ('args["größe"] == 4', True),
        ("args.size == 1 && args.size() == 9", True),
        ("size(args) == 9", True),
        ('args.exists(name, name == "eu")', True),
        ('args.lines.exists(line, line.sku == "b")', True),
        ('args.who.id.matches("^c[0-9]$")', True),
        ("args.none == null", True),
        ('args.total == "129"', False),
        ('created_at < timestamp("2026-01-03T00:00:00Z")', True),
        # What is not there is false, however it is asked for.
        ("args.missing > 1", False),
        ("args.missing != 1", False),
        ("args.who.missing.deeper == 1", False),
        ('metadata.missing == "x"', False),
        ("has(args.missing)", False),
        ("!has(args.missing) || args.missing > 1", True),
        ("args.missing == 1 || args.eu", True),
    ],
)
def test_conditions(text: str, holds: bool) -> None:
    assert Condition.parse(text).holds(JOB) is holds


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("args.total >", "Syntax error"),
        ("total > 1", "undeclared reference to 'total'"),
        ("args.total.foo()", "undeclared reference to 'foo'"),
        ('"yes"', "gives string; a condition is true or false"),
        ('priority == "1"', "found no matching overload"),
        ("(" * 300 + "1" + ")" * 300 + " == 1", "recursion limit"),
        ("", ""),
    ],
)
def test_what_cannot_be_a_condition_is_refused_at_once(text: str, says: str) -> None:
    with pytest.raises(ConditionError) as caught:
        Condition.parse(text)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


BIG = f'{{"all": {[1] * 2000}}}'


@pytest.mark.parametrize(
    ("text", "args", "says"),
    [
        ("args.total > 100", '{"total": "12"}', "_>_(string, int64)"),
        ("args.total > 100", '{"total": null}', "null_type"),
        ("args.total > 100", '{"total": 123456789012345678901234567890}', "out of range"),
        ("args.total > 100", "[1]", "got `array`"),
        ("args.total", '{"total": 5}', "neither true nor false: 5"),
        ("args.who.id == 1", '{"who": "x"}', "SELECT"),
        ("1 / args.total == 1", '{"total": 0}', "divide by zero"),
        ("args.all.all(a, args.all.all(b, a == b))", BIG, "Iteration budget"),
        ("has(args.a)", '{"a":' * 3000 + "1" + "}" * 3000, "recursion"),
    ],
)
def test_a_job_it_cannot_judge_is_an_error_that_names_the_condition(
    text: str, args: str, says: str
) -> None:
    with pytest.raises(ConditionError) as caught:
        Condition.parse(text).holds(job(args=args))
    assert says in str(caught.value)
    assert text in str(caught.value)


def test_threads_share_a_condition() -> None:
    condition = Condition.parse("args.n % 2 == 0")
    wrong: list[int] = []

    def ask(start: int) -> None:
        for n in range(start, start + 500):
            if condition.holds(job(args=f'{{"n": {n}}}')) != (n % 2 == 0):
                wrong.append(n)

    at_once(*(partial(ask, start) for start in range(4)))
    assert wrong == []


def test_without_its_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    missing: Any = None
    monkeypatch.setitem(sys.modules, "cel_expr_python", missing)
    with pytest.raises(ConfigurationError, match=r"install riverbridge\[conditions\]"):
        Condition.parse("true")
