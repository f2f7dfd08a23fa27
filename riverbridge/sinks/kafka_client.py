"""One producer of librdkafka, who polls it when, and the answers of one call."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from riverbridge.model.outcome import Delivered
from riverbridge.sinks.kafka_config import Value, scrub
from riverbridge.sinks.kafka_errors import Meaning, classify

log = logging.getLogger("riverbridge.sinks.kafka")

library_log = logging.getLogger("riverbridge.sinks.kafka.librdkafka")

DELIVERED = Delivered()
_POLL = 0.05
"""Seconds between two polls of a producer that nobody waits for."""
_QUICK, _PATIENT = 0.001, 0.005
"""Seconds of a waiting caller's poll, while answers come and while none do."""
_AFTER = re.compile(r" \(after \d+ms in state \w+\)")
"""Differs each time, so that nobody could tell a new reason from the last one repeated."""
_CLOSED = (
    "(they close the connection without a word, as a listener for TLS or SASL does when "
    "security.protocol is not its own)"
)
_UNVERIFIED = "certificate verify failed"
_AUTHORITIES = "ssl.ca.location"
_VERIFY = "or its certificate has expired or is not for the host name in this address"
_TLS = "SSL routines::"
_CUT_OFF = "unexpected eof"
"""What OpenSSL says of a connection that merely ended."""
_TOO_OLD = ("alert protocol version", "unsupported protocol")
_FAILED = 0.2
"""Seconds for which further answers are waited for after the first that is a failure."""
_LINGER = 1.0
"""Seconds a producer that is being closed waits for the answers to what it has already sent."""


class _Seldom(logging.Filter):
    """One line of librdkafka's in ten seconds for each client and kind; the others are dropped.

    In an outage it writes several a second and broker.
    """

    EVERY = 10.0

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        text = record.getMessage()
        record.msg, record.args = scrub(text), ()
        kind = " ".join(text.split(" ", 2)[:2])
        now = time.monotonic()
        if now - self._last.get(kind, float("-inf")) < self.EVERY:
            return False
        if len(self._last) > 1000:
            self._last.clear()
        self._last[kind] = now
        return True


library_log.addFilter(_Seldom())


class Health:
    """What the brokers let this producer know lately. Written by its poll thread only."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self.now = time.monotonic()
        self.answered_at = float("-inf")
        self.last_error = ""
        self.fatal: str | None = None
        self._fault: str | None = None
        self._fault_at = float("-inf")
        self._secrets = secrets

    def error(self, error: KafkaError) -> None:
        """librdkafka's `error_cb`: states of connections and of the producer, not of messages."""
        code = error.code()
        text = _AFTER.sub("", scrub(f"{error.name()}: {error.str()}", self._secrets))
        # Told as _SSL, or as _TRANSPORT where a write meets it before the handshake does.
        no_tls = _UNVERIFIED in text or (_TLS in text and _CUT_OFF not in text)
        if any(words in text for words in _TOO_OLD):
            text = f"{text}: the broker speaks no TLS of version 1.2 or later"
        if _UNVERIFIED in text:
            if _AUTHORITIES not in text:
                text = f"{text}: verify that {_AUTHORITIES} is correctly configured"
            text = f"{text}, {_VERIFY}"
        if error.fatal():
            self.fatal = self.last_error = text
            if classify(code) is Meaning.MISCONFIGURED:
                self.set_fault(text)
        elif code == KafkaError._ALL_BROKERS_DOWN:
            # Follows whatever brought the last broker down, and would hide it.
            self.last_error = self.last_error or f"{text} {_CLOSED}"
        else:
            self.last_error = text
            refused = no_tls or classify(code) is Meaning.MISCONFIGURED
            self.set_fault(text if refused else None)

    def set_fault(self, text: str | None) -> None:
        self._fault = text
        self._fault_at = time.monotonic()

    @property
    def fault(self) -> str | None:
        """Refused credentials or certificates, unless something was acknowledged since."""
        return self._fault if self._fault_at > self.answered_at else None


