"""librdkafka's mock cluster, driven through ctypes: a broker that fails on command.

The library inside the confluent-kafka wheel exports these functions for tests, without a promise
that they stay; `library()` says what is missing if they go. It has no CreateTopics request (use
`create_topic`), and a read_committed consumer sees aborted records.
"""

from __future__ import annotations

import ctypes
import sys
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

import confluent_kafka

from riverbridge.errors import PartMissing, ServerFailed

# Kafka's own numbers, for push_errors.
PRODUCE, FETCH, METADATA, ADD_PARTITIONS_TO_TXN, INIT_PRODUCER_ID, END_TXN = 0, 1, 3, 24, 22, 26
CONNECTION_LOST = -195  # librdkafka's own: the mock broker drops the connection

_VOID, _INT, _TEXT = ctypes.c_void_p, ctypes.c_int, ctypes.c_char_p
_SIGNATURES: dict[str, tuple[type | None, list[type]]] = {
    "rd_kafka_conf_new": (_VOID, []),
    "rd_kafka_conf_set": (_INT, [_VOID, _TEXT, _TEXT, _TEXT, ctypes.c_size_t]),
    "rd_kafka_new": (_VOID, [_INT, _VOID, _TEXT, ctypes.c_size_t]),
    "rd_kafka_destroy": (None, [_VOID]),
    "rd_kafka_version_str": (_TEXT, []),
    "rd_kafka_mock_cluster_new": (_VOID, [_VOID, _INT]),
    "rd_kafka_mock_cluster_destroy": (None, [_VOID]),
    "rd_kafka_mock_cluster_bootstraps": (_TEXT, [_VOID]),
    "rd_kafka_mock_topic_create": (_INT, [_VOID, _TEXT, _INT, _INT]),
    "rd_kafka_mock_topic_set_error": (None, [_VOID, _TEXT, _INT]),
    "rd_kafka_mock_push_request_errors_array": (
        None,
        [_VOID, ctypes.c_int16, ctypes.c_size_t, ctypes.POINTER(_INT)],
    ),
    "rd_kafka_mock_clear_request_errors": (None, [_VOID, ctypes.c_int16]),
    "rd_kafka_mock_partition_set_leader": (_INT, [_VOID, _TEXT, ctypes.c_int32, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_down": (_INT, [_VOID, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_up": (_INT, [_VOID, ctypes.c_int32]),
    "rd_kafka_mock_broker_set_rtt": (_INT, [_VOID, ctypes.c_int32, _INT]),
}


@cache
def library() -> ctypes.CDLL:
    """librdkafka with the signatures declared. Raises PartMissing if it cannot serve."""
    package = Path(confluent_kafka.__file__).parent
    places = [package.parent / "confluent_kafka.libs", package / ".dylibs"]
    found = [path for place in places for path in sorted(place.glob("librdkafka*"))]
    version = confluent_kafka.libversion()[0]
    if not found:
        raise PartMissing(
            f"the mock cluster needs librdkafka from the confluent-kafka wheel; {version} "
            f"on {sys.platform} does not bring it. To get it: pip install confluent-kafka"
        )
    loaded = ctypes.CDLL(str(found[0]))
    for name, (result, arguments) in _SIGNATURES.items():
        try:
            function = getattr(loaded, name)
        except AttributeError as error:
            raise PartMissing(f"librdkafka {version} has no {name} any more") from error
        function.restype, function.argtypes = result, arguments
    return loaded


class MockKafka:
    """A mock cluster of `brokers` brokers in this process; other processes can connect too.

    Errors pushed stay until a matching request takes them: use a fresh cluster for each test.
    """

    flavour = "rdkafka-mock"

    def __init__(self, brokers: int = 3) -> None:
        self._lib = library()
        self.brokers = brokers
        self.version = confluent_kafka.libversion()[0]
        message = ctypes.create_string_buffer(512)
        conf = self._lib.rd_kafka_conf_new()
        self._lib.rd_kafka_conf_set(conf, b"log_level", b"0", message, 512)
        # The handle (a producer, type 0) only hosts the cluster; it owns the conf from here.
        self._handle = self._lib.rd_kafka_new(0, conf, message, 512)
        if not self._handle:
            raise ServerFailed(f"librdkafka gave no handle: {message.value.decode()}")
        self._cluster = self._lib.rd_kafka_mock_cluster_new(self._handle, brokers)
        if not self._cluster:
            self._lib.rd_kafka_destroy(self._handle)
            raise ServerFailed("librdkafka gave no mock cluster")
        self.bootstrap_servers: str = self._lib.rd_kafka_mock_cluster_bootstraps(
            self._cluster
        ).decode()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the cluster. Harmless when it is closed."""
        if self._cluster:
            self._lib.rd_kafka_mock_cluster_destroy(self._cluster)
            self._lib.rd_kafka_destroy(self._handle)
            self._cluster = self._handle = None

    def create_topic(self, name: str, partitions: int = 1) -> None:
        self._check(
            self._lib.rd_kafka_mock_topic_create(
                self._open(), name.encode(), partitions, self.brokers
            ),
            f"topic {name!r} was not created",
        )

    def push_errors(self, api_key: int, *codes: int) -> None:
        """Answer the next requests of `api_key` with these codes, one each; 0 is success.

        Codes are Kafka's; CONNECTION_LOST drops the connection instead.
        """
        array = (_INT * len(codes))(*codes)
        self._lib.rd_kafka_mock_push_request_errors_array(self._open(), api_key, len(codes), array)

    def clear_errors(self, api_key: int) -> None:
        """Forget the errors pushed for `api_key` that no request has taken yet."""
        self._lib.rd_kafka_mock_clear_request_errors(self._open(), api_key)

    def set_topic_error(self, name: str, code: int) -> None:
        """Answer everything about topic `name` with `code`; 0 ends it."""
        self._lib.rd_kafka_mock_topic_set_error(self._open(), name.encode(), code)

    def set_leader(self, topic: str, partition: int, broker: int) -> None:
        self._check(
            self._lib.rd_kafka_mock_partition_set_leader(
                self._open(), topic.encode(), partition, broker
            ),
            f"broker {broker} does not lead {topic}[{partition}]",
        )

    def set_broker_down(self, broker: int | None = None) -> None:
        """Close broker `broker` (numbered from 1), or all of them."""
        self._each(broker, self._lib.rd_kafka_mock_broker_set_down)

    def set_broker_up(self, broker: int | None = None) -> None:
        self._each(broker, self._lib.rd_kafka_mock_broker_set_up)

    def set_rtt(self, milliseconds: int, broker: int | None = None) -> None:
        """Answer every request `milliseconds` late."""
        self._each(broker, self._lib.rd_kafka_mock_broker_set_rtt, milliseconds)

    def _each(self, broker: int | None, function: ctypes._NamedFuncPointer, *extra: int) -> None:
        for number in range(1, self.brokers + 1) if broker is None else (broker,):
            self._check(function(self._open(), number, *extra), f"broker {number}: no such")

    def _open(self) -> int:
        if not self._cluster:
            raise ServerFailed("this mock cluster is closed")
        return int(self._cluster)

    def _check(self, code: int, what: str) -> None:
        if code != 0:
            raise ServerFailed(f"{what}: librdkafka error {code}")
