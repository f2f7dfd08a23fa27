"""One request of a batch, from entries to one outcome each, with the pauses between tries."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Unreachable,
)
from riverbridge.sinks.aws_api import Api, NotRead
from riverbridge.sinks.aws_batch import Entry
from riverbridge.sinks.aws_errors import Verdict, verdict
from riverbridge.sinks.aws_http import Answer, Connection
from riverbridge.sinks.aws_signer import NoCredentials, Signer
from riverbridge.sinks.base import behind
from riverbridge.sinks.kept_connection import Lost, NotSent, Refused

FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
CONNECTS = 3
"""How often a connection is tried for one request while others are answered."""


class Health:
    """When the service last took something from this sink; one for all its threads."""

    def __init__(self, window: float) -> None:
        self._window = window
        self._at: float | None = None

    def note(self) -> None:
        self._at = time.monotonic()

    def lately(self) -> bool:
        """Did it within the window? Else an unanswered request says that nobody is there."""
        return self._at is not None and time.monotonic() - self._at <= self._window

    def silence(self, error: str, *, ambiguous: bool) -> Outcome:
        """What an unanswered request means for its messages."""
        return Retry(error, ambiguous) if self.lately() else Unreachable(error)


@dataclass
class _Tries:
    """What one request has been through so far."""

    last: str
    connects: int = 0
    pauses: int = 0
    renewed: bool = False
    ambiguous: bool = False

    def pause(self) -> float:
        """Full jitter: anything up to a bound that doubles."""
        self.pauses += 1
        bound = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.pauses - 1, 10))
        return random.uniform(bound / 10, bound)  # noqa: S311 - spreads load, guards nothing


class Sender:
    """Sends entries over the connection it is given. Safe for threads; keeps no state of a call."""

    def __init__(self, api: Api, signer: Signer, health: Health, closing: threading.Event) -> None:
        self._api = api
        self._signer = signer
        self._health = health
        self._closing = closing

    def send(
        self, connection: Connection, entries: Sequence[Entry], deadline: float
    ) -> list[Outcome]:
        """One outcome for each entry, in order; at the latest shortly after `deadline`."""
        body = self._api.encode(entries)
        tries = _Tries(f"no answer from {self._api.service} before the deadline")
        while True:
            got = self._once(connection, body, deadline, tries)
            if isinstance(got, Outcome):
                return [got] * len(entries)
            if got is None:
                if not self._pause(tries, deadline):
                    return [self._given_up(tries)] * len(entries)
                continue
            if got.status == 200:
                return self._read(got, entries)
            if len(entries) > 1:
                return self._apart(connection, entries, deadline)
            return [Permanent(f"{self._api.service} refused the message: {tries.last}")]

    def _once(
        self, connection: Connection, body: bytes, deadline: float, tries: _Tries
    ) -> Answer | Outcome | None:
        """An answer to read or to split for, an outcome for all, or None: again after a pause."""
        service = self._api.service
        if time.monotonic() >= deadline:
            return self._given_up(tries)
        try:
            credentials = self._signer.credentials()
            headers = self._signer.sign(self._api.headers, body, credentials)
            answer = connection.post(headers, body, deadline)
        except (NoCredentials, Refused) as error:
            return Misconfigured(f"{service}: {error}")
        except NotSent as error:
            tries.connects += 1
            tries.last = f"no connection to {service}: {error}"
            if self._health.lately() and tries.connects < CONNECTS:
                return None
            return self._given_up(tries)
        except Lost as error:
            return self._health.silence(f"no answer from {service}: {error}", ambiguous=True)
        if answer.status == 200:
            return answer
        code, text = self._api.refusal(answer)
        tries.last = f"{service} answered {answer.status} {code}".rstrip() + (
            f": {text}" if text else ""
        )
        match verdict(answer.status, code):
            case Verdict.SPLIT:
                return answer
            case Verdict.AGAIN:
                # A server that broke may have stored the messages before it did.
                tries.ambiguous |= answer.status >= 500
                return None
            case Verdict.EXPIRED if not tries.renewed:
                tries.renewed = True
                self._signer.renew(credentials)
                return self._once(connection, body, deadline, tries)
            case Verdict.EXPIRED | Verdict.MISCONFIGURED:
                return Misconfigured(tries.last)
            case Verdict.REFUSED:
                return Retry(tries.last)

    def _pause(self, tries: _Tries, deadline: float) -> bool:
        """Wait before the next try; False if there is no time for one, or no wish."""
        pause = tries.pause()
        if time.monotonic() + pause >= deadline:
            return False
        return not self._closing.wait(pause)

    def _given_up(self, tries: _Tries) -> Outcome:
        return self._health.silence(tries.last, ambiguous=tries.ambiguous)

    def _read(self, answer: Answer, entries: Sequence[Entry]) -> list[Outcome]:
        try:
            outcomes = self._api.read(answer.body, entries)
        except NotRead:
            text = f"{self._api.service} answered 200 with something that is no answer"
            return [Retry(text, ambiguous=True)] * len(entries)
        self._health.note()
        return outcomes

    def _apart(
        self, connection: Connection, entries: Sequence[Entry], deadline: float
    ) -> list[Outcome]:
        """The halves in requests of their own; a group stops at its first failure."""
        middle = len(entries) // 2
        outcomes = self.send(connection, entries[:middle], deadline)
        failed = {
            entry.group: outcome
            for entry, outcome in zip(entries, outcomes, strict=False)
            if entry.group and not isinstance(outcome, Delivered)
        }
        rest = [entry for entry in entries[middle:] if entry.group not in failed]
        sent = iter(self.send(connection, rest, deadline) if rest else ())
        for entry in entries[middle:]:
            held = failed.get(entry.group)
            outcomes.append(next(sent) if held is None else behind(held))
        return outcomes
