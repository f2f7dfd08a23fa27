"""Which librdkafka properties a Kafka source runs with, and which it refuses.

What a sink and a source have in common, such as how they sign in, is in
`riverbridge.sinks.kafka_config`.
"""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException

from riverbridge.sinks.kafka_config import Value, msk_problems, scrub, secrets_of, silent

_DEFAULTS: Mapping[str, Value] = {
    # What is fetched ahead is memory: half a batch of the largest kind.
    "queued.max.messages.kbytes": 16384,
    "queued.min.messages": 20_000,
    "check.crcs": True,
    # Until others take over from a process that is gone. That it may only seem so does no harm.
    "session.timeout.ms": 15_000,
    "heartbeat.interval.ms": 2000,
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 500,
    "socket.connection.setup.timeout.ms": 4000,
    "socket.keepalive.enable": True,
}
_FIXED: Mapping[str, Value] = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    # A position that is not there any more must not become another one without a word.
    "auto.offset.reset": "error",
    "partition.assignment.strategy": "cooperative-sticky",
    "enable.partition.eof": False,
}
_OURS = {
    "bootstrap.servers": "give the addresses as bootstrap_servers",
    "metadata.broker.list": "give the addresses as bootstrap_servers",
    "group.id": "give it as group",
    "auto.offset.reset": "say where to begin with start, and what to do at a gap with on_gap",
    "enable.auto.commit": "the position is stored with the jobs",
    "enable.auto.offset.store": "the position is stored with the jobs",
    "partition.assignment.strategy": "partitions move one by one, cooperatively",
    "enable.partition.eof": "the end of a partition is no event",
    "logger": "riverbridge logs by itself",
}


def check_config(config: Mapping[str, Value], *, msk_iam_region: str | None = None) -> list[str]:
    """What is wrong with a source's librdkafka properties: one line each, [] if nothing is.

    Needs no broker and connects to none; no line holds the value of a secret.
    """
    problems = [f"{name}: cannot be set: {_OURS[name]}" for name in config if name in _OURS]
    problems += [
        f"{name}: cannot be set: callbacks are the source's own"
        for name in config
        if name.endswith(("_cb", ".cb"))
    ]
    problems += msk_problems(config, msk_iam_region)
    refused = {problem.split(":", 1)[0] for problem in problems}
    rest = {name: value for name, value in config.items() if name not in refused}
    properties = consumer_config(
        rest,
        bootstrap_servers="",
        client_id="riverbridge-check",
        group="riverbridge-check",
        msk_iam_region=msk_iam_region,
    )
    try:
        Consumer({"log_level": 0, **properties}, logger=silent).close()
    except KafkaException as refusal:
        problems.append(f"config: {refusal.args[0].str()}")
    except (TypeError, ValueError) as refusal:
        problems.append(f"config: {refusal}")
    secrets = secrets_of(config)
    return [scrub(problem, secrets) for problem in problems]


def consumer_config(
    config: Mapping[str, Value],
    *,
    bootstrap_servers: str,
    client_id: str,
    group: str,
    msk_iam_region: str | None = None,
) -> dict[str, Value]:
    """The properties a consumer is made with: ours, then the user's, then what is not for sale."""
    merged: dict[str, Value] = {**_DEFAULTS, "client.id": client_id, "group.id": group}
    if msk_iam_region is not None:
        merged |= {"security.protocol": "SASL_SSL", "sasl.mechanisms": "OAUTHBEARER"}
    if "session.timeout.ms" in config:
        text = str(config["session.timeout.ms"])  # librdkafka says what is wrong with it
        merged["heartbeat.interval.ms"] = max(1, int(text) // 3) if text.isdecimal() else 1000
    merged |= config
    merged |= _FIXED
    if bootstrap_servers:
        merged["bootstrap.servers"] = bootstrap_servers
    return {k: str(v).lower() if isinstance(v, bool) else v for k, v in merged.items()}
