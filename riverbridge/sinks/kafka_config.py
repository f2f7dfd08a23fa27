"""Which librdkafka properties a Kafka sink runs with, and which it refuses.

Any property may be passed through. Refused is what would break a promise: an acknowledgement that
is not one, a repeat the broker cannot tell from the first, a message that outlives its deadline.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec

from confluent_kafka import KafkaException, Producer

Value = str | int | float | bool

TEXT_LIMIT = 1024
"""The longest error text, in bytes of UTF-8."""

MESSAGE_MAX_BYTES = 1_000_000
"""librdkafka's default for `message.max.bytes`."""

_DEFAULTS: Mapping[str, Value] = {
    # Java's choice of partition for a key, so that both kinds of producer agree; no key: any.
    "partitioner": "murmur2_random",
    # A lane waits for each batch: any linger is added to every batch.
    "linger.ms": 0,
    # Delivery is to go on within five seconds of the brokers' return: at most half a second
    # (plus jitter) between attempts, and none may hang longer than four.
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 500,
    "socket.connection.setup.timeout.ms": 4000,
    "socket.keepalive.enable": True,
    # What the producer knows of its topics' partitions, every so often.
    "statistics.interval.ms": 10_000,
}

_TRANSACTIONAL: Mapping[str, Value] = {
    # While the broker still finishes a transaction, the next one is refused and tried again.
    "retry.backoff.ms": 5,
    "retry.backoff.max.ms": 500,
}

ENDING = 5.0
"""Seconds beyond the delivery timeout after which the broker ends a transaction by itself."""

_TIMEOUT_NAMES = ("message.timeout.ms", "delivery.timeout.ms")
_OURS = {
    "bootstrap.servers": "give the addresses as bootstrap_servers",
    "metadata.broker.list": "give the addresses as bootstrap_servers",
    "delivery.report.only.error": "a job is completed by its delivery report",
    "enable.delivery.report": "a job is completed by its delivery report",
    "dr_cb": "a job is completed by its delivery report",
    "dr_msg_cb": "a job is completed by its delivery report",
    "on_delivery": "a job is completed by its delivery report",
    "transactional.id": "the sink names its transactions; to have some, set TRANSACTIONS=true",
    "enable.gapless.guarantee": "one refused message would end the whole producer",
    "default.topic.config": "give topic properties by their own names",
    "logger": "riverbridge logs by itself",
}
_CALLBACK = re.compile(r"(_cb|\.cb)$")
_SECRET_NAME = re.compile(r"password|secret|token|\.pem$|jaas|oauthbearer\.config|assertion", re.I)
_SECRET_TEXT = re.compile(
    r"((?!sasl_(?:plaintext|ssl)://)(?:sasl|oauthbearer|password|passwd|secret|token)[\w.]*\s*[=:]\s*)(\"[^\"]*\"|\S+)",
    re.I,
)
_ABOUT_ONE = re.compile(r"onfiguration (property|value)|supported in this build", re.I)
_OFF = {"false", "f", "0"}

silent = logging.getLogger("riverbridge.sinks.kafka.check")
silent.addHandler(logging.NullHandler())
silent.propagate = False


def secrets_of(config: Mapping[str, Value]) -> tuple[str, ...]:
    """The values in `config` that must appear in no text, longest first."""
    found = {str(v) for k, v in config.items() if _SECRET_NAME.search(k) and str(v)}
    return tuple(sorted(found, key=len, reverse=True))


def login_of(properties: Mapping[str, Value]) -> str:
    """The properties that say how a producer signs in, without secrets; "" if it does not.

    properties: those of `client_config`; of two names for one thing the first counts.
    """
    protocol = str(properties.get("security.protocol", "plaintext")).upper()
    if protocol == "PLAINTEXT":
        return ""
    shown = [f"security.protocol {protocol}"]
    if protocol.startswith("SASL"):
        for names in (("sasl.mechanism", "sasl.mechanisms"), ("sasl.username",)):
            shown += [f"{names[0]} {properties[name]}" for name in names if name in properties][:1]
    return ", ".join(shown)


def scrub(text: str, secrets: Iterable[str] = ()) -> str:
    """`text` in one line, without secrets, at most 1 KiB long."""
    for secret in secrets:
        text = text.replace(secret, "***")
    text = _SECRET_TEXT.sub(r"\1***", text)
    text = " ".join(text.replace("\0", "").split())
    raw = text.encode("utf-8", "replace")
    return (
        text if len(raw) <= TEXT_LIMIT else raw[: TEXT_LIMIT - 3].decode("utf-8", "ignore") + "..."
    )


def check_config(
    config: Mapping[str, Value],
    *,
    delivery_timeout: float = 10.0,
    msk_iam_region: str | None = None,
    transactions: bool = False,
) -> list[str]:
    """What is wrong with a sink's librdkafka properties: one line each, [] if nothing is.

    Needs no broker and connects to none. Unknown names and values out of range are librdkafka's
    own findings; each line names the property and never the value of a secret.
    delivery_timeout: seconds a message may wait for its answer; caps `message.timeout.ms`.
    """
    problems = _contradictions(config, delivery_timeout)
    problems += msk_problems(config, msk_iam_region)
    if not (math.isfinite(delivery_timeout) and 0.1 <= delivery_timeout <= 900):
        problems.append(f"delivery_timeout: {delivery_timeout} s; give 0.1 to 900 seconds")
        return problems
    refused = {p.split(":", 1)[0] for p in problems}
    rest = {k: v for k, v in config.items() if k not in refused}
    problems += _findings_of_librdkafka(rest, delivery_timeout, msk_iam_region, transactions)
    secrets = secrets_of(config)
    return [scrub(p, secrets) for p in problems]


