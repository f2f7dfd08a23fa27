"""Globs: tables of cases, and properties against a slower but obvious way."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riverbridge.model.globs import intersect, matches, to_like

GLOBS = st.text(alphabet="ab*", max_size=7)
TEXTS = st.text(alphabet="ab", max_size=7)
ANY = st.text(alphabet="a%_\\*.\n", max_size=8)


@pytest.mark.parametrize(
    ("patterns", "kind", "expected"),
    [
        (["*"], "", True),
        (["*"], "order.placed", True),
        (["order.*"], "order.placed", True),
        (["order.*"], "order.", True),
        (["order.*"], "order", False),
        (["order.*"], "orders.placed", False),
        (["*.placed"], "order.placed", True),
        (["order.placed"], "order.placed", True),
        (["order.placed"], "order.placed2", False),
        (["a*b*c"], "a-b-b-c", True),
        (["a*b*c"], "a-c-b", False),
        (["ab*ba"], "aba", False),
        (["a?c"], "abc", False),
        (["[a]"], "a", False),
        (["x", "y*"], "yes", True),
        ([], "x", False),
    ],
)
def test_matches(patterns: list[str], kind: str, expected: bool) -> None:
    assert matches(patterns, kind) is expected


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("*", "*", True),
        ("*", "x", True),
        ("order.*", "order.placed", True),
        ("order.*", "*.placed", True),
        ("order.*", "invoice.*", False),
        ("order.*", "order", False),
        ("a*b", "b*a", False),
        ("a*", "*a", True),
        ("", "*", True),
        ("", "a", False),
        ("ab*", "*ba", True),
        ("*a*b", "a*c", False),
    ],
)
def test_intersect(a: str, b: str, expected: bool) -> None:
    assert intersect(a, b) is expected
    assert intersect(b, a) is expected


@pytest.mark.parametrize(
    ("pattern", "like"),
    [("*", "%"), ("a_b*", r"a\_b%"), ("50%", r"50\%"), ("a\\*", "a\\\\%"), ("plain", "plain")],
)
def test_to_like(pattern: str, like: str) -> None:
    assert to_like(pattern) == like


def regex(pattern: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL)


@given(ANY, ANY)
def test_matches_as_a_regular_expression(pattern: str, text: str) -> None:
    assert matches([pattern], text) == bool(regex(pattern).fullmatch(text))


@given(GLOBS, GLOBS, TEXTS)
def test_a_text_both_match_shows_that_they_intersect(a: str, b: str, text: str) -> None:
    if matches([a], text) and matches([b], text):
        assert intersect(a, b)


@settings(deadline=None)
@given(GLOBS, GLOBS)
def test_intersect_only_if_there_is_such_a_text(a: str, b: str) -> None:
    # A shortest common text has at most as many characters as both globs together.
    found, layer = False, [""]
    for _ in range(len(a) + len(b) + 1):
        found = found or any(matches([a], text) and matches([b], text) for text in layer)
        layer = [text + char for text in layer[:600] for char in "ab"]
        if found:
            break
    if found or len(a) + len(b) <= 8:
        assert intersect(a, b) is found


@given(ANY, ANY)
def test_like_says_the_same(pattern: str, text: str) -> None:
    like, at, parts = to_like(pattern), 0, []
    while at < len(like):
        if like[at] == "\\":
            parts.append(re.escape(like[at + 1]))
            at += 2
        else:
            parts.append({"%": ".*", "_": "."}.get(like[at], re.escape(like[at])))
            at += 1
    said = bool(re.fullmatch("".join(parts), text, re.DOTALL))
    assert said == matches([pattern], text)
