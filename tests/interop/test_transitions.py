"""Every transition of the contract's section 2 is proven by a test, which says so by its marker.

`pytest -m transition` runs them: each compares the rows that River leaves with those that we leave.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

INTEROP = Path(__file__).parent
ROOT = INTEROP.parents[1]
ALL = [f"T{number}" for number in range(1, 25)]


def modules() -> list[ModuleType]:
    found = sorted(INTEROP.rglob("test_*.py"))
    return [
        importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts))
        for path in found
    ]


def marked(module: ModuleType) -> dict[str, list[str]]:
    """The transitions that each test of a module says it proves."""
    found: dict[str, list[str]] = {}
    for name, function in vars(module).items():
        if name.startswith("test_") and getattr(function, "__module__", "") == module.__name__:
            for mark in getattr(function, "pytestmark", ()):
                if mark.name == "transition":
                    found.setdefault(name, []).extend(mark.args)
    return found


def test_every_transition_has_a_test_that_compares_the_row_with_rivers() -> None:
    proven: dict[str, list[str]] = {number: [] for number in ALL}
    for module in modules():
        for test, numbers in marked(module).items():
            assert numbers, f"{test}: names no transition"
            for number in numbers:
                assert number in proven, f"{test}: there is no {number}"
                proven[number].append(test)
    assert [number for number, tests in proven.items() if not tests] == []