class Call:
    """The answers to the messages of one `deliver`.

    Any thread that polls may bring them, this call's own or another's. Answers that come after the
    caller has left are written to a list that nobody reads any more.
    """

    __slots__ = ("answers", "count", "failed", "health", "receipts")

    def __init__(self, size: int, health: Health, receipts: bool) -> None:
        self.answers: list[Delivered | KafkaError | None] = [None] * size
        self.count = 0
        self.failed = False
        self.health = health
        self.receipts = receipts

    def answered(self, index: int, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.health.answered_at = self.health.now
            if self.receipts:
                where = f"{message.topic()}[{message.partition()}]@{message.offset()}"
                self.answers[index] = Delivered(where)
            else:
                self.answers[index] = DELIVERED
        else:
            self.answers[index] = error
            self.failed = True
        self.count += 1


class Client:
    """A producer, polled by whoever waits for answers and else by a thread of its own.

    Each delivery report takes the interpreter's lock. A poll thread that took it a thousand times
    while the caller still produces cost twice the time of a caller that produces, then polls.
    """

    def __init__(
        self,
        properties: Mapping[str, Value],
        secrets: tuple[str, ...],
        token_source: Callable[[str], tuple[str, float]] | None,
        statistics: Callable[[str], None],
    ) -> None:
        # The producer holds the health, never the client: no cycle keeps its sockets open.
        self.health = health = Health(secrets)
        config: dict[str, object] = {
            **properties,
            "error_cb": health.error,
            "stats_cb": statistics,
        }
        if token_source is not None:
            config["oauth_cb"] = _reporting(token_source, health, secrets)
        self.producer = Producer(config, logger=library_log)
        self.stopping = threading.Event()
        self._calls = 0
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._serve, name="kafka-sink-poll", daemon=True)
        self._thread.start()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """While a caller polls by itself, the thread keeps out of its way."""
        with self._lock:
            self._calls += 1
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1

    def wait(self, call: Call, accepted: int, until: float, *, whole: bool = False) -> None:
        """Poll until `accepted` messages of `call` are answered, or `until` (time.monotonic).

        whole: one that was not delivered soon ends it too.
        """
        pause = _QUICK
        while call.count < accepted and (left := until - time.monotonic()) > 0:
            if whole and call.failed:
                # Others may have been answered with it, and one of those says why.
                whole, until = False, min(until, time.monotonic() + _FAILED)
            # Another caller's poll may bring this one's last answer, so none is long.
            pause = _QUICK if self._poll(min(left, pause)) else min(2 * pause, _PATIENT)

    def wait_for_room(self, until: float) -> bool:
        """After a full queue: True when messages have left it, False at `until`."""
        while (left := until - time.monotonic()) > 0:
            if self.stopping.is_set():
                return False
            if self._poll(min(left, _POLL)):
                return True
        return False

    def stop(self) -> None:
        """Drop what was not sent; the thread ends when the rest is answered, in about a second."""
        if not self.stopping.is_set():
            self.stopping.set()
            self._purge(in_flight=self.health.fatal is not None)

    @property
    def alive(self) -> bool:
        return self._thread.is_alive()

    def join(self, timeout: float) -> None:
        if self._thread is not threading.current_thread():
            self._thread.join(timeout)

    def _purge(self, *, in_flight: bool) -> None:
        try:
            self.producer.purge(in_queue=True, in_flight=in_flight, blocking=False)
        except (KafkaException, RuntimeError) as refused:
            log.warning("could not drop unsent messages: %s", refused)

    def _serve(self) -> None:
        while not self.stopping.wait(_POLL):
            if not self._calls:
                self._poll(0)
            if self.health.fatal is not None:
                log.warning("a new producer is needed: %s", self.health.fatal)
                self.stop()
        end = time.monotonic() + _LINGER
        while len(self.producer) and time.monotonic() < end:
            self._poll(_POLL / 2)
        self._purge(in_flight=True)
        end = time.monotonic() + _LINGER / 2
        while self._poll(_POLL / 2) or (len(self.producer) and time.monotonic() < end):
            if time.monotonic() >= end:
                break

    def condemn(self, text: str) -> None:
        """Said by a thread whose message was refused with a fatal error: use this no more."""
        if self.health.fatal is None:
            self.health.fatal = scrub(text)

    def _poll(self, timeout: float) -> int:
        self.health.now = time.monotonic()
        try:
            return self.producer.poll(timeout)
        except KafkaException as raised:
            # The Python client raises a fatal error here in place of calling `error_cb`.
            self.health.error(raised.args[0])
            return 1
        except Exception:
            # A callback raised; the message it was for stays unanswered until its deadline.
            log.exception("a Kafka callback failed")
            self.stopping.wait(_POLL)
            return 0


def _reporting(
    source: Callable[[str], tuple[str, float]], health: Health, secrets: tuple[str, ...]
) -> Callable[[str], tuple[str, float]]:
    """`source`, whose failure becomes the reason that waiting messages are given."""

    def token(config: str) -> tuple[str, float]:
        try:
            return source(config)
        except Exception as failed:
            text = scrub(f"no token for OAUTHBEARER: {failed}", secrets)
            health.set_fault(text)
            raise RuntimeError(text) from None

    return token
