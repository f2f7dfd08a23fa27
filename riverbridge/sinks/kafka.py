"""The Kafka sink: idempotent producers shared by all threads, one outcome per message."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Unpack

from confluent_kafka import KafkaError

from riverbridge.model.outcome import Delivered, Outcome, Unreachable
from riverbridge.sinks.base import Message
from riverbridge.sinks.kafka_client import Call, Client
from riverbridge.sinks.kafka_config import Value
from riverbridge.sinks.kafka_errors import JUDGED_BY_BATCH, Meaning, classify
from riverbridge.sinks.kafka_sending import CLOSE, KafkaSending, Options

_BULK = 100
"""From this many messages on, a call waits five milliseconds for fuller requests."""
_LEFT = (Meaning.FATAL, Meaning.SILENT, Meaning.UNSENT)
_LINGER_NAMES = {"linger.ms", "queue.buffering.max.ms"}


class _Use(Enum):
    """What a producer is for, and the properties in which it differs.

    Without a linger every few messages make a request, which doubles the CPU time of a large
    batch; with one a single message waits for nothing. So there is one for each. The database
    writes a batch's rows meanwhile, which takes it longer than the linger of a large one.
    """

    QUICK = "quick"
    BULK = "bulk"
    ALONE = "alone"


_PROPERTIES: Mapping[_Use, Mapping[str, Value]] = {
    _Use.QUICK: {},
    _Use.BULK: {"linger.ms": 5},
    _Use.ALONE: {"batch.num.messages": 1},
}


class KafkaSink(KafkaSending[_Use]):
    """Delivers to Kafka topics; `Message.destination` is the topic.

    A message is `Delivered` when all in-sync replicas acknowledged it (acks=all). The partition of
    a key is the one Java's client picks (murmur2); a message without a key goes anywhere, and one
    with a partition of its own there.
    `deliver` may be called by any number of threads; it returns at its deadline at the latest.

    delivery_timeout: seconds after which a message that is not answered is given up. If the brokers
        acknowledged nothing in the last half of it, such a message is `Unreachable` (an outage
        spends no attempt), else `Retry`: its partition is the trouble, and it may be written.
    config: librdkafka's properties. What is unknown to it or breaks a promise is refused. With a
        `linger.ms` here every call uses it; else calls of a hundred messages wait 5 ms, others 0.
    msk_iam_region: sign in to AWS MSK with IAM in this region; needs `riverbridge[msk]`.
    receipts: say of each delivered message where it went: `topic[partition]@offset`.

    Raises ConfigurationError with one line per problem; makes no connection for that.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        super().__init__(**options)
        self._may_linger = not _LINGER_NAMES & (options.get("config") or {}).keys()
        # Both now: a producer asks for its identity half a second after it was made, and the
        # first batch would wait for that.
        self._client(_Use.QUICK)
        if self._may_linger:
            self._client(_Use.BULK)

    def deliver(self, messages: Sequence[Message], deadline: float) -> list[Outcome]:
        """Send all of them; one outcome each, in their order, before `deadline`.

        deadline: time.monotonic seconds. What is unanswered by then gets the outcome of a time-out,
        and its late answer is ignored.
        """
        if not messages:
            return []
        bulk = self._may_linger and len(messages) >= _BULK
        outcomes, doubtful = self._attempt(messages, deadline, _Use.BULK if bulk else _Use.QUICK)
        if doubtful:
            again = [messages[i] for i in doubtful]
            for i, outcome in zip(
                doubtful, self._attempt(again, deadline, _Use.ALONE)[0], strict=True
            ):
                outcomes[i] = outcome
        return outcomes

    def _client(self, use: _Use) -> Client | None:
        """The producer for this use, made if there is none or the last one ended fatally.

        None once the sink is closed.
        """
        client = self._clients.get(use)
        if client is not None and client.health.fatal is None and not self._closed:
            return client
        with self._lock:
            if self._closed:
                return None
            client = self._clients.get(use)
            if client is None or client.health.fatal is not None:
                if client is not None:
                    self._retire(client)
                properties = {**self._properties, **_PROPERTIES[use]}
                client = self._made(properties)
                self._clients = {**self._clients, use: client}
            return client

    def _attempt(
        self, messages: Sequence[Message], deadline: float, use: _Use
    ) -> tuple[list[Outcome], list[int]]:
        """Send once. Also the places of those that must be tried alone before they are judged."""
        client = self._client(use)
        if client is None:
            return [Unreachable("the Kafka sink is closed")] * len(messages), []
        if time.monotonic() >= deadline:
            return [Unreachable("the deadline passed before it was sent")] * len(messages), []
        call = Call(len(messages), client.health, self.receipts)
        refused: dict[int, Outcome] = {}
        with client.in_use():
            self.send(messages, client, call, deadline, refused)
            until = min(deadline, time.monotonic() + CLOSE) if self._closed else deadline
            client.wait(call, len(messages) - len(refused), until)
        answers = list(call.answers)
        return self._judge(messages, answers, refused, client, use)

    def _judge(
        self,
        messages: Sequence[Message],
        answers: list[Delivered | KafkaError | None],
        refused: dict[int, Outcome],
        client: Client,
        use: _Use,
    ) -> tuple[list[Outcome], list[int]]:
        """Every answer as an outcome, and the places of those to be tried alone."""
        outcomes: list[Outcome] = []
        doubtful: list[int] = []
        for i, answer in enumerate(answers):
            if isinstance(answer, Delivered):
                outcomes.append(answer)
            elif i in refused:
                outcomes.append(refused[i])
            elif answer is None:
                text = "no acknowledgement by the deadline"
                outcomes.append(self.outcome(Meaning.SILENT, text, client))
            else:
                meaning = classify(answer.code())
                if meaning is Meaning.FATAL:
                    client.condemn(f"{answer.name()}: {answer.str()}")
                # What a finished producer left says nothing of the message: another one sends it.
                left = client.health.fatal is not None and meaning in _LEFT
                if use is not _Use.ALONE and (left or answer.code() in JUDGED_BY_BATCH):
                    doubtful.append(i)
                outcomes.append(self.failure(messages[i], answer, client))
        return outcomes, doubtful
