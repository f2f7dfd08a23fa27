from __future__ import annotations

import sys
import threading
import types
from datetime import UTC, datetime, timedelta

import pytest

from riverbridge.errors import ConfigurationError
from riverbridge.sinks.base import headers_problem
from riverbridge.sinks.kafka import KafkaSink
from riverbridge.sinks.kafka_config import (
    Value,
    check_config,
    client_config,
    login_of,
    msk_token_source,
    scrub,
    secrets_of,
)
from riverbridge.sinks.kafka_message import milliseconds, topic_problem


def test_good_properties_have_no_problems() -> None:
    good: dict[str, Value] = {
        "compression.type": "zstd",
        "linger.ms": 1,
        "acks": "-1",
        "enable.idempotence": "true",
        "message.timeout.ms": 10_000,
        "security.protocol": "SASL_PLAINTEXT",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "u",
        "sasl.password": "p",
        "message.max.bytes": "2000000",
    }
    assert check_config(good) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("acks", 1),
        ("acks", "0"),
        ("request.required.acks", "1"),
        ("enable.idempotence", False),
        ("enable.idempotence", "false"),
        ("enable.delivery.report", True),
        ("delivery.report.only.error", True),
        ("message.timeout.ms", 10_001),
        ("message.timeout.ms", 0),
        ("delivery.timeout.ms", "300000"),
        ("delivery.timeout.ms", "soon"),
        ("transactional.id", "t"),
        ("enable.gapless.guarantee", True),
        ("bootstrap.servers", "a:9092"),
        ("error_cb", "x"),
        ("oauth_cb", "x"),
        ("compresion.type", "zstd"),
        ("linger.ms", "a while"),
        ("linger.ms", -1),
        ("compression.type", "brotli"),
        ("security.protocol", "tls"),
    ],
)
def test_a_bad_property_is_refused_by_name(name: str, value: Value) -> None:
    problems = check_config({name: value})
    assert len(problems) == 1, problems
    assert problems[0].startswith(f"{name}: ")


def test_properties_that_do_not_go_together_are_refused() -> None:
    problems = check_config({"security.protocol": "ssl", "ssl.ca.location": "/nowhere/ca.pem"})
    assert len(problems) == 1
    assert problems[0].startswith("config: ")
    assert "ssl.ca.location" in problems[0]


def test_all_problems_are_found_at_once() -> None:
    problems = check_config({"acks": 1, "no.such.thing": 1, "linger.ms": "x", "client.rack": "a"})
    assert sorted(p.split(":")[0] for p in problems) == ["acks", "linger.ms", "no.such.thing"]


@pytest.mark.parametrize("timeout", [0.0, -1.0, float("nan"), float("inf"), 1e9])
def test_a_delivery_timeout_out_of_range_is_refused(timeout: float) -> None:
    assert any("delivery_timeout" in p for p in check_config({}, delivery_timeout=timeout))


def test_the_sink_refuses_to_start_and_leaves_no_thread() -> None:
    before = threading.active_count()
    with pytest.raises(ConfigurationError) as refused:
        KafkaSink(bootstrap_servers=" ", config={"acks": "1"})
    assert [p.split(":")[0] for p in refused.value.problems] == ["bootstrap_servers", "acks"]
    assert threading.active_count() == before


def test_promises_cannot_be_overridden_and_defaults_can() -> None:
    made = client_config(
        {"linger.ms": 5, "enable.ssl.certificate.verification": True},
        bootstrap_servers="b:1",
        client_id="c",
        delivery_timeout=7.5,
    )
    assert made["acks"] == "all"
    assert made["enable.idempotence"] == "true"
    assert made["message.timeout.ms"] == 7500
    assert made["partitioner"] == "murmur2_random"
    assert made["linger.ms"] == 5
    assert made["enable.ssl.certificate.verification"] == "true"


def test_secrets_are_in_no_text() -> None:
    config: dict[str, Value] = {"sasl.password": "hunter22", "ssl.key.pem": "KEYBYTES"}
    assert scrub("got hunter22 and KEYBYTES", secrets_of(config)) == "got *** and ***"
    assert "s3cret" not in scrub("bad line: sasl.password=s3cret, retrying")
    assert "s3cret" not in scrub('sasl.jaas.config = "s3cret x" end')
    address = "sasl_plaintext://broker:9092/1: SASL authentication error: no such user"
    assert scrub(address) == address
    assert "s3cret" not in scrub("sasl_ssl://broker/1: sasl.password=s3cret")
    problems = check_config({**config, "security.protocol": "hunter22"})
    assert problems
    assert "hunter22" not in "".join(problems)


