"""Kafka in transactions: each batch arrives whole or not at all, and the brokers know which.

A slot is a transactional.id, and a consumer group of the same name. A batch's transaction commits
its messages and, as the group's offset, the batch's number with a bitmap of the jobs that are in
it. Whoever initialises the transactional.id ends what its last user left open and shuts that user
out; what the group's offset says from then on is what arrived.

A producer is initialised by `ask` only, never on the way of a batch: a process that was frozen
after it took a batch would else come back with the right to send what another has sent since.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Unpack

from confluent_kafka import KafkaException

from riverbridge.model.evidence import Evidence
from riverbridge.model.outcome import InDoubt, Misconfigured, Outcome, Unreachable
from riverbridge.sinks.base import Entry, Message
from riverbridge.sinks.kafka_batch import KafkaBatch
from riverbridge.sinks.kafka_config import scrub
from riverbridge.sinks.kafka_errors import Meaning, classify
from riverbridge.sinks.kafka_ledger import Ledger
from riverbridge.sinks.kafka_sending import KafkaSending, Options

log = logging.getLogger("riverbridge.sinks.kafka")


class KafkaTransactions(KafkaSending[str]):
    """A `LedgerSink` on Kafka; `Message.destination` is the topic. Settings as for `KafkaSink`.

    Consumers see a batch once it is committed, if they read with `isolation.level=read_committed`.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        super().__init__(transactions=True, **options)
        self._ledger = Ledger(self._properties, self._token_source)

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        """Refused: nobody could be asked later what arrived."""
        return [Misconfigured("a sink with transactions is used with a slot only")] * len(messages)

    def deliver_entry(
        self, entry: Entry, messages: Sequence[Message], deadline: float
    ) -> list[Outcome]:
        """All of them in one transaction, but for what Kafka refuses: each of those gets its own
        outcome. `InDoubt` where the answer to the commit is missing."""
        client = self._clients.get(entry.slot)
        if client is None or not self.usable(entry.slot):
            text = "the slot lost its producer before the batch was sent"
            return [Unreachable(text)] * len(messages)
        if (now := time.monotonic()) >= deadline:
            # The slot may be another batch's by now; the producer was looked up before this.
            return [Unreachable("the deadline passed before it was sent")] * len(messages)
        until = min(deadline, now + self._delivery_timeout)
        try:
            return KafkaBatch(self, client, entry, messages, until).run()
        except Exception as error:
            log.exception("a transaction failed and is in doubt")
            client.condemn(f"a defect: {error}")
            return [InDoubt(f"the transaction failed: {error}")] * len(messages)

    def ask(self, slot: str, deadline: float) -> Evidence | Unreachable | Misconfigured:
        """Shut out whoever used the slot, and read what was committed last."""
        self.drop(slot)
        with self._lock:
            if self._closed:
                return Unreachable("the Kafka sink is closed")
            client = self._made({**self._properties, "transactional.id": slot})
            self._retire(client)
        try:
            client.producer.init_transactions(max(0.1, deadline - time.monotonic()))
            evidence = self._ledger.read(slot, deadline)
        except KafkaException as error:
            said = error.args[0]
            outcome: Unreachable | Misconfigured = Unreachable(self.text_of(said))
            if classify(said.code()) is Meaning.MISCONFIGURED or client.health.fault:
                outcome = Misconfigured(client.health.fault or self.text_of(said))
        except ValueError as error:
            outcome = Unreachable(scrub(f"the group {slot} has offsets of others: {error}"))
        else:
            with self._lock:
                self._retired = [known for known in self._retired if known is not client]
                self._clients = {**self._clients, slot: client}
            return evidence
        client.stop()
        return outcome

    def usable(self, slot: str) -> bool:
        """Whether `ask` was answered and the producer has not failed since."""
        client = self._clients.get(slot)
        return client is not None and client.health.fatal is None and not self._closed

    def drop(self, slot: str) -> None:
        """End the slot's producer."""
        with self._lock:
            client = self._clients.get(slot)
            if client is not None:
                self._clients = {s: c for s, c in self._clients.items() if s != slot}
                self._retire(client)
        if client is not None:
            client.stop()
