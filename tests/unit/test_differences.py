"""How the errors of two attempts are compared."""

from __future__ import annotations

import random
import time

import pytest

from riverbridge.console.differences import LINE_MAX, SHOWN_MAX, Change, difference


def lines(changes: list[Change]) -> str:
    signs = {"same": " ", "gone": "-", "new": "+", "gap": "…"}
    return " ".join(f"{signs[change.what]}{change.text}".strip() for change in changes)


def test_equal_errors_have_no_difference() -> None:
    found = difference(("it timed out", "a\nb"), ("it timed out", "a\nb"))
    assert (found.alike, found.message, found.trace, found.cut) == (True, [], [], False)


@pytest.mark.parametrize(
    ("before", "after", "shown"),
    [
        ("a b c", "a x c", "a -b +x c"),
        ("a b", "a b c", "a b +c"),
        ("b c", "c", "-b c"),
        ("1 2 3 4 5 a 6 7 8 9", "1 2 3 4 5 b 6 7 8 9", "…3 4 5 -a +b 6 7 …2"),
        ("1 2 3 a 4 5 6", "1 2 3 b 4 5 6", "…1 2 3 -a +b 4 5 6"),
        ("a 1 2 3 4 5 6 c", "b 1 2 3 4 5 6 d", "-a +b 1 2 …2 5 6 -c +d"),
        ("", "a", "- +a"),
    ],
)
def test_what_differs_is_shown_with_what_is_around_it(before: str, after: str, shown: str) -> None:
    found = difference(("e", before.replace(" ", "\n")), ("e", after.replace(" ", "\n")))
    assert (lines(found.trace), found.message, found.cut) == (shown, [], False)


@pytest.mark.parametrize(
    ("before", "after", "same"),
    [
        ("order 41: no answer in 5.0 s", "order 42: no answer in 7.5 s", True),
        ("no answer", "no such host", False),
    ],
)
def test_messages_that_differ_in_numbers_alone_are_of_one_kind(
    before: str, after: str, same: bool
) -> None:
    found = difference((before, ""), (after, ""))
    assert (found.same_class, lines(found.message)) == (same, f"-{before} +{after}")


def test_of_a_long_line_the_part_that_differs_is_shown() -> None:
    found = difference(("x" * 5000 + "OLD" + "y" * 5000, ""), ("x" * 5000 + "NEW" + "y" * 5000, ""))
    old, new = found.message
    assert "xxOLDyy" in old.text
    assert "xxNEWyy" in new.text
    assert len(old.text) == len(new.text) == LINE_MAX + 2
    assert old.text.startswith("…x")


@pytest.mark.parametrize("words", [1, 2, 10, 100_000])
def test_the_largest_errors_cost_little(words: int) -> None:
    """25 attempts with traces of 64 KiB in any pattern."""
    chance = random.Random(words)
    texts = ["\n".join(str(chance.randrange(words)) for _ in range(30_000)) for _ in range(2)]
    began = time.process_time()
    for _ in range(24):
        found = difference((texts[0], f"x\n{texts[0]}"), (f"y\n{texts[1]}", texts[1]))
    assert time.process_time() - began < 3
    assert found.cut
    assert max(len(found.message), len(found.trace)) <= SHOWN_MAX
