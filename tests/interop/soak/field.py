"""The jobs of the soak, and what must have become of each in the end."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import Any

from tests.interop.soak.worker import Plan

SHORTLY, LATER = 200, 6000
"""Milliseconds until a job is tried again: by whoever is free, and by way of the leader."""

AN_HOUR = 3_600_000
ENDLESSLY = 1000

LONG = {"last_ms": 800}
PLANS: list[tuple[int, dict[str, Any]]] = [
    (40, {}),
    (8, LONG),
    (12, {"fail": 2}),
    (8, {"snooze": 2}),
    (5, {"fail": 1, "snooze": 1}),
    (8, {"ahead_ms": 3000}),
    (5, {"do": "cancel"}),
    (2, {"do": "cancel", "fail": 1}),
    (5, {"fail": ENDLESSLY, "max_attempts": 2}),
    (4, {"do": "wait"}),
    (3, {"ahead_ms": AN_HOUR}),
]
"""How many in a hundred, and what is not as usual."""


@dataclass(frozen=True)
class Seed:
    """A job before it is inserted. unique: inserted four times, by its args."""

    kind: str
    args: Plan
    queue: str
    priority: int
    max_attempts: int
    ahead_ms: int
    unique: bool

    @property
    def never_works(self) -> bool:
        """It is cancelled long before it is due."""
        return self.ahead_ms == AN_HOUR

    def is_cancelled_from_outside(self) -> bool:
        return self.never_works or self.args.do == "wait"

    def ends(self) -> str:
        if self.args.fail == ENDLESSLY:
            return "discarded"
        if self.args.do == "cancel" or self.is_cancelled_from_outside():
            return "cancelled"
        return "completed"


class Field:
    """Makes jobs, each with a number of its own; all that were made are in `seeds`."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.seeds: list[Seed] = []

    def make(self, count: int) -> list[Seed]:
        """Jobs of all sorts."""
        weights, plans = zip(*PLANS, strict=True)
        return [self._make(given) for given in self._random.choices(plans, weights, k=count)]

    def make_long(self, count: int, queue: str) -> list[Seed]:
        return [self._make(LONG | {"queue": queue}) for _ in range(count)]

    def _make(self, given: dict[str, Any]) -> Seed:
        chance, number = self._random, len(self.seeds)
        plan = Plan(
            number=number,
            do=given.get("do", "complete"),
            fail=given.get("fail", 0),
            snooze=given.get("snooze", 0),
            # Most are back at once: a delay for the leader is a delay of the whole run.
            delay_ms=chance.choice([SHORTLY, SHORTLY, LATER]),
            last_ms=given.get("last_ms", chance.randrange(20)),
        )
        seed = Seed(
            kind=chance.choice(["soak.loop", "soak.thread"]),
            args=plan,
            queue=given.get("queue", chance.choice(["both", "both", "both", "go", "python"])),
            priority=chance.randint(1, 4),
            max_attempts=given.get("max_attempts", 25),
            ahead_ms=given.get("ahead_ms", 0),
            unique=False,
        )
        # Of those that leave their states the key would be free again.
        keeps = seed.ends() == "completed" and chance.random() < 0.2
        self.seeds.append(replace(seed, unique=keeps))
        return self.seeds[-1]
