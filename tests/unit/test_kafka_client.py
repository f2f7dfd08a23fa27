from __future__ import annotations

import pytest
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


@pytest.mark.parametrize(
    ("says", "fault"),
    [
        ("0A00042E:SSL routines::tlsv1 alert protocol version", "no TLS of version 1.2 or later"),
        ("0A000102:SSL routines::unsupported protocol", "no TLS of version 1.2 or later"),
        ("0A000410:SSL routines::sslv3 alert handshake failure", "handshake failure"),
        ("0A000126:SSL routines::unexpected eof while reading", None),
    ],
)
def test_no_tls_is_a_fault_but_for_a_connection_that_ended(says: str, fault: str | None) -> None:
    found = told(KafkaError(KafkaError._TRANSPORT, f"ssl://localhost:9093: error:{says}")).fault
    assert (found is None) if fault is None else (found is not None and fault in found)


def test_a_fault_ends_with_another_error_or_an_acknowledgement() -> None:
    refused = KafkaError(KafkaError._SSL, VERIFY)
    assert told(refused, KafkaError(KafkaError._TRANSPORT, "Connection refused")).fault is None
    assert told(refused, KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 down")).fault is not None
    health = told(refused)
    health.answered_at = float("inf")
    assert health.fault is None
