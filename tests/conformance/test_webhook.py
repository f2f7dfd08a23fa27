"""The webhook sink does what every sink has to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar
from urllib.parse import unquote

import pytest

from riverbridge.sinks.base import Sink
from riverbridge.sinks.webhook import WebhookSink
from riverbridge.testing.conformance import SinkConformance
from riverbridge.testing.harness import Capability, Received, SinkHarness
from riverbridge.testing.proxy import Proxy
from tests.bridge.webhook_server import Got, Receiver, says

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WRONG = "whsec_" + "d3JvbmdpbnRoZXN1aXRl" * 2
LIMIT = 20_000


class WebhookHarness(SinkHarness):
    """A receiver with a limit for bodies, behind a proxy."""

    lacks: ClassVar[Mapping[Capability, str]] = {
        "order": "requests of one call are under way at once",
        "keys": "an HTTP request has no place for the route's key",
        "repeated headers": "of equal names the last one counts, and names are ASCII",
        "tombstones": "a request always has a body, if only an empty one",
    }
    secrets = (SECRET, WRONG)

    def __init__(self, receiver: Receiver, proxy: Proxy) -> None:
        self.proxy = proxy
        self._receiver = receiver
        self.destination = f"http://127.0.0.1:{proxy.port}/hook"

    def open(self, delivery_timeout: float) -> Sink:
        return self._sink(delivery_timeout, SECRET)

    def _sink(self, delivery_timeout: float, secret: str) -> Sink:
        return WebhookSink(
            url=self.destination,
            secrets=[secret],
            delivery_timeout=delivery_timeout,
            allow_private=True,
        )

    def received(self) -> Sequence[Received]:
        return [_received(got) for got in list(self._receiver.got)]

    def open_with_wrong_secret(self, delivery_timeout: float) -> Sink:
        self._receiver.always = says(401, f"not signed as with {WRONG}".encode())
        return self._sink(delivery_timeout, WRONG)

    def misdirected(self, delivery_timeout: float) -> tuple[Sink, str]:
        self._receiver.always = says(404)
        return self.open(delivery_timeout), self.destination.replace("hook", "elsewhere")

    def too_large(self) -> bytes:
        return b"x" * (LIMIT + 1)


def _received(got: Got) -> Received:
    headers = {
        name.replace("ce-", "ce_"): unquote(text.encode("latin-1").decode())
        for name, text in got.headers.items()
        if name.startswith(("ce-", "x-", "h-"))
    }
    return Received(headers["ce_id"], got.body, None, tuple(headers.items()))


class TestWebhook(SinkConformance):
    @pytest.fixture
    def harness(self) -> Iterator[SinkHarness]:
        receiver = Receiver(limit=LIMIT)
        with Proxy(receiver.port) as proxy:
            yield WebhookHarness(receiver, proxy)
        receiver.close()
