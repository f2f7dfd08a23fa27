"""One request of SendMessageBatch, from entries to one outcome each, with the pauses between."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Unreachable,
)
from riverbridge.sinks.sqs_batch import behind
from riverbridge.sinks.sqs_errors import Verdict, entry_outcome, refusal, verdict
from riverbridge.sinks.sqs_http import (
    Answer,
    Connection,
    Lost,
    NoCredentials,
    NotSent,
    NotTrusted,
    Signer,
)
from riverbridge.sinks.sqs_message import Entry, WireEntry

TARGET = "AmazonSQS.SendMessageBatch"
FIRST_PAUSE = 0.05
LONGEST_PAUSE = 2.0
CONNECTS = 3
"""How often a connection is tried for one request while others are answered."""

DELIVERED = Delivered()


class _Request(msgspec.Struct, rename="pascal"):
    queue_url: str
    entries: list[WireEntry]


class _Accepted(msgspec.Struct, rename="pascal"):
    id: str
    message_id: str = ""
    md5: str = msgspec.field(default="", name="MD5OfMessageBody")


class _Failed(msgspec.Struct, rename="pascal"):
    id: str
    code: str = ""
    message: str | None = None
    sender_fault: bool = False


class _Reply(msgspec.Struct, rename="pascal"):
    successful: list[_Accepted] | None = None
    failed: list[_Failed] | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Reply).decode


class Health:
    """When SQS last took something from this sink; one for all its threads."""

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

    connects: int = 0
    pauses: int = 0
    renewed: bool = False
    ambiguous: bool = False
    last: str = "no answer from SQS before the deadline"

    def pause(self) -> float:
        """Full jitter: anything up to a bound that doubles."""
        self.pauses += 1
        bound = min(LONGEST_PAUSE, FIRST_PAUSE * 2 ** min(self.pauses - 1, 10))
        return random.uniform(bound / 10, bound)  # noqa: S311 - spreads load, guards nothing


class Sender:
    """Sends entries over the connection it is given. Safe for threads; keeps no state of a call."""

    def __init__(
        self,
        *,
        queue_url: str,
        signer: Signer,
        health: Health,
        receipts: bool,
        closing: threading.Event,
    ) -> None:
        self._queue_url = queue_url
        self._signer = signer
        self._health = health
        self._receipts = receipts
        self._closing = closing

    def send(
        self, connection: Connection, entries: Sequence[Entry], deadline: float
    ) -> list[Outcome]:
        """One outcome for each entry, in order; at the latest shortly after `deadline`."""
        body = _encode(_Request(self._queue_url, [entry.wire for entry in entries]))
        tries = _Tries()
        while True:
            got = self._once(connection, body, deadline, tries)
            if isinstance(got, Outcome):
                return [got] * len(entries)
            if got is None:
                if not self._pause(tries, deadline):
                    return [self._given_up(tries)] * len(entries)
                continue
            if got.status == 200:
                return self._read(got.body, entries)
            if len(entries) > 1:
                return self._apart(connection, entries, deadline)
            return [Permanent(f"SQS refused the message: {tries.last}")]

    def _once(
        self, connection: Connection, body: bytes, deadline: float, tries: _Tries
    ) -> Answer | Outcome | None:
        """An answer to read or to split for, an outcome for all, or None: again after a pause."""
        if time.monotonic() >= deadline:
            return self._given_up(tries)
        try:
            credentials = self._signer.credentials()
            headers = self._signer.sign(TARGET, body, credentials)
            answer = connection.post(headers, body, deadline)
        except NoCredentials as error:
            return Misconfigured(f"SQS: {error}")
        except NotTrusted as error:
            return Misconfigured(f"SQS: {error}")
        except NotSent as error:
            tries.connects += 1
            tries.last = f"no connection to SQS: {error}"
            if self._health.lately() and tries.connects < CONNECTS:
                return None
            return self._given_up(tries)
        except Lost as error:
            return self._health.silence(f"no answer from SQS: {error}", ambiguous=True)
        if answer.status == 200:
            return answer
        code, text = refusal(answer.body, answer.query_error)
        tries.last = f"SQS answered {answer.status} {code}".rstrip() + (f": {text}" if text else "")
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

    def _read(self, body: bytes, entries: Sequence[Entry]) -> list[Outcome]:
        """Each entry by its own result; what the answer does not name is unknown, so lost."""
        try:
            reply = _decode(body)
        except msgspec.MsgspecError:
            lost = Retry("SQS answered 200 with something that is no answer", ambiguous=True)
            return [lost] * len(entries)
        self._health.note()
        accepted = {one.id: one for one in reply.successful or ()}
        failed = {one.id: one for one in reply.failed or ()}
        return [self._result(e, accepted.get(e.wire.id), failed.get(e.wire.id)) for e in entries]

    def _result(self, entry: Entry, accepted: _Accepted | None, failed: _Failed | None) -> Outcome:
        if failed is not None:
            return entry_outcome(failed.code, failed.message, failed.sender_fault)
        if accepted is None:
            return Retry("SQS's answer does not name the message", ambiguous=True)
        if accepted.md5 != hashlib.md5(entry.body, usedforsecurity=False).hexdigest():
            return Retry(
                f"SQS holds another body than was sent (MD5 {accepted.md5 or 'missing'}, "
                f"message id {accepted.message_id})",
                ambiguous=True,
            )
        return Delivered(accepted.message_id) if self._receipts else DELIVERED

    def _apart(
        self, connection: Connection, entries: Sequence[Entry], deadline: float
    ) -> list[Outcome]:
        """Each entry in a request of its own; a group stops at its first failure."""
        outcomes: list[Outcome] = []
        failed: dict[str, Outcome] = {}
        for entry in entries:
            if entry.group in failed:
                outcomes.append(behind(failed[entry.group]))
                continue
            (outcome,) = self.send(connection, (entry,), deadline)
            if entry.group and not isinstance(outcome, Delivered):
                failed[entry.group] = outcome
            outcomes.append(outcome)
        return outcomes
