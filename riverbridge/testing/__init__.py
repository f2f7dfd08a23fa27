"""For tests of code that inserts jobs or works them: the public names.

What was inserted is asked with `require_inserted`, jobs are worked without a pool by a `JobTester`,
and a `Clock` moves the database's time. `riverbridge.testing.plugin` has fixtures for pytest.

A name is loaded when it is first used, as pytest loads the plugin in each of its runs.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riverbridge.testing.clock import AsyncClock, Clock
    from riverbridge.testing.expected import ExpectedJob
    from riverbridge.testing.outcome import Drained, WorkResult
    from riverbridge.testing.periodic import PeriodicTester
    from riverbridge.testing.require import (
        require_inserted,
        require_inserted_async,
        require_many_inserted,
        require_many_inserted_async,
        require_not_inserted,
        require_not_inserted_async,
    )
    from riverbridge.testing.tester import AsyncJobTester, JobTester

__all__ = [
    "AsyncClock",
    "AsyncJobTester",
    "Clock",
    "Drained",
    "ExpectedJob",
    "JobTester",
    "PeriodicTester",
    "WorkResult",
    "require_inserted",
    "require_inserted_async",
    "require_many_inserted",
    "require_many_inserted_async",
    "require_not_inserted",
    "require_not_inserted_async",
]

_HOMES = {
    "clock": ("AsyncClock", "Clock"),
    "expected": ("ExpectedJob",),
    "outcome": ("Drained", "WorkResult"),
    "periodic": ("PeriodicTester",),
    "require": tuple(name for name in __all__ if name.startswith("require_")),
    "tester": ("AsyncJobTester", "JobTester"),
}

if not TYPE_CHECKING:  # a type checker would take every name for a public one

    def __getattr__(name: str) -> object:
        for home, names in _HOMES.items():
            if name in names:
                value = getattr(import_module(f"riverbridge.testing.{home}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module 'riverbridge.testing' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
