"""librdkafka's mock cluster, whose faults are set from the test."""

from __future__ import annotations

import ctypes
from pathlib import Path

import confluent_kafka

PRODUCE, INIT_PRODUCER_ID = 0, 22
_PRODUCER = 0


def _load() -> ctypes.CDLL:
    root = Path(confluent_kafka.__file__).parent
    places = (root.parent / "confluent_kafka.libs", root / ".dylibs")
    found = [f for p in places if p.is_dir() for f in sorted(p.glob("librdkafka*"))]
    if not found:
        raise FileNotFoundError(f"no librdkafka beside {root}")
    lib = ctypes.CDLL(str(found[0]))
    lib.rd_kafka_new.restype = ctypes.c_void_p
    lib.rd_kafka_new.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t]
    lib.rd_kafka_mock_cluster_new.restype = ctypes.c_void_p
    lib.rd_kafka_mock_cluster_new.argtypes = [ctypes.c_void_p, ctypes.c_int]
    lib.rd_kafka_mock_cluster_bootstraps.restype = ctypes.c_char_p
    return lib


class KafkaMock:
    """A cluster on loopback, in this process. `close` ends it."""

    def __init__(self, brokers: int = 3) -> None:
        self._lib = _load()
        error = ctypes.create_string_buffer(512)
        self._rk = ctypes.c_void_p(self._lib.rd_kafka_new(_PRODUCER, None, error, 512))
        self._mc = ctypes.c_void_p(self._lib.rd_kafka_mock_cluster_new(self._rk, brokers))
        assert self._rk.value, error.value
        assert self._mc.value
        self.brokers = range(1, brokers + 1)
        self.bootstrap: str = self._lib.rd_kafka_mock_cluster_bootstraps(self._mc).decode()

    def create(self, topic: str, partitions: int = 4, replicas: int = 1) -> None:
        made = self._lib.rd_kafka_mock_topic_create(self._mc, topic.encode(), partitions, replicas)
        assert made == 0

    def topic_error(self, topic: str, code: int) -> None:
        self._lib.rd_kafka_mock_topic_set_error(self._mc, topic.encode(), code)

    def push(self, api: int, *codes: int) -> None:
        """The next requests of this kind are answered with these errors, one each."""
        self._lib.rd_kafka_mock_push_request_errors_array(
            self._mc,
            ctypes.c_int16(api),
            ctypes.c_size_t(len(codes)),
            (ctypes.c_int * len(codes))(*codes),
        )

    def clear(self, api: int) -> None:
        self._lib.rd_kafka_mock_clear_request_errors(self._mc, ctypes.c_int16(api))

    def lead(self, topic: str, partition: int, broker: int) -> None:
        self._lib.rd_kafka_mock_partition_set_leader(self._mc, topic.encode(), partition, broker)

    def down(self, *brokers: int) -> None:
        for broker in brokers or self.brokers:
            self._lib.rd_kafka_mock_broker_set_down(self._mc, broker)

    def up(self, *brokers: int) -> None:
        for broker in brokers or self.brokers:
            self._lib.rd_kafka_mock_broker_set_up(self._mc, broker)

    def rtt(self, milliseconds: int) -> None:
        for broker in self.brokers:
            self._lib.rd_kafka_mock_broker_set_rtt(self._mc, broker, milliseconds)

    def close(self) -> None:
        self._lib.rd_kafka_mock_cluster_destroy(self._mc)
        self._lib.rd_kafka_destroy(self._rk)
