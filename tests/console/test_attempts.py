"""The page of a job: how the error of an attempt differs from the one before."""

from __future__ import annotations

import re
from typing import Any

import psycopg

from riverbridge.console.pages.job import COMPARED_MAX
from tests.support.console import Desk, Markup, insert


def failed(look: psycopg.Connection[Any], *errors: tuple[str, str]) -> int:
    return insert(
        look,
        state="retryable",
        attempt=len(errors),
        attempted_by=["w"] * len(errors),
        errors=[
            {"at": f"2026-01-02T03:{n // 60:02}:{n % 60:02}Z", "attempt": n, "error": error,
             "trace": trace}
            for n, (error, trace) in enumerate(errors, 1)
        ],
    )  # fmt: skip


def attempts(office: Desk, id: int) -> dict[int, str]:
    """What stands in each attempt."""
    text = office.get(f"/jobs/{id}").text
    parts = re.split(r'data-key="attempt-(\d+)"', text)[1:]
    return {int(n): Markup(part).text for n, part in zip(parts[::2], parts[1::2], strict=True)}


def test_each_error_is_compared_with_the_one_before(
    office: Desk, look: psycopg.Connection[Any]
) -> None:
    trace = "\n".join(f"at line {n}" for n in range(20))
    id = failed(
        look,
        ("no answer in 5 s", trace),
        ("no answer in 5 s", trace),
        ("no answer in 7 s", trace),
        ("no answer in 7 s", trace.replace("line 9", "line 99")),
        ("no such host", ""),
    )
    found = attempts(office, id)
    assert "Compared" not in found[1]
    assert "The same error as in attempt 1." in found[2]
    assert "attempt 2: the same kind of error in other words" in found[3]
    assert "- no answer in 5 s + no answer in 7 s" in found[3].replace("  ", " ")
    assert "attempt 3: the same message, another trace" in found[4]
    assert "… 7 equal lines at line 7 at line 8 - at line 9 + at line 99 at line 10" in found[4]
    assert "… 8 equal lines" in found[4]
    assert "attempt 4: another error" in found[5]


def test_what_it_says_is_text(office: Desk, look: psycopg.Connection[Any]) -> None:
    evil = "</del></pre><script>alert({})</script>"
    id = failed(look, (evil.format(1), evil.format(2)), (evil.format(3), evil.format(4)))
    answer = office.get(f"/jobs/{id}").text
    assert "<script>alert" not in answer
    assert "+ </del></pre><script>alert(3)" in Markup(answer).text


def test_many_large_ones_are_bounded(office: Desk, look: psycopg.Connection[Any]) -> None:
    count = COMPARED_MAX + 6
    id = failed(look, *((f"no {n}", f"{n}\n" * 20_000) for n in range(10, 10 + count)))
    text = office.get(f"/jobs/{id}").text
    assert text.count("Compared with attempt") == COMPARED_MAX
    assert f"Compared with attempt {count - 1}" in text
    assert "Only the beginning of what differs is shown." in text
    compared = sum(map(len, re.findall(r'<pre tabindex="0" class="diff">.*?</pre>', text, re.S)))
    assert compared < 500_000
