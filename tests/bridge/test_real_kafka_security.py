"""The Kafka sink and Apache Kafka's listeners with TLS, logins and rights."""

from __future__ import annotations

import base64
import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from itertools import count

import pytest
from confluent_kafka.admin import (  # type: ignore[attr-defined]
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)

from riverbridge.model.evidence import Evidence
from riverbridge.model.outcome import Delivered, Misconfigured, Outcome, Unreachable
from riverbridge.sinks import kafka_sending
from riverbridge.sinks.base import Entry, Message
from riverbridge.sinks.kafka import KafkaSink
from riverbridge.sinks.kafka_config import Value
from riverbridge.sinks.kafka_transactions import KafkaTransactions
from tests.support.bridge import BridgeProcess
from tests.support.database import Database, new_name
from tests.support.parts import part
from tests.support.real_kafka import RealKafka
from tests.support.tls import Authority
from tests.support.wait import eventually

pytestmark = pytest.mark.real_kafka

SHORT = 1.5
"""Seconds, the delivery timeout where nothing gets through."""
SECRET = "s3cret-of-the-test"
LISTENERS = {
    "LOGIN": "SASL_PLAINTEXT",
    "TLS": "SSL",
    "BOTH": "SASL_SSL",
    "PAST": "SSL",
    "TOKEN": "SASL_SSL",
}
SESSION, RENEWED, LIVES = 2, 2.5, 4
"""Seconds: the longest session, and when the client is told that a token ends, and when it does.

A broker refuses whoever signs in twice within a second ("Request not valid in current SASL
state"). Its sessions end with their token, and librdkafka begins anew at nine tenths of one, and
has a new token at eight tenths of the old one's life: so two seconds of that are left at least.
"""
MODULES = "org.apache.kafka.common.security"


@pytest.fixture(scope="module")
def authorities(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Authority]:
    """The one that signed the broker's certificate, and another."""
    names = ("ours", "other")
    return {name: Authority(tmp_path_factory.mktemp(name)) for name in names}


@pytest.fixture(scope="module")
def secure(authorities: Mapping[str, Authority]) -> Iterator[RealKafka]:
    """Certified for 127.0.0.1 only, the listener PAST until yesterday.

    Who signs in may write if named alice or pat.
    """
    scram = f"{MODULES}.scram.ScramLoginModule required;"
    plain = f'{MODULES}.plain.PlainLoginModule required user_pat="{SECRET}";'
    past = authorities["ours"].issue("past", "IP:127.0.0.1", expired=True)
    token = (
        f'{MODULES}.oauthbearer.OAuthBearerLoginModule required unsecuredLoginStringClaim_sub="x";'
    )
    with part("real_kafka"):
        broker = RealKafka(
            listeners=LISTENERS,
            properties={
                "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256",
                "listener.name.login.scram-sha-256.sasl.jaas.config": scram,
                "listener.name.login.plain.sasl.jaas.config": plain,
                "listener.name.both.scram-sha-256.sasl.jaas.config": scram,
                "listener.name.both.plain.sasl.jaas.config": plain,
                "listener.name.token.sasl.enabled.mechanisms": "OAUTHBEARER",
                "listener.name.token.oauthbearer.sasl.jaas.config": token,
                # Whoever does not sign in again by then is cut off.
                "listener.name.token.oauthbearer.connections.max.reauth.ms": f"{SESSION}000",
                "ssl.keystore.type": "PEM",
                "ssl.keystore.location": str(authorities["ours"].issue("broker", "IP:127.0.0.1")),
                "listener.name.past.ssl.keystore.type": "PEM",
                "listener.name.past.ssl.keystore.location": str(past),
                "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
                "super.users": "User:ANONYMOUS;User:alice;User:pat",
            },
            scram={"alice": SECRET, "bob": SECRET},
        )
    with broker:
        yield broker


@pytest.fixture
def topic(secure: RealKafka) -> str:
    name = new_name("secure")
    secure.create_topic(name)
    return name


Try = Callable[..., list[Outcome]]


@pytest.fixture
def attempt(
    secure: RealKafka, topic: str, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[..., Try]]:
    """Makes a sink for a listener, of which it gives the way to send three messages.

    Whatever comes of it, neither an outcome nor the log may hold a password.
    """
    texts: list[str] = []
    caplog.set_level(logging.DEBUG, "riverbridge")
    sent = [Message(id=str(n), body=b"x", destination=topic, key=str(n)) for n in range(3)]
    with ExitStack() as stack:

        def make(
            listener: str,
            config: Mapping[str, Value],
            host: str = "127.0.0.1",
            timeout: float = SHORT,
        ) -> Try:
            servers = secure.servers(listener, host)
            sink = KafkaSink(bootstrap_servers=servers, config=config, delivery_timeout=timeout)
            stack.callback(sink.close)

            def send() -> list[Outcome]:
                outcomes = sink.deliver(sent, time.monotonic() + timeout + 2)
                texts.append(str(outcomes))
                return list(outcomes)

            return send

        yield make
    for text in (*texts, caplog.text):
        assert SECRET not in text
        assert "wrong-one" not in text


