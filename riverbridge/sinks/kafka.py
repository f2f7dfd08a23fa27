"""The Kafka sink: idempotent producers shared by all threads, one outcome per message."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from enum import Enum
from functools import partial

from confluent_kafka import KafkaError, KafkaException

from riverbridge.errors import ConfigurationError
from riverbridge.model.outcome import Delivered, Misconfigured, Outcome, Permanent, Unreachable
from riverbridge.sinks.base import Message
from riverbridge.sinks.kafka_client import Call, Client
from riverbridge.sinks.kafka_config import (
    MESSAGE_MAX_BYTES,
    Value,
    check_config,
    client_config,
    login_of,
    msk_token_source,
    scrub,
    secrets_of,
)
from riverbridge.sinks.kafka_errors import JUDGED_BY_BATCH, Meaning, classify, outcome_of
from riverbridge.sinks.kafka_message import (
    ANY,
    milliseconds,
    no_partition,
    too_large,
    topic_problem,
)

_TOPICS_KEPT = 10_000
_REFRESH = 1.0
"""Seconds between two questions for a topic that was refused, and the longest wait for one."""
_CLOSE = 2.0
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


class KafkaSink:
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

    def __init__(
        self,
        *,
        bootstrap_servers: str,
        config: Mapping[str, Value] | None = None,
        delivery_timeout: float = 10.0,
        client_id: str = "riverbridge",
        msk_iam_region: str | None = None,
        receipts: bool = False,
    ) -> None:
        config = dict(config or {})
        problems = check_config(
            config, delivery_timeout=delivery_timeout, msk_iam_region=msk_iam_region
        )
        if not bootstrap_servers.strip():
            problems.insert(0, "bootstrap_servers: empty; give host:port, several with commas")
        if problems:
            raise ConfigurationError(problems)
        self._properties = client_config(
            config,
            bootstrap_servers=bootstrap_servers,
            client_id=client_id,
            delivery_timeout=delivery_timeout,
            msk_iam_region=msk_iam_region,
        )
        self._secrets = secrets_of(config)
        self._login = login_of(self._properties)
        self._token_source = None if msk_iam_region is None else msk_token_source(msk_iam_region)
        self._lately = delivery_timeout / 2
        self._receipts = receipts
        self._max_bytes = int(self._properties.get("message.max.bytes", MESSAGE_MAX_BYTES))
        self._topics: set[str] = set()
        self._lock = threading.Lock()
        self._closed = False
        self._retired: list[Client] = []
        # Replaced, never changed, so that it may be read without the lock.
        self._clients: dict[_Use, Client] = {}
        self._may_linger = not _LINGER_NAMES & config.keys()
        # Both now: a producer asks for its identity half a second after it was made, and the
        # first batch would wait for that.
        self._client(_Use.QUICK)
        if self._may_linger:
            self._client(_Use.BULK)
        self._asked: dict[str, float] = {}

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

    def close(self) -> None:
        """Drop what was not sent and end the threads, within two seconds."""
        with self._lock:
            self._closed = True
            clients = [*self._clients.values(), *self._retired]
        for client in clients:
            client.stop()
        end = time.monotonic() + _CLOSE
        for client in clients:
            client.join(max(0.0, end - time.monotonic()))

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
                    self._retired = [c for c in self._retired if c.alive] + [client]
                properties = {**self._properties, **_PROPERTIES[use]}
                client = Client(properties, self._secrets, self._token_source)
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
        call = Call(len(messages), client.health, self._receipts)
        refused: dict[int, Outcome] = {}
        with client.in_use():
            self._send(messages, client, call, deadline, refused)
            until = min(deadline, time.monotonic() + _CLOSE) if self._closed else deadline
            client.wait(call, len(messages) - len(refused), until)
        answers = list(call.answers)
        return self._judge(messages, answers, refused, client, use)

    def _send(
        self,
        messages: Sequence[Message],
        client: Client,
        call: Call,
        deadline: float,
        refused: dict[int, Outcome],
    ) -> None:
        """Hand every message to the producer; those it does not take are put into `refused`."""
        produce, answered, topics = client.producer.produce, call.answered, self._topics
        for i, message in enumerate(messages):
            topic = message.destination
            if topic not in topics and (problem := self._new_topic(topic)):
                refused[i] = Permanent(scrub(problem, self._secrets))
                continue
            instant = message.timestamp
            try:
                produce(
                    topic,
                    message.body,
                    message.key,
                    ANY if message.partition is None else message.partition,
                    partial(answered, i),
                    None,
                    0 if instant is None else milliseconds(instant),
                    list(message.headers),
                )
            except Exception as raised:
                outcome = self._insist(message, client, partial(answered, i), deadline, raised)
                if outcome is not None:
                    refused[i] = outcome

    def _new_topic(self, topic: str) -> str | None:
        """What is wrong with a topic's name, looked at once."""
        problem = topic_problem(topic)
        if problem is None:
            if len(self._topics) >= _TOPICS_KEPT:
                self._topics.clear()
            self._topics.add(topic)
        return problem

    def _insist(
        self,
        message: Message,
        client: Client,
        callback: Callable[[KafkaError | None, object], None],
        deadline: float,
        raised: Exception,
    ) -> Outcome | None:
        """The second half of `_send`: the producer did not take `message`.

        A full queue is waited for. A topic that an earlier answer put out of use is asked for
        again. None once the message was taken, else its outcome.
        """
        refreshed = False
        while True:
            if isinstance(raised, BufferError):
                if not client.wait_for_room(deadline):
                    text = "the producer's queue stayed full until the deadline"
                    return self._outcome(Meaning.UNSENT, text, client)
            elif not isinstance(raised, KafkaException):
                return Permanent(scrub(f"Kafka cannot carry it: {raised}", self._secrets))
            else:
                if outcome := self._refusal(message, raised.args[0], client, final=refreshed):
                    return outcome
                refreshed = True
                self._ask_again(client, message.destination, deadline)
            try:
                client.producer.produce(
                    message.destination,
                    message.body,
                    message.key,
                    ANY if message.partition is None else message.partition,
                    on_delivery=callback,
                    timestamp=milliseconds(message.timestamp),
                    headers=list(message.headers),
                )
            except Exception as again:
                raised = again
            else:
                return None

    def _refusal(
        self, message: Message, error: KafkaError, client: Client, *, final: bool
    ) -> Outcome | None:
        """What the producer's own refusal makes of `message`; None if its topic is to be asked for
        first, as topics and partitions come into being."""
        code = error.code()
        meaning = classify(code)
        if code == KafkaError.MSG_SIZE_TOO_LARGE:
            limit = "the limit of the client (message.max.bytes) is"
            return Permanent(too_large(message, self._max_bytes, limit))
        misplaced = code == KafkaError._UNKNOWN_PARTITION
        if not final and (misplaced or meaning is Meaning.MISCONFIGURED):
            return None
        if misplaced and message.partition is not None:
            return Permanent(no_partition(message))
        text = f"{error.name()}: {error.str()} (topic {message.destination})"
        if meaning is Meaning.FATAL:
            client.condemn(text)
            meaning = Meaning.UNSENT
        return self._outcome(meaning, text, client)

    def _ask_again(self, client: Client, topic: str, deadline: float) -> None:
        """Fetch the topic's metadata, or librdkafka would refuse it for minutes without asking."""
        now = time.monotonic()
        left = min(_REFRESH, deadline - now)
        if left <= 0.01 or now - self._asked.get(topic, float("-inf")) < _REFRESH:
            return
        if len(self._asked) >= _TOPICS_KEPT:
            self._asked.clear()
        self._asked[topic] = now
        with suppress(KafkaException):
            client.producer.list_topics(topic, timeout=left)

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
                outcomes.append(self._outcome(Meaning.SILENT, text, client))
            else:
                meaning = classify(answer.code())
                if meaning is Meaning.FATAL:
                    client.condemn(f"{answer.name()}: {answer.str()}")
                # What a finished producer left says nothing of the message: another one sends it.
                left = client.health.fatal is not None and meaning in _LEFT
                if use is not _Use.ALONE and (left or answer.code() in JUDGED_BY_BATCH):
                    doubtful.append(i)
                outcomes.append(self._failure(messages[i], answer, client))
        return outcomes, doubtful

    def _failure(self, message: Message, error: KafkaError, client: Client) -> Outcome:
        code = error.code()
        meaning = classify(code)
        topic = message.destination
        if code == KafkaError.MSG_SIZE_TOO_LARGE:
            return Permanent(
                too_large(message, self._max_bytes, f"topic {topic} refused it; ours is")
            )
        if code == KafkaError._UNKNOWN_PARTITION and message.partition is not None:
            return Permanent(no_partition(message))
        return self._outcome(meaning, f"{error.name()}: {error.str()} (topic {topic})", client)

    def _outcome(self, meaning: Meaning, text: str, client: Client) -> Outcome:
        health = client.health
        answered_at = max(c.health.answered_at for c in (client, *self._clients.values()))
        answering = time.monotonic() - answered_at < self._lately
        if meaning in (Meaning.SILENT, Meaning.UNSENT) and health.last_error and not answering:
            text = f"{text}; last error: {health.last_error}"
        outcome = outcome_of(meaning, text, answering=answering, fault=health.fault)
        text = outcome.error
        if isinstance(outcome, Misconfigured) and self._login:
            text = f"{text} ({self._login})"
        return replace(outcome, error=scrub(text, self._secrets))
