"""What errors have in common."""

from __future__ import annotations

import pytest

from riverbridge.model import globs
from riverbridge.model.error_class import LENGTH_MAX, error_class

CUSTOMER = "order *: no such customer *"


@pytest.mark.parametrize(
    ("error", "found"),
    [
        ("timed out after 3.5 s", "timed out after * s"),
        ("order 7: no such customer 123e4567-e89b-12d3-a456-426614174000", CUSTOMER),
        ("dial tcp 10.0.0.1:5432: refused", "dial tcp *: refused"),
        ("at 0xDEADBEEF in deadbeef1 of defaced", "at * in * of defaced"),
        ("\n  first\nsecond 2\n", "first"),
        ("1 2:3,4", "* *"),
        ("a*b**c 5", "a*b*c *"),
        ("", ""),
    ],
)
def test_numbers_and_ids_are_left_open(error: str, found: str) -> None:
    assert error_class(error) == found


@pytest.mark.parametrize("error", ["x" * 500, "job 7 " * 100, "é 5\r\nz", "a" * 199 + " 77"])
def test_an_error_is_found_by_its_class(error: str) -> None:
    found = error_class(error)
    assert len(found) <= LENGTH_MAX
    assert globs.matches([f"*{found}*"], error)