def login(mechanism: str, user: str, password: str = SECRET) -> dict[str, Value]:
    return {
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": mechanism,
        "sasl.username": user,
        "sasl.password": password,
    }


def trusting(authority: Authority, protocol: str = "SSL") -> dict[str, Value]:
    return {"security.protocol": protocol, "ssl.ca.location": str(authority.ca)}


def refusal(outcomes: list[Outcome]) -> str:
    """The reason, when it was the configuration for all three messages.

    A refusal may end the producer; what it had not sent by then is released, which spends no
    attempt either.
    """
    [refused] = {outcome for outcome in outcomes if not isinstance(outcome, Unreachable)}
    assert isinstance(refused, Misconfigured), refused
    return refused.error


SCRAM = "SCRAM-SHA-256"


@pytest.mark.parametrize("who", ["scram", "plain", "tls", "scram over tls"])
def test_who_may_delivers(
    secure: RealKafka, topic: str, authorities: dict[str, Authority], attempt: Callable[..., Try],
    who: str,
) -> None:  # fmt: skip
    listener, config = {
        "scram": ("LOGIN", login(SCRAM, "alice")),
        "plain": ("LOGIN", login("PLAIN", "pat")),
        "tls": ("TLS", trusting(authorities["ours"])),
        "scram over tls": (
            "BOTH",
            login(SCRAM, "alice") | trusting(authorities["ours"], "SASL_SSL"),
        ),
    }[who]
    assert attempt(listener, config, timeout=10)() == [Delivered()] * 3
    assert secure.records(topic) == 3


@pytest.mark.parametrize("mechanism", [SCRAM, "PLAIN", "SCRAM-SHA-512"])
def test_a_refused_login_says_who_and_where(
    secure: RealKafka, topic: str, attempt: Callable[..., Try], mechanism: str
) -> None:
    """Not offered by this broker: SCRAM-SHA-512."""
    user = "pat" if mechanism == "PLAIN" else "alice"
    error = refusal(attempt("LOGIN", login(mechanism, user, "wrong-one"))())
    assert f"sasl.mechanism {mechanism}, sasl.username {user}" in error
    assert secure.servers("LOGIN") in error
    assert ("Unsupported SASL mechanism" in error) == (mechanism == "SCRAM-SHA-512")
    assert secure.records(topic) == 0


def test_a_login_that_is_mended_is_taken_up(
    secure: RealKafka,
    topic: str,
    authorities: dict[str, Authority],
    attempt: Callable[..., Try],
    caplog: pytest.LogCaptureFixture,
) -> None:
    send = attempt("BOTH", login(SCRAM, "carol") | trusting(authorities["ours"], "SASL_SSL"))
    first = refusal(send())
    assert "SASL_SSL, sasl.mechanism SCRAM-SHA-256, sasl.username carol" in first
    assert refusal(send()) == first  # a reason that stays is one line in the bridge's log
    assert "authentication" in caplog.text.lower()
    assert secure.records(topic) == 0
    user = UserScramCredentialUpsertion(
        "carol", ScramCredentialInfo(ScramMechanism.SCRAM_SHA_256, 4096), SECRET.encode()
    )
    client = admin(secure)
    client.alter_user_scram_credentials([user])["carol"].result(10)
    allow(secure, topic, "carol")
    eventually(lambda: send() == [Delivered()] * 3)
    assert secure.records(topic) == 3


def test_rights_that_are_missing_are_named_and_taken_up(
    secure: RealKafka, topic: str, attempt: Callable[..., Try]
) -> None:
    send = attempt("LOGIN", login(SCRAM, "bob"))
    for _ in range(2):
        error = refusal(send())
        assert "authorization failed" in error
        assert f"(topic {topic})" in error
        assert "sasl.username bob" in error
    assert secure.records(topic) == 0
    allow(secure, topic, "bob")
    eventually(lambda: send() == [Delivered()] * 3)


@pytest.mark.parametrize(
    "fault", ["unknown authority", "system's authorities", "other host", "expired"]
)
def test_a_certificate_that_proves_nothing_is_refused(
    secure: RealKafka, topic: str, authorities: dict[str, Authority], attempt: Callable[..., Try],
    fault: str,
) -> None:  # fmt: skip
    config, host = {
        "unknown authority": (trusting(authorities["other"]), "127.0.0.1"),
        "system's authorities": ({"security.protocol": "SSL"}, "127.0.0.1"),
        # At IPv6's localhost nobody listens: the last error would be either of the two.
        "other host": (
            trusting(authorities["ours"]) | {"broker.address.family": "v4"},
            "localhost",
        ),
        "expired": (trusting(authorities["ours"]), "127.0.0.1"),
    }[fault]
    listener = "PAST" if fault == "expired" else "TLS"
    error = refusal(attempt(listener, config, host)())
    assert "certificate verify failed" in error
    assert "expired" in error
    assert "ssl.ca.location" in error
    assert "host name" in error
    assert secure.servers(listener, host) in error
    assert secure.records(topic) == 0


