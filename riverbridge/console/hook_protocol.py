"""Connections from anybody: how many, how slow and how much at once.

uvicorn and h11 bound a request's head (16 KiB) and an idle connection between two requests. What
they leave open is bounded here, on the protocol's public methods: how many connections there are,
how long a request may take to come in, and how much of it is read at a time.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, ClassVar

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

# Anybody can send what is no HTTP, and it must not fill the log: a line each is uvicorn's warning.
_log = logging.getLogger(__name__)
_log.setLevel(logging.ERROR)

READ = 16 << 10
"""Bytes read from a connection at a time. asyncio's own 256 KiB, times all connections, would be
what a process has to have."""
BETWEEN = 10.0
"""Seconds without a byte, in the midst of a request, after which it is given up."""

_COMING = (h11.IDLE, h11.SEND_BODY)
"""States of a sender whose request is not complete."""


def _plain(status: bytes, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 %s\r\ncontent-length: 0\r\nconnection: close\r\n%s\r\n" % (status, more)


LATE = _plain(b"408 Request Timeout")
FULL = _plain(b"503 Service Unavailable", b"retry-after: 5\r\n")


class HookProtocol(H11Protocol):
    """Make a subclass with other limits.

    limit: connections at once. total, between: seconds that a request may take to come in, head and
    body, and that may pass without a byte of it.
    """

    limit: ClassVar[int] = 10_000
    total: ClassVar[float] = 30.0
    between: ClassVar[float] = BETWEEN

    _began = _last = 0.0
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        self.logger = _log
        super().connection_made(transport)
        if len(self.connections) > self.limit:
            transport.write(FULL)
            transport.close()
            return
        transport.max_size = READ
        self._watch()

    def data_received(self, data: bytes) -> None:
        self._last = self.loop.time()
        super().data_received(data)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self.transport.is_closing():
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connection_lost(exc)

    def _watch(self) -> None:
        """A request may begin from here on."""
        self._began = self._last = self.loop.time()
        if self._timer is None:
            self._arm()

    def _due(self) -> float:
        return min(self._last + self.between, self._began + self.total)

    def _arm(self) -> None:
        self._timer = self.loop.call_at(self._due(), self._look)

    def _look(self) -> None:
        """Give up a request that is late; a complete one, which is being answered, is not."""
        self._timer = None
        if self.transport.is_closing() or self.conn.their_state not in _COMING:
            return
        if self.loop.time() < self._due():
            self._arm()
            return
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(LATE)
        self.transport.close()
