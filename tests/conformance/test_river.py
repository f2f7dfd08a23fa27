"""The River sink does what every sink has to do, with a Postgres of its own behind a proxy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar

import psycopg
import pytest
from msgspec.json import decode, encode
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from riverbridge.embedded.postgres import Postgres
from riverbridge.model.outcome import Delivered, Permanent
from riverbridge.sinks.base import Sink
from riverbridge.sinks.river import RiverSink
from riverbridge.testing.conformance import TEXTS, SinkConformance
from riverbridge.testing.harness import Capability, Received, SinkHarness
from riverbridge.testing.proxy import Proxy
from riverbridge.testing.trial import Trial
from tests.support.database import migrate
from tests.support.parts import part

pytestmark = pytest.mark.postgres

SECRETS = ("s3cret-of-the-suite", "wr0ng-in-the-suite")


class RiverHarness(SinkHarness):
    """The tables of a River that nobody works."""

    destination = "conformance"
    deduplicates = True
    lacks: ClassVar[Mapping[Capability, str]] = {
        "any bytes": "args are a JSON object",
        "tombstones": "args are a JSON object",
        "size limit": "a jsonb takes 256 MiB, which is more than a test should send",
    }
    secrets = SECRETS

    def __init__(self, server: Postgres, proxy: Proxy) -> None:
        self.proxy = proxy
        self._dsn = server.dsn()
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute("TRUNCATE river_job")

    def open(self, delivery_timeout: float) -> Sink:
        return self._sink(delivery_timeout)

    def _sink(
        self, delivery_timeout: float, password: str = SECRETS[0], schema: str | None = None
    ) -> Sink:
        assert self.proxy is not None
        dsn = make_conninfo(self._dsn, host="127.0.0.1", port=self.proxy.port, password=password)
        return RiverSink(database_url=dsn, schema=schema, delivery_timeout=delivery_timeout)

    def received(self) -> Sequence[Received]:
        with psycopg.connect(self._dsn) as connection:
            rows = connection.execute("SELECT args, metadata FROM river_job ORDER BY id").fetchall()
        return [_received(args, metadata) for args, metadata in rows]

    def open_with_wrong_secret(self, delivery_timeout: float) -> Sink:
        return self._sink(delivery_timeout, password=SECRETS[1])

    def misdirected(self, delivery_timeout: float) -> tuple[Sink, str]:
        return self._sink(delivery_timeout, schema="missing"), self.destination


def _received(args: object, metadata: dict[str, object]) -> Received:
    headers = [("ce_id", str(metadata["event_id"]))]
    further = metadata.get("headers", {})
    assert isinstance(further, dict)
    for name, given in further.items():
        headers += [(name, value) for value in ([given] if isinstance(given, str) else given)]
    key = str(metadata["event_key"])
    return Received(str(metadata["event_id"]), encode(args), key, tuple(headers))


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with part("postgres"):
        server = Postgres(fsync=False, password=SECRETS[0])
    with server:
        migrate(server.dsn())
        yield server


class TestRiver(SinkConformance):
    @pytest.fixture
    def harness(self, server: Postgres) -> Iterator[SinkHarness]:
        target = conninfo_to_dict(server.dsn())
        with Proxy(int(target["port"] or 0), str(target["host"])) as proxy:
            yield RiverHarness(server, proxy)

    def test_text_arrives_byte_for_byte(self, trial: Trial) -> None:
        """Postgres takes args apart: JSON objects arrive as what they say, without NULs."""
        sink, sent = trial.open(), trial.messages(len(TEXTS))
        for message, body in zip(sent, TEXTS, strict=True):
            sendable = type(message)(message.id, body, message.destination, message.key)
            [outcome] = trial.deliver(sink, [sendable])
            if body.startswith(b"{") and rb"\u0000" not in body:
                assert outcome == Delivered()
                [got] = [one for one in trial.came({message.id}) if one.id == message.id]
                assert decode(got.body or b"") == decode(body)
            else:
                assert isinstance(outcome, Permanent), outcome
                assert message.id not in ids_of(trial)


def ids_of(trial: Trial) -> set[str]:
    return {one.id for one in trial.harness.received()}
