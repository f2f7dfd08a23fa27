"""Which JSON is accepted as args and metadata."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverbridge.model import json_object
from riverbridge.model.json_object import NESTING_MAX, encoded_problem, object_problem, read_object
from riverbridge.model.json_text import encode
from tests.support.json_values import objects


def nested(levels: int) -> str:
    return '{"a":' * levels + "1" + "}" * levels


@given(objects, st.booleans())
def test_every_plain_object_is_accepted_and_read_back(value: dict[str, Any], ascii: bool) -> None:
    text = json.dumps(value, ensure_ascii=ascii)
    assert object_problem(text) is None
    assert read_object(text) == value


@given(objects)
def test_what_is_encoded_is_found_good_by_the_quick_look_and_by_the_long_one(
    value: dict[str, Any],
) -> None:
    text = encode(value)
    assert encoded_problem(text) is None
    assert object_problem(text) is None


@pytest.mark.parametrize(
    "text", ["[1]", "1", '{"a":"\\u0000"}', nested(NESTING_MAX + 1)], ids=lambda text: text[:24]
)
def test_the_quick_look_finds_what_an_encoder_may_write_and_a_row_cannot_hold(text: str) -> None:
    problem = encoded_problem(text)
    assert problem is not None
    assert problem == object_problem(text)


def test_what_a_jsonb_is_too_small_for_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(json_object, "SIZE_MAX", 8000)
    for problem in (object_problem, encoded_problem):
        assert problem('{"a":"' + "x" * 7992 + '"}') is None
        assert problem('{"a":"' + "x" * 7993 + '"}') == (
            "has 8001 bytes; a jsonb holds at most 8000: send a reference to the data"
        )
        assert "8006 bytes" in str(problem('{"a":"' + "é" * 3999 + '"}'))


@given(st.text(), st.text())
def test_a_nul_is_refused_wherever_it_stands_and_only_a_nul(before: str, after: str) -> None:
    text = json.dumps({"a": before + after})
    with_nul = json.dumps({"a": before + "\x00" + after})
    has = "\x00" in before + after
    assert ("NUL" in (object_problem(text) or "")) is has
    assert "NUL" in (object_problem(with_nul) or "")


@given(st.text())
def test_any_text_has_an_answer_and_python_agrees_on_what_is_no_json(text: str) -> None:
    if object_problem(text) is None:
        assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        ' \n{"a": 1}\t',
        '{"a": "\\\\u0000"}',
        '{"a": "\\ud83d\\ude00"}',
        '{"a": 1e308, "b": 1e-400, "c": -0.0}',
        '{"a": ' + "9" * 400 + "}",
        '{"a": 1, "a": 2}',
        nested(NESTING_MAX),
        '{"a": "' + "[" * 5000 + '"}',
        '{"a": [' + ",".join(["[]"] * 5000) + "]}",
    ],
    ids=lambda text: text[:24],
)
def test_accepted(text: str) -> None:
    assert object_problem(text) is None


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ('{"a": 1} x', "is not JSON"),
        ('\ufeff{"a": 1}', "is not JSON"),
        ('{"a": 1} // why', "is not JSON"),
        ("{'a': 1}", "is not JSON"),
        ('{"a": 01}', "is not JSON"),
        ('{"a": NaN}', "NaN, Infinity"),
        ('{"a": -Infinity}', "NaN, Infinity"),
        ('{"a": "\\ud800"}', "half a surrogate pair"),
        ('{"a": "\\ude00\\ud83d"}', "half a surrogate pair"),
        ('{"a": "\\ud800", "a": 1}', "half a surrogate pair"),
        ('{"a": "\ud800"}', "half a surrogate pair at character 7"),
        ('{"a": "\\u0000"}', "NUL at character 7"),
        ('{"a": "\\\\\\u0000"}', "NUL at character 9"),
        ('{"\\u0000": 1}', "NUL at character 2"),
        ('{"a": 1e400}', "beyond 1.8e308"),
        ('{"a": 1e-20000}', "more than 1000 digits"),
        ('{"a": 0e999999999999999999}', "more than 1000 digits"),
        ('{"a": 0.' + "1" * 2000 + "}", "more than 1000 digits"),
        ('{"a": ' + "9" * 5000 + "}", "holds a number"),
        ("[]", "not an array"),
        ('"a"', "not a string"),
        ("1", "not a number"),
        ("1.5", "not a number"),
        ("true", "not a boolean"),
        ("null", "not null"),
        (nested(NESTING_MAX + 1), "500 levels"),
        (nested(100_000), "500 levels"),
        ("[" * 100_000, "500 levels"),
        (b"{}", "not bytes"),
        ({}, "not dict"),
        (None, "not NoneType"),
    ],
    ids=lambda value: str(value)[:24].encode("ascii", "backslashreplace").decode(),
)
def test_refused_with_the_rule(text: object, rule: str) -> None:
    problem = object_problem(text)
    assert problem is not None
    assert rule in problem
