"""When a failed job is tried again.

River counts the errors already in the row, not the attempts (contract 9.1), so a policy is asked
with that number. It answers with a duration; the instant is the database's own clock plus it.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Protocol

LONGEST = 9_223_372_036.0
"""Seconds in River's longest wait, about 292 years: the most that Go's duration holds."""

AT_ONCE = 5.0
"""A retry this near, in seconds, skips `retryable`: the job goes straight back to `available`."""


class RetryPolicy(Protocol):
    """How long to wait before the next attempt."""

    def delay(self, failures: int) -> float:
        """Seconds to wait; `failures` is the number of errors in the row before this one."""
        ...


@dataclass(frozen=True, slots=True)
class RiverRetry:
    """River's own: the fourth power of the failure's number, give or take a tenth."""

    def delay(self, failures: int) -> float:
        seconds = float((failures + 1) ** 4) * random.uniform(0.9, 1.1)  # noqa: S311 - jitter
        return min(seconds, LONGEST)


@dataclass(frozen=True, slots=True)
class FixedRetry:
    """The same wait each time, give or take a tenth."""

    seconds: float

    def delay(self, failures: int) -> float:
        return self.seconds * random.uniform(0.9, 1.1)  # noqa: S311 - jitter, not a secret


@dataclass(frozen=True, slots=True)
class ExponentialRetry:
    """Doubles from `first` up to `longest`, give or take a tenth."""

    first: float
    longest: float

    def delay(self, failures: int) -> float:
        # Beyond 64 doublings any first wait has met its limit; the bound keeps the float finite.
        seconds = min(self.longest, self.first * 2.0 ** min(failures, 64))
        return seconds * random.uniform(0.9, 1.1)  # noqa: S311 - jitter, not a secret
