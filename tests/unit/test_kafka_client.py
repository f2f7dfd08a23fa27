from __future__ import annotations

from confluent_kafka import KafkaError

from riverbridge.sinks.kafka_client import Health

VERIFY = "error:0A000086:SSL routines::certificate verify failed"


def told(*errors: KafkaError) -> Health:
    health = Health(())
    for error in errors:
        health.error(error)
    return health


def test_a_refused_certificate_is_a_fault_whatever_code_tells_it() -> None:
    for code in (KafkaError._SSL, KafkaError._TRANSPORT):
        fault = told(KafkaError(code, f"ssl://localhost:9093: {VERIFY}")).fault
        assert fault is not None
        assert "ssl.ca.location" in fault
        assert "host name" in fault


def test_a_fault_ends_with_another_error_or_an_acknowledgement() -> None:
    refused = KafkaError(KafkaError._SSL, VERIFY)
    assert told(refused, KafkaError(KafkaError._TRANSPORT, "Connection refused")).fault is None
    assert told(refused, KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 down")).fault is not None
    health = told(refused)
    health.answered_at = float("inf")
    assert health.fault is None