Tokens = list[float]
"""When each was made, in seconds since the epoch."""


@pytest.fixture
def tokens(monkeypatch: pytest.MonkeyPatch) -> Tokens:
    """As MSK's but for the signature."""
    made: list[float] = []

    def source(_region: str) -> Callable[[str], tuple[str, float]]:
        def token(_config: str) -> tuple[str, float]:
            made.append(time.time())
            return unsigned("pat", made[-1], made[-1] + LIVES), made[-1] + RENEWED

        return token

    monkeypatch.setattr(kafka_sending, "msk_token_source", source)
    return made


@pytest.fixture(params=[KafkaSink, KafkaTransactions], ids=["plain", "transactions"])
def send(
    secure: RealKafka, topic: str, authorities: dict[str, Authority], tokens: Tokens,
    request: pytest.FixtureRequest,
) -> Iterator[Callable[[], Sequence[Outcome]]]:  # fmt: skip
    """Sends one message, signed in with the last token."""
    sink: KafkaSink | KafkaTransactions = request.param(
        bootstrap_servers=secure.servers("TOKEN"),
        config={"ssl.ca.location": str(authorities["ours"].ca)},
        msk_iam_region="eu-west-1",
        delivery_timeout=30,
    )
    numbers, message = count(1), Message("1", b"x", topic)

    def send() -> Sequence[Outcome]:
        until = time.monotonic() + 30
        if isinstance(sink, KafkaSink):
            return sink.deliver([message], until)
        return sink.deliver_entry(Entry(topic, next(numbers), [0]), [message], until)

    with closing(sink):
        if isinstance(sink, KafkaTransactions):
            assert sink.ask(topic, time.monotonic() + 30) == Evidence()
        yield send


def test_a_token_that_ends_is_made_again(
    send: Callable[[], Sequence[Outcome]], tokens: Tokens
) -> None:
    assert send() == [Delivered()]
    first = tokens[-1]

    def the_first_is_long_over() -> bool:
        assert send() == [Delivered()]
        return tokens[-1] - first > LIVES + SESSION

    eventually(the_first_is_long_over, within=60)


def unsigned(name: str, begins: float, ends: float) -> str:
    """A token that says who signs in, which the broker takes at its word."""
    parts = ({"alg": "none"}, {"sub": name, "iat": begins, "exp": ends})
    text = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    return b".".join(text).decode() + "."


@pytest.mark.parametrize("listener", ["LOGIN", "TLS", "BOTH"])
def test_an_unprotected_client_gets_no_answer_and_a_hint(
    secure: RealKafka, topic: str, attempt: Callable[..., Try], listener: str
) -> None:
    [outcome] = set(attempt(listener, {})())
    assert isinstance(outcome, Unreachable)
    assert "security.protocol" in outcome.error
    assert secure.records(topic) == 0


def test_the_bridge_says_who_was_refused_and_spends_no_attempt(
    secure: RealKafka, topic: str, database: Database
) -> None:
    config = {name.replace(".", "_").upper(): str(value) for name, value in
              login(SCRAM, "alice", "wrong-one").items()}  # fmt: skip
    env = {
        "SINKS__EVENTS__TYPE": "kafka",
        "SINKS__EVENTS__BOOTSTRAP_SERVERS": secure.servers("LOGIN"),
        "SINKS__EVENTS__TOPIC": topic,
        "SINKS__EVENTS__DELIVERY_TIMEOUT": str(SHORT),
        **{f"SINKS__EVENTS__CONFIG__{name}": value for name, value in config.items()},
    }
    with database.connect() as connection, BridgeProcess(database, env) as bridge:
        connection.execute(
            "INSERT INTO river_job (kind, queue, max_attempts, args)"
            " SELECT 'test', 'outbox', 1, '{}' FROM generate_series(1, 100)"
        )
        eventually(lambda: "sasl.mechanism SCRAM-SHA-256, sasl.username alice" in bridge.log, 20)
        assert "is misconfigured" in bridge.log
        bridge.stop()
        assert "wrong-one" not in bridge.log
        rows = connection.execute("SELECT state::text, attempt, errors FROM river_job").fetchall()
    assert rows == [("available", 0, None)] * 100
    assert secure.records(topic) == 0


def admin(secure: RealKafka) -> AdminClient:
    return AdminClient({"bootstrap.servers": secure.bootstrap_servers})


def allow(secure: RealKafka, topic: str, user: str) -> None:
    """Let `user` write to `topic`; that includes writing idempotently (Kafka 2.8 and later)."""
    right = AclBinding(
        ResourceType.TOPIC, topic, ResourcePatternType.LITERAL, f"User:{user}", "*",
        AclOperation.WRITE, AclPermissionType.ALLOW,
    )  # fmt: skip
    client = admin(secure)
    client.create_acls([right])[right].result(10)