@pytest.mark.parametrize(
    ("properties", "login"),
    [
        ({}, ""),
        ({"security.protocol": "plaintext", "sasl.username": "u"}, ""),
        ({"security.protocol": "ssl", "sasl.username": "u"}, "security.protocol SSL"),
        (
            {
                "security.protocol": "sasl_ssl",
                "sasl.mechanism": "PLAIN",
                "sasl.username": "u",
                "sasl.password": "p",
            },
            "security.protocol SASL_SSL, sasl.mechanism PLAIN, sasl.username u",
        ),
        (
            {"security.protocol": "SASL_SSL", "sasl.mechanisms": "OAUTHBEARER"},
            "security.protocol SASL_SSL, sasl.mechanism OAUTHBEARER",
        ),
    ],
)
def test_how_a_producer_signs_in_is_told_without_its_secret(
    properties: dict[str, Value], login: str
) -> None:
    assert login_of(properties) == login


def test_texts_are_short_and_one_line() -> None:
    text = scrub("é" * 2000 + "\n\0x")
    assert len(text.encode()) <= 1024
    assert scrub("a\nb\0c") == "a bc"


@pytest.mark.parametrize("topic", ["jobs", "a.b-c_D9", "x" * 249, "..."])
def test_topic_names_that_exist(topic: str) -> None:
    assert topic_problem(topic) is None


@pytest.mark.parametrize("topic", ["", ".", "..", "a b", "a/b", "jobs\n", "é", "x" * 250, "a\0"])
def test_topic_names_that_cannot_exist(topic: str) -> None:
    assert (topic_problem(topic) or "").startswith("topic: ")


@pytest.mark.parametrize(
    ("headers", "word"),
    [
        ((("a", "b\r\nc"),), "line break"),
        ((("a\n", "b"),), "line break"),
        ((("a\0", "b"),), "NUL"),
        ((("a", "\ud800"),), "surrogate"),
        (tuple((f"h{i}", "v") for i in range(65)), "limit is 64"),
        ((("a", "x" * 16384),), "limit is 16384"),
        ((("a", "é" * 8192),), "limit is 16384"),
    ],
)
def test_headers_that_are_not_sent(headers: tuple[tuple[str, str], ...], word: str) -> None:
    assert word in (headers_problem(headers) or "")


def test_headers_at_the_limit_are_sent() -> None:
    assert headers_problem(tuple((f"h{i}", "v") for i in range(64))) is None
    assert headers_problem((("a", "x" * 16383),)) is None


def test_timestamps_are_exact_milliseconds() -> None:
    base = datetime(2026, 1, 1, tzinfo=UTC)
    for ms in range(0, 1000, 7):
        instant = base + timedelta(milliseconds=ms)
        assert milliseconds(instant) == 1_767_225_600_000 + ms
    assert milliseconds(None) == 0


def test_msk_without_the_signer_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "aws_msk_iam_sasl_signer", None)
    with pytest.raises(ImportError, match=r"pip install riverbridge\[msk\]"):
        msk_token_source("eu-west-1")


def test_msk_problems() -> None:
    problems = check_config(
        {"sasl.mechanism": "PLAIN", "security.protocol": "PLAINTEXT", "sasl.username": "u"},
        msk_iam_region="Europe",
    )
    names = {p.split(":")[0] for p in problems}
    assert {"sasl.mechanism", "security.protocol", "sasl.username", "msk_iam_region"} <= names


def test_the_token_is_asked_for_while_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The poll thread serves the token callback: a sink nobody uses stays signed in."""
    asked = threading.Event()
    again = threading.Event()

    class Provider:
        @staticmethod
        def generate_auth_token(region: str) -> tuple[str, int]:
            assert region == "eu-west-1"
            (again if asked.is_set() else asked).set()
            # librdkafka asks again at 80 % of the lifetime.
            return "abc", int((datetime.now(UTC).timestamp() + 2) * 1000)

    module = types.ModuleType("aws_msk_iam_sasl_signer")
    module.MSKAuthTokenProvider = Provider  # type: ignore[attr-defined]
    module.__spec__ = types.SimpleNamespace(name=module.__name__)  # type: ignore[assignment]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    sink = KafkaSink(bootstrap_servers="127.0.0.1:1", msk_iam_region="eu-west-1")
    try:
        assert asked.wait(5)
        assert again.wait(10)
    finally:
        sink.close()
