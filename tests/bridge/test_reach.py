"""What keeps a sink from its server before anything is sent: names, certificates, versions of TLS.

Each of them is for somebody to mend, so it costs no attempt, and nothing of a message goes out.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
from botocore.credentials import Credentials

from riverbridge.model.outcome import Misconfigured, Outcome, Unreachable
from riverbridge.sinks.base import Message, Sink
from riverbridge.sinks.eventbridge import EventBridgeSink
from riverbridge.sinks.kafka import KafkaSink
from riverbridge.sinks.kafka_transactions import KafkaTransactions
from riverbridge.sinks.kinesis import KinesisSink
from riverbridge.sinks.river import RiverSink
from riverbridge.sinks.sns import SnsSink
from riverbridge.sinks.sqs import SqsSink
from riverbridge.sinks.webhook import WebhookSink
from tests.bridge.aws_answers import ARN
from tests.support.tls import Authority

SECONDS = 0.6
"""The delivery timeout: Kafka's client goes on trying until then."""
KEYS = Credentials("test", "test")
SSL_REQUEST = 8
"""Bytes with which a client of Postgres asks for TLS."""

Open = Callable[[str, int, Path], Sink]


class Slotted:
    """A sink with transactions, asked as its route asks it before a batch."""

    def __init__(self, sink: KafkaTransactions) -> None:
        self._sink = sink

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        answer = self._sink.ask("riverbridge-reach-1", deadline)
        assert isinstance(answer, Unreachable | Misconfigured), answer
        return [answer] * len(messages)

    def close(self) -> None:
        self._sink.close()


def _kafka(kind: type[KafkaSink | KafkaTransactions]) -> Callable[[str, int, Path], object]:
    def open(host: str, port: int, ca: Path) -> object:
        config = {
            "security.protocol": "SSL",
            "ssl.ca.location": str(ca),
            "broker.address.family": "v4",
        }
        return kind(bootstrap_servers=f"{host}:{port}", config=config, delivery_timeout=SECONDS)

    return open


def _aws(kind: Callable[..., Sink], **more: str) -> Open:
    def open(host: str, port: int, ca: Path) -> Sink:
        url = f"https://{host}:{port}"
        given = {name: value.format(url=url) for name, value in more.items()}
        return kind(
            region="us-east-1",
            endpoint_url=url,
            credentials=KEYS,
            delivery_timeout=SECONDS,
            **given,
        )

    return open


def _webhook(host: str, port: int, ca: Path) -> Sink:
    return WebhookSink(
        url=f"https://{host}:{port}/",
        allow_private=True,
        ca_file=str(ca),
        delivery_timeout=SECONDS,
    )


def _river(host: str, port: int, ca: Path) -> Sink:
    dsn = f"postgresql://bridge:secret@{host}:{port}/billing?sslmode=verify-full&sslrootcert={ca}"
    local = "" if host.endswith("invalid") else "&hostaddr=127.0.0.1"
    return RiverSink(database_url=f"{dsn}{local}&gssencmode=disable", delivery_timeout=SECONDS)


SINKS: dict[str, Open] = {
    "kafka": _kafka(KafkaSink),  # type: ignore[dict-item]
    "transactions": lambda *where: Slotted(_kafka(KafkaTransactions)(*where)),  # type: ignore[arg-type]
    "sqs": _aws(SqsSink, queue_url="{url}/1/q"),
    "sns": _aws(SnsSink, topic_arn=ARN.format("sns", "t")),
    "eventbridge": _aws(EventBridgeSink, source="shop"),
    "kinesis": _aws(KinesisSink, stream_name="s"),
    "webhook": _webhook,
    "river": _river,
}


class Server:
    """Shakes hands as its context says, if it has one, and keeps what it gets after that."""

    def __init__(self, context: ssl.SSLContext | None, *, postgres: bool) -> None:
        self.got = b""
        self._context = context
        self._postgres = postgres
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def close(self) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(5)

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            with suppress(OSError), connection:
                connection.settimeout(2.0)
                self._meet(connection)

    def _meet(self, connection: socket.socket) -> None:
        if self._postgres:
            connection.recv(SSL_REQUEST)
            connection.sendall(b"N" if self._context is None else b"S")
        if self._context is None:
            # What a server without TLS makes of a greeting in TLS.
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
            return
        with self._context.wrap_socket(connection, server_side=True) as secure:
            self.got += secure.recv(65536)


FAULTS = {
    "expired": ("expired", "verify failed"),
    "other host": ("localhost", "other.example", "mismatch", "verify failed"),
    "unknown authority": ("issuer", "unknown ca", "verify failed"),
    "old": ("TLS of version 1.2", "protocol version"),
    "none": ("no TLS", "SSL"),
}
"""What a server has for TLS, and what is said of it, one of these."""


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Authority]:
    return {name: Authority(tmp_path_factory.mktemp(name)) for name in ("ours", "other")}


@pytest.fixture(scope="module")
def contexts(authorities: dict[str, Authority]) -> dict[str, ssl.SSLContext | None]:
    ours, name = authorities["ours"], "DNS:localhost"
    return {
        "expired": ours.context("past", name, expired=True),
        "other host": ours.context("elsewhere", "DNS:other.example"),
        "unknown authority": authorities["other"].context("stranger", name),
        "old": ours.context("old", name, old=True),
        "none": None,
    }


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def send(kind: str, sink: Sink, host: str, port: int) -> set[Outcome]:
    destination = f"https://{host}:{port}/" if kind == "webhook" else "moved"
    sent = [Message(str(n), b"{}", destination) for n in range(3)]
    outcomes = sink.deliver(sent, time.monotonic() + SECONDS)
    assert len(outcomes) == 3
    return set(outcomes)


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("kind", SINKS)
def test_tls_that_proves_nothing_or_is_too_old_is_misconfigured(
    kind: str,
    fault: str,
    contexts: dict[str, ssl.SSLContext | None],
    authorities: dict[str, Authority],
    stack: ExitStack,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ca = authorities["ours"].ca
    monkeypatch.setenv("AWS_CA_BUNDLE", str(ca))
    server = Server(contexts[fault], postgres=kind == "river")
    stack.callback(server.close)
    sink = SINKS[kind]("localhost", server.port, ca)
    stack.callback(sink.close)
    outcomes = send(kind, sink, "localhost", server.port)
    errors = [outcome.error for outcome in outcomes if isinstance(outcome, Misconfigured)]
    # What a refusal ends before it is sent is released, which spends no attempt either.
    assert errors, outcomes
    assert all(isinstance(outcome, Misconfigured | Unreachable) for outcome in outcomes)
    assert any(words in errors[0] for words in FAULTS[fault]), errors[0]
    assert server.got == b""


@pytest.mark.parametrize("kind", SINKS)
def test_a_name_without_an_address_is_unreachable(
    kind: str, authorities: dict[str, Authority], stack: ExitStack
) -> None:
    sink = SINKS[kind]("nowhere.invalid", 9, authorities["ours"].ca)
    stack.callback(sink.close)
    for outcome in send(kind, sink, "nowhere.invalid", 9):
        assert isinstance(outcome, Unreachable), outcome