def client_config(
    config: Mapping[str, Value],
    *,
    bootstrap_servers: str,
    client_id: str,
    delivery_timeout: float,
    msk_iam_region: str | None = None,
    transactions: bool = False,
) -> dict[str, Value]:
    """The properties a producer is made with: ours, then the user's, then what is not for sale."""
    merged: dict[str, Value] = {
        **_DEFAULTS,
        **(_TRANSACTIONAL if transactions else {}),
        "client.id": client_id,
        "message.timeout.ms": int(delivery_timeout * 1000),
        # A topic that does not exist is to be named as such before the message times out.
        "topic.metadata.propagation.max.ms": min(3000, int(delivery_timeout * 300)),
    }
    if transactions:
        merged["transaction.timeout.ms"] = int((delivery_timeout + ENDING) * 1000)
    if msk_iam_region is not None:
        merged |= {"security.protocol": "SASL_SSL", "sasl.mechanisms": "OAUTHBEARER"}
    merged |= config
    merged |= {"acks": "all", "enable.idempotence": True}
    if bootstrap_servers:
        merged["bootstrap.servers"] = bootstrap_servers
    return {k: str(v).lower() if isinstance(v, bool) else v for k, v in merged.items()}


def msk_token_source(region: str) -> Callable[[str], tuple[str, float]]:
    """An OAUTHBEARER callback that signs a token with AWS credentials for MSK's IAM.

    Raises ImportError, saying what to install, if the signer is not there.
    """
    try:
        from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
    except ImportError as missing:
        raise ImportError(_NO_SIGNER) from missing

    def token(_config: str) -> tuple[str, float]:
        value, expires_ms = MSKAuthTokenProvider.generate_auth_token(region)
        return value, expires_ms / 1000

    return token


_NO_SIGNER = (
    "msk_iam_region: AWS MSK with IAM needs a package that is not installed: "
    "pip install riverbridge[msk]"
)


def _contradictions(config: Mapping[str, object], delivery_timeout: float) -> list[str]:
    found: list[str] = []
    for name, value in config.items():
        text = str(value).strip().lower()
        if name in _OURS:
            found.append(f"{name}: cannot be set: {_OURS[name]}")
        elif _CALLBACK.search(name):
            found.append(f"{name}: cannot be set: callbacks are the sink's own")
        elif not isinstance(value, str | int | float):
            found.append(f"{name}: a {type(value).__name__}; give text, a number or true/false")
        elif name in ("acks", "request.required.acks") and text not in ("all", "-1"):
            found.append(f"{name}: {text}; only `all` is an acknowledgement that survives a broker")
        elif name == "enable.idempotence" and text in _OFF:
            found.append(f"{name}: false; a repeat inside the client would be a second message")
        elif name in _TIMEOUT_NAMES and not _timeout_fits(text, delivery_timeout):
            limit = int(delivery_timeout * 1000)
            found.append(
                f"{name}: {text}; give 1 to {limit}: no message may outlive the delivery "
                f"timeout of {delivery_timeout:g} s"
            )
    return found


def _timeout_fits(text: str, delivery_timeout: float) -> bool:
    try:
        return 0 < int(text) <= delivery_timeout * 1000
    except ValueError:
        return False


def msk_problems(config: Mapping[str, Value], region: str | None) -> list[str]:
    """What contradicts signing in to MSK in `region`, a line each."""
    if region is None:
        return []
    found = []
    for name in ("sasl.mechanism", "sasl.mechanisms"):
        if str(config.get(name, "OAUTHBEARER")).upper() != "OAUTHBEARER":
            found.append(f"{name}: must be OAUTHBEARER with msk_iam_region")
    if str(config.get("security.protocol", "SASL_SSL")).upper() != "SASL_SSL":
        found.append("security.protocol: must be SASL_SSL with msk_iam_region")
    found += [
        f"{name}: does not go together with msk_iam_region"
        for name in ("sasl.username", "sasl.password", "sasl.oauthbearer.method")
        if name in config
    ]
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d+", region):
        found.append("msk_iam_region: not a region's name; give one like eu-west-1")
    if find_spec("aws_msk_iam_sasl_signer") is None:
        found.append(_NO_SIGNER)
    return found


def _findings_of_librdkafka(
    config: Mapping[str, Value],
    delivery_timeout: float,
    msk_iam_region: str | None,
    transactions: bool,
) -> list[str]:
    """What librdkafka objects to: in each property by itself, then in all of them together.

    A producer that knows no broker connects to none. One at a time, since librdkafka stops at the
    first and calls a property by another of its names.
    """
    found: list[str] = []
    good: dict[str, Value] = {}
    for name, value in config.items():
        text = _refusal({name: value})
        if text is not None and _ABOUT_ONE.search(text):
            found.append(f"{name}: {text}")
        else:
            good[name] = value
    merged = client_config(
        good,
        bootstrap_servers="",
        client_id="riverbridge-check",
        delivery_timeout=delivery_timeout,
        msk_iam_region=msk_iam_region,
        transactions=transactions,
    )
    text = _refusal(merged | ({"transactional.id": "riverbridge-check"} if transactions else {}))
    return found if text is None else [*found, f"config: {text}"]


def _refusal(properties: Mapping[str, Value]) -> str | None:
    strings = {k: str(v).lower() if isinstance(v, bool) else v for k, v in properties.items()}
    try:
        Producer({"log_level": 0, **strings}, logger=silent)
    except KafkaException as refused:
        return str(refused.args[0].str())
    except (TypeError, ValueError) as refused:
        return str(refused)
    return None
