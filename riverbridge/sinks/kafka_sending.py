"""What both ways to write to Kafka share: their settings, handing messages to a producer, and what
an answer means."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Generic, Required, TypedDict, TypeVar

from confluent_kafka import KafkaError, KafkaException

from riverbridge.errors import ConfigurationError
from riverbridge.model.outcome import Misconfigured, Outcome, Permanent
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
from riverbridge.sinks.kafka_errors import Meaning, classify, outcome_of
from riverbridge.sinks.kafka_message import (
    ANY,
    milliseconds,
    no_partition,
    too_large,
    topic_problem,
)
from riverbridge.sinks.kafka_partitions import Partitions

CLOSE = 2.0
"""Seconds that closing may take."""
_TOPICS_KEPT = 10_000
_REFRESH = 1.0
"""Seconds between two questions for a topic that was refused, and the longest wait for one."""


class Options(TypedDict, total=False):
    """What every Kafka sink is told; see `KafkaSink`."""

    bootstrap_servers: Required[str]
    config: Mapping[str, Value] | None
    delivery_timeout: float
    client_id: str
    msk_iam_region: str | None
    receipts: bool


K = TypeVar("K")


class KafkaSending(Generic[K]):
    """The settings of a Kafka sink, checked, its producers, each by what it is for, and what it
    does with single messages.

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
        transactions: bool = False,
        receipts: bool = False,
    ) -> None:
        config = dict(config or {})
        problems = check_config(
            config,
            delivery_timeout=delivery_timeout,
            msk_iam_region=msk_iam_region,
            transactions=transactions,
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
            transactions=transactions,
        )
        self.receipts = receipts
        self._secrets = secrets_of(config)
        self._login = login_of(self._properties)
        self._token_source = None if msk_iam_region is None else msk_token_source(msk_iam_region)
        self._delivery_timeout = delivery_timeout
        self._max_bytes = int(self._properties.get("message.max.bytes", MESSAGE_MAX_BYTES))
        self._partitions = Partitions()
        self._topics: set[str] = set()
        self._asked: dict[str, float] = {}
        self._lock = threading.Lock()
        self._closed = False
        # Replaced, never changed, so that it may be read without the lock.
        self._clients: Mapping[K, Client] = {}
        self._retired: list[Client] = []

    def close(self) -> None:
        """Drop what was not sent and end the threads, within two seconds."""
        with self._lock:
            self._closed = True
            clients = [*self._clients.values(), *self._retired]
        for client in clients:
            client.stop()
        end = time.monotonic() + CLOSE
        for client in clients:
            client.join(max(0.0, end - time.monotonic()))

    def _retire(self, client: Client) -> None:
        """Under the lock: keep it for `close` until its threads have ended, and no longer."""
        self._retired = [known for known in self._retired if known.alive] + [client]

    def _made(self, properties: Mapping[str, Value]) -> Client:
        """A new producer."""
        return Client(properties, self._secrets, self._token_source, self._partitions.watch())

    def text_of(self, error: KafkaError) -> str:
        """An error in words, without secrets."""
        return scrub(f"{error.name()}: {error.str()}", self._secrets)

    def send(
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
            except Exception as error:
                raised = error.with_traceback(None)
            else:
                continue
            # Not in the handler: a `produce` that raises while an exception is handled leaks that
            # one, and with its stack the producer, whose threads and sockets then never end.
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
        """The second half of `send`: the producer did not take `message`.

        A full queue is waited for. A topic that an earlier answer put out of use is asked for
        again. None once the message was taken, else its outcome.
        """
        refreshed = False
        while True:
            if isinstance(raised, BufferError):
                if not client.wait_for_room(deadline):
                    text = "the producer's queue stayed full until the deadline"
                    return self.outcome(Meaning.UNSENT, text, client)
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
                raised = again.with_traceback(None)
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
        return self.outcome(meaning, text, client)

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

    def failure(self, message: Message, error: KafkaError, client: Client) -> Outcome:
        """What `error`, given for one message, makes of its job."""
        code = error.code()
        meaning = classify(code)
        topic = message.destination
        if code == KafkaError.MSG_SIZE_TOO_LARGE:
            return Permanent(
                too_large(message, self._max_bytes, f"topic {topic} refused it; ours is")
            )
        if code == KafkaError._UNKNOWN_PARTITION and message.partition is not None:
            return Permanent(no_partition(message))
        return self.outcome(meaning, f"{error.name()}: {error.str()} (topic {topic})", client)

    def outcome(self, meaning: Meaning, text: str, client: Client) -> Outcome:
        """The outcome of `meaning`, seen with what the brokers said lately."""
        health = client.health
        # The producers have the same brokers: what one is answered is good news for all.
        answered_at = max(c.health.answered_at for c in (client, *self._clients.values()))
        answering = time.monotonic() - answered_at < self._delivery_timeout / 2
        if meaning in (Meaning.SILENT, Meaning.UNSENT) and health.last_error and not answering:
            text = f"{text}; last error: {health.last_error}"
        outcome = outcome_of(meaning, text, answering=answering, fault=health.fault)
        text = outcome.error
        if isinstance(outcome, Misconfigured) and self._login:
            text = f"{text} ({self._login})"
        return replace(outcome, error=scrub(text, self._secrets))
