"""One batch in a transaction, with its number in the ledger: all of it, but for what is refused."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from riverbridge.model.evidence import to_text
from riverbridge.model.outcome import (
    Delivered,
    InDoubt,
    Interrupted,
    Misconfigured,
    Outcome,
    Unreachable,
)
from riverbridge.sinks.base import Entry, Message
from riverbridge.sinks.kafka_client import Call, Client, library_log
from riverbridge.sinks.kafka_errors import JUDGED_BY_BATCH, Meaning, classify
from riverbridge.sinks.kafka_sending import KafkaSending

_ABORT = 5.0
"""Seconds that ending a transaction may take beyond the batch's time."""
_RESERVE = 0.4
"""The share of the batch's time that is kept for the commit where messages go one at a time."""
_TRIES = 3
"""Transactions in a row that may fail for no reason of a message's."""
_DROPPED = frozenset({KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT})
"""Said of messages that were on their way when another one ended the transaction."""

Answers = Mapping[int, Delivered | KafkaError | None]


class KafkaBatch:
    """Sends `messages` with an initialised transactional producer, until `until` (monotonic)."""

    def __init__(
        self,
        sink: KafkaSending[str],
        client: Client,
        entry: Entry,
        messages: Sequence[Message],
        until: float,
    ) -> None:
        self._sink = sink
        self._client = client
        self._entry = entry
        self._messages = messages
        self._until = until
        self._enough = until - _RESERVE * (until - time.monotonic())
        self._outcomes: list[Outcome | None] = [None] * len(messages)
        self._one_by_one = False
        self._fruitless = 0

    def run(self) -> list[Outcome]:
        """One outcome for each message. One that is refused ends the transaction it is in; the
        others go into another one."""
        with self._client.in_use():
            try:
                while self._open() and not self._attempt():
                    pass
            except KafkaException as error:
                # Raised before the commit was asked for: nothing of this will ever be seen.
                self._abort()
                self._release(error.args[0])
        return [Interrupted() if outcome is None else outcome for outcome in self._outcomes]

    def _open(self) -> list[int]:
        return [i for i, outcome in enumerate(self._outcomes) if outcome is None]

    def _attempt(self) -> bool:
        """One transaction with all that has no outcome yet; False if another one is needed."""
        self._client.producer.begin_transaction()
        answers = self._one_at_a_time() if self._one_by_one else self._together()
        going = self._open()
        arrived = {i: answer for i in going if isinstance(answer := answers[i], Delivered)}
        if not going or len(arrived) < len(going):
            self._abort()
            return not going or self._sort_out(answers)
        self._commit(arrived)
        return True

    def _together(self) -> Answers:
        open_, client = self._open(), self._client
        call = Call(len(open_), client.health, self._sink.receipts)
        refused: dict[int, Outcome] = {}
        messages = [self._messages[i] for i in open_]
        self._sink.send(messages, client, call, self._until, refused)
        client.wait(call, len(open_) - len(refused), self._until, whole=True)
        for place, outcome in refused.items():
            self._outcomes[open_[place]] = outcome
        return dict(zip(open_, call.answers, strict=True))

    def _one_at_a_time(self) -> Answers:
        """Each alone in its request, so that an answer is about it; until the first that fails."""
        client = self._client
        answers: dict[int, Delivered | KafkaError | None] = dict.fromkeys(self._open())
        for i in answers:
            if time.monotonic() > self._enough:
                self._outcomes[i] = Interrupted()
                continue
            call = Call(1, client.health, self._sink.receipts)
            refused: dict[int, Outcome] = {}
            self._sink.send([self._messages[i]], client, call, self._until, refused)
            if refused:
                self._outcomes[i] = refused[0]
                continue
            client.wait(call, 1, self._until)
            answers[i] = call.answers[0]
            if not isinstance(answers[i], Delivered):
                break
        return answers

    def _sort_out(self, answers: Answers) -> bool:
        """After a transaction that failed: what its answers say. True if no other one can help."""
        alone, known = self._one_by_one, False
        for i in self._open():
            answer = answers[i]
            if not isinstance(answer, KafkaError) or answer.code() in _DROPPED:
                continue
            if classify(answer.code()) is Meaning.FATAL:
                self._client.condemn(self._sink.text_of(answer))
            elif answer.code() in JUDGED_BY_BATCH and not alone:
                self._one_by_one = True
            else:
                self._outcomes[i] = self._sink.failure(self._messages[i], answer, self._client)
                known = True
        # A transaction may fail for the sequence numbers that a refused request has left, and its
        # abort mends that; so one of which nothing is learned is tried again.
        self._fruitless = 0 if known or self._one_by_one != alone else self._fruitless + 1
        if (
            self._fruitless < _TRIES
            and time.monotonic() < self._until
            and self._client.health.fatal is None
        ):
            return False
        for i in self._open():
            if not isinstance(answers[i], Delivered):
                text = self._client.health.fatal or "no acknowledgement by the deadline"
                silent = Meaning.UNSENT if self._client.health.fatal else Meaning.SILENT
                self._outcomes[i] = self._sink.outcome(silent, text, self._client)
        return True

    def _commit(self, going: Mapping[int, Delivered | InDoubt]) -> None:
        """Commit the messages and the batch's entry. Raises KafkaException if that did not happen;
        where nobody knows, the outcomes say so."""
        producer = self._client.producer
        entry = TopicPartition(
            self._messages[next(iter(going))].destination,
            0,
            self._entry.number,
            to_text(self._entry.places[i] for i in going),
        )
        group = _group(self._entry.slot)
        self._insist(lambda left: producer.send_offsets_to_transaction([entry], group, left))
        try:
            self._insist(producer.commit_transaction)
        except KafkaException as raised:
            error = raised.args[0]
            if error.txn_requires_abort():
                raise
            text = f"no answer to the commit: {self._sink.text_of(error)}"
            self._client.condemn(text)
            going = dict.fromkeys(going, InDoubt(text))
        for i, outcome in going.items():
            self._outcomes[i] = outcome

    def _insist(self, call: Any) -> None:
        """Call until it succeeds, fails for good, or the time is over."""
        while True:
            try:
                call(max(0.1, self._until - time.monotonic()))
            except KafkaException as raised:
                if not raised.args[0].retriable() or time.monotonic() >= self._until:
                    raise
            else:
                return

    def _abort(self) -> None:
        if self._client.health.fatal is not None:
            return
        try:
            self._client.producer.abort_transaction(_ABORT)
        except KafkaException as raised:
            # Its commit was never asked for, so it will be ended as aborted, by whomever.
            self._client.condemn(self._sink.text_of(raised.args[0]))

    def _release(self, error: KafkaError) -> None:
        """What is wrong is not with a message: all that is left goes back as it was."""
        text = self._sink.text_of(error)
        if classify(error.code()) is Meaning.MISCONFIGURED:
            outcome = self._sink.outcome(Meaning.MISCONFIGURED, text, self._client)
        else:
            outcome = Unreachable(text)
        assert isinstance(outcome, Misconfigured | Unreachable)
        for i in self._open():
            self._outcomes[i] = outcome


@lru_cache(maxsize=1024)
def _group(slot: str) -> Any:
    """What a transaction is told of a consumer group without members, to commit its offset."""
    consumer = Consumer({"group.id": slot, "log_level": 0}, logger=library_log)
    try:
        return consumer.consumer_group_metadata()
    finally:
        consumer.close()
