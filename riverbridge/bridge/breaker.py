"""A sink's breaker: closed while it answers, open while it does not, half open for one probe; and
paused as long as somebody wants it so, whatever it answers."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterable
from typing import Literal

from riverbridge import telemetry
from riverbridge.model.outcome import InDoubt, Misconfigured, Outcome, Unreachable

log = logging.getLogger(__name__)

State = Literal["closed", "half_open", "open", "paused"]
_LEVELS: dict[State, int] = {"closed": 0, "half_open": 1, "open": 2}

UNREACHABLE_REST = (0.5, 3.0)
"""Seconds before the first probe of a sink that does not answer, and at most; it doubles. With its
jitter and a client that connects again, delivery goes on within five seconds of its return."""

MISCONFIGURED_REST = (2.0, 30.0)
"""The same for credentials, rights and missing topics, which take a person to mend."""


class Breaker:
    """Says whether a sink is to be given messages. Any thread may call."""

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._state: State = "closed"
        self._since = 0.0
        self._probe_at = 0.0
        self._rest = 0.0
        self._pause = ""
        self._paused_at = 0.0
        self._fault = ""
        telemetry.breaker_state.set(0, {"sink": name})

    @property
    def state(self) -> State:
        """`half_open` from the time a probe may be made until it is answered."""
        with self._lock:
            if self._pause:
                return "paused"
            if self._state == "open" and self._clock() >= self._probe_at:
                return "half_open"
            return self._state

    @property
    def reason(self) -> str:
        """What paused or opened it."""
        return self._pause or self._fault

    def open_for(self) -> float:
        """Seconds since it opened or was paused, whatever its probes said; 0 while it is closed."""
        with self._lock:
            now = self._clock()
            opened = 0.0 if self._state == "closed" else now - self._since
            return max(opened, now - self._paused_at) if self._pause else opened

    def pause(self, why: str) -> None:
        """Let nothing through, not even a probe, as long as there is a reason; "" ends it."""
        with self._lock:
            if bool(why) != bool(self._pause):
                self._paused_at = self._clock()
                log.info("sink %s is %s", self._name, why or "no longer paused")
            self._pause = why

    def room(self, wanted: int) -> int:
        """How many of `wanted` messages may be sent now: all, one as a probe, or none."""
        state = self.state
        if state == "closed":
            return wanted
        return min(1, wanted) if state == "half_open" else 0

    def probing(self) -> None:
        """A batch goes out: if it is the probe, no other is let through until it is answered."""
        with self._lock:
            if self._state == "open":
                # Should its answer be lost, another probe is due after the longest rest.
                self._probe_at = self._clock() + MISCONFIGURED_REST[1]

    def heard(self, outcomes: Iterable[Outcome]) -> None:
        """Learn from what became of a batch; an empty one tells nothing: the probe is due."""
        answered = False
        fault: Unreachable | Misconfigured | InDoubt | None = None
        for outcome in outcomes:
            if isinstance(outcome, Unreachable | Misconfigured | InDoubt):
                fault = outcome
            else:
                answered = True
        with self._lock:
            if fault is not None:
                self._open(fault, again=self._state != "closed" and not answered)
            elif answered and self._state != "closed":
                self._state = "closed"
                self._rest = 0.0
                log.info("sink %s answers again", self._name)
                telemetry.breaker_state.set(0, {"sink": self._name})
            elif not answered:
                self._probe_at = self._clock()

    def _open(self, fault: Unreachable | Misconfigured | InDoubt, *, again: bool) -> None:
        first, longest = (
            MISCONFIGURED_REST if isinstance(fault, Misconfigured) else UNREACHABLE_REST
        )
        self._rest = min(longest, self._rest * 2) if again and self._rest else first
        self._probe_at = self._clock() + self._rest * random.uniform(0.8, 1.2)  # noqa: S311
        if self._state == "closed" or fault.error != self._fault:
            log.warning(
                "sink %s %s; nothing more is claimed for it, no attempts are spent: %s",
                self._name,
                "is misconfigured" if isinstance(fault, Misconfigured) else "does not answer",
                fault.error,
            )
        if self._state == "closed":
            self._since = self._clock()
        self._state = "open"
        self._fault = fault.error
        telemetry.breaker_state.set(_LEVELS["open"], {"sink": self._name})
