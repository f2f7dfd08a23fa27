"""One request and its answer over a kept connection, with limits on everything a receiver sends.

Proxies of the environment are not used, and redirects are answers like any other.
"""

from __future__ import annotations

import http.client
import io
import socket
import ssl
import time
from typing import Any, cast

import msgspec

from riverbridge.errors import ConfigurationError
from riverbridge.sinks.kept_connection import Lost, NotSent, Refused, no_tls, readable, reason
from riverbridge.sinks.webhook_address import Forbidden, Resolved, resolve
from riverbridge.sinks.webhook_message import Origin

CONNECT_TIMEOUT = 5.0
"""Seconds for one address, TLS included."""
MAX_IDLE = 30.0
"""Seconds; a connection that lay idle for longer is not used again."""
MAX_HEAD = 64 * 1024
MAX_INTERIM = 10
MAX_BODY = 64 * 1024
"""Bytes of an answer that are read. A connection whose answer has more is closed."""
BODY_TIME = 1.0
"""Seconds an answer's body is read for: what it says is for people, the status has decided."""


class _Stale(Exception):
    """The receiver had closed the kept connection by the time the request was sent."""


class Answer(msgspec.Struct, frozen=True):
    """An HTTP answer; `headers` has lower-case names, `body` what was read of it."""

    status: int
    headers: dict[str, str]
    body: bytes


class Connection:
    """A kept connection to `origin`, for one thread; only `abort` may be called by another.

    private: whether it may go to private addresses.
    """

    def __init__(self, origin: Origin, context: ssl.SSLContext | None, *, private: bool) -> None:
        self._origin = origin
        self._context = context
        self._private = private
        self._sock: socket.socket | None = None
        self._used = 0.0
        self._aborted = False
        self.sent = False
        """Whether something of the last request was sent."""

    def post(self, request: bytes, deadline: float) -> Answer:
        """The answer to `request`, head and body. Raises NotSent, Refused or Lost."""
        self.sent = False
        if self._keep():
            try:
                return self._exchange(request, deadline, kept=True)
            except _Stale:
                # The id tells the receiver that it is the same one, should it have it after all.
                self.sent = False
        self._open(deadline)
        return self._exchange(request, deadline, kept=False)

    def abort(self) -> None:
        """End the request in the other thread, and let it begin no other."""
        self._aborted = True
        sock = self._sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def close(self) -> None:
        """Close the connection; the next request makes another."""
        sock, self._sock = self._sock, None
        if sock is not None:
            sock.close()

    def _keep(self) -> bool:
        """Whether there is a connection that can still be used."""
        if self._sock is None:
            return False
        if time.monotonic() - self._used > MAX_IDLE or readable(self._sock):
            self.close()
        return self._sock is not None

    def _open(self, deadline: float) -> None:
        origin = self._origin
        try:
            addresses = resolve(origin.host, origin.port, private=self._private)
        except Forbidden as error:
            raise Refused(str(error)) from error
        except (OSError, UnicodeError) as error:
            raise NotSent(f"no address for {origin.host}: {reason(error)}") from error
        for left, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            now = time.monotonic()
            if self._aborted or now >= deadline:
                raise NotSent("no time left to connect")
            try:
                self._connect(address, min(CONNECT_TIMEOUT, (deadline - now) / left))
                return
            except OSError as error:
                self.close()
                if why := no_tls(error):
                    raise Refused(why) from error
                if left == 1:
                    raise NotSent(f"{origin.authority}: {reason(error)}") from error

    def _connect(self, address: Resolved, seconds: float) -> None:
        family, where = address
        begun = time.monotonic()
        sock = self._sock = socket.socket(family, socket.SOCK_STREAM)
        sock.settimeout(seconds)
        sock.connect(where)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is not None:
            # The certificate is the name's, the address the one that was checked.
            secured = self._context.wrap_socket(
                sock, server_hostname=self._origin.host, do_handshake_on_connect=False
            )
            self._sock = secured
            secured.settimeout(max(begun + seconds - time.monotonic(), 0.001))
            secured.do_handshake()

    def _exchange(self, request: bytes, deadline: float, *, kept: bool) -> Answer:
        assert self._sock is not None
        incoming = _Incoming(self._sock, deadline)
        try:
            self._send(request, deadline)
            response = incoming.head()
        except (OSError, http.client.HTTPException, ValueError) as error:
            self.close()
            gone = isinstance(error, ConnectionError | ssl.SSLEOFError | ssl.SSLZeroReturnError)
            if kept and gone and not incoming.size and not self._aborted:
                raise _Stale from error
            raise Lost(reason(error)) from error
        headers = {name.lower(): value for name, value in reversed(response.getheaders())}
        body, whole = incoming.body(response)
        if not whole or response.will_close:
            self.close()
        self._used = time.monotonic()
        return Answer(response.status, headers, body)

    def _send(self, request: bytes, deadline: float) -> None:
        assert self._sock is not None
        self._sock.settimeout(max(deadline - time.monotonic(), 0.001))
        self.sent = True
        try:
            self._sock.sendall(request)
        except (BrokenPipeError, ConnectionResetError):
            # A receiver may refuse a message before it has read it all: its answer counts.
            if not readable(self._sock):
                raise


class _Incoming(io.RawIOBase):
    """What comes in for one request, up to a deadline and a number of bytes."""

    def __init__(self, sock: socket.socket, deadline: float) -> None:
        self._sock = sock
        self._deadline = deadline
        self._limit = MAX_HEAD
        self._in_head = True
        self._reader = io.BufferedReader(self)
        self.size = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        if self.size >= self._limit:
            raise http.client.HTTPException(f"an answer whose head is above {MAX_HEAD} bytes")
        self._sock.settimeout(left)
        size = self._sock.recv_into(memoryview(buffer)[: self._limit - self.size])
        if not size and self.size and self._in_head:
            # http.client would take what it has for all of it.
            raise ConnectionError("the answer's head was cut off")
        self.size += size
        return size

    def makefile(self, mode: str) -> io.BufferedReader[_Incoming]:
        """As a socket has it: all that `http.client` asks of one."""
        return self._reader

    def head(self) -> http.client.HTTPResponse:
        """The final answer's head; interim ones (1xx) are passed over."""
        passed: list[http.client.HTTPResponse] = []  # one that is dropped closes the reader
        while len(passed) <= MAX_INTERIM:
            response = http.client.HTTPResponse(cast(socket.socket, self), method="POST")
            response.begin()
            if response.status >= 200:
                return response
            passed.append(response)
        raise http.client.HTTPException(f"more than {MAX_INTERIM} interim answers (1xx)")

    def body(self, response: http.client.HTTPResponse) -> tuple[bytes, bool]:
        """What could be read of the body, and whether that was all of it."""
        self._in_head = False
        self._deadline = min(self._deadline, time.monotonic() + BODY_TIME)
        self._limit = self.size + 2 * MAX_BODY
        data = bytearray()
        try:
            while len(data) <= MAX_BODY:
                piece = response.read1(MAX_BODY)
                if not piece:
                    return bytes(data), not response.length
                data += piece
        except (OSError, http.client.HTTPException, ValueError):
            pass
        return bytes(data[:MAX_BODY]), False


def tls_context(ca_file: str | None) -> ssl.SSLContext:
    """Certificates by the system's authorities, or those of `ca_file`; TLS 1.2 or later."""
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"webhook: {ca_file} cannot be read as PEM: {error}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
