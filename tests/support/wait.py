"""Waiting for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(predicate: Callable[[], T], within: float = 30.0, every: float = 0.01) -> T:
    """The first truthy value of `predicate()`; AssertionError after `within` seconds.

    An AssertionError from the predicate counts as not yet, and is the cause shown at the end.
    """
    limit = time.monotonic() + within
    while True:
        cause: AssertionError | None = None
        try:
            value = predicate()
            if value:
                return value
            shown = f"the last value was {value!r}"
        except AssertionError as error:
            cause = error
            shown = f"the last try said: {error}"
        if time.monotonic() > limit:
            raise AssertionError(f"not true within {within:g} s; {shown}") from cause
        time.sleep(every)
