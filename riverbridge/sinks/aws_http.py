"""Requests to an AWS service over kept connections.

boto3 spends about a millisecond of Python on a call; this, with `aws_signer`, spends a quarter.
`ssl` checks certificates. Proxies of the environment are not used, and redirects are answers like
any other, never followed.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from urllib.parse import urlsplit

import msgspec

from riverbridge.errors import ConfigurationError
from riverbridge.sinks.kept_connection import Lost, NotSent, Refused, no_tls, readable, reason

CONNECT_TIMEOUT = 3.0
MAX_IDLE = 15.0
"""Seconds; AWS's front ends drop idle connections, later than this."""
MAX_ANSWER = 4 * 1024 * 1024


class Answer(msgspec.Struct, frozen=True):
    """A whole HTTP answer."""

    status: int
    body: bytes
    query_error: str | None


class Endpoint(msgspec.Struct, frozen=True):
    """Where requests go. Made from an `http(s)://host[:port]` URL; a path is not used."""

    url: str
    secure: bool
    host: str
    port: int

    @staticmethod
    def of(url: str) -> Endpoint:
        """Raises ConfigurationError for what is not an http or https URL with a host."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.username is not None:
            raise ConfigurationError("AWS: a URL with a user or password in it is not accepted")
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ConfigurationError(f"AWS: {url!r} is not an http or https URL with a host")
        secure = parts.scheme == "https"
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        at = f":{port}" if port not in (None, 443 if secure else 80) else ""
        return Endpoint(
            f"{parts.scheme}://{host}{at}/", secure, parts.hostname, port or (443 if secure else 80)
        )


class Connection:
    """One kept connection, for one thread; only `abort` may be called by another."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext | None) -> None:
        self._http: http.client.HTTPConnection
        if context is not None:
            self._http = http.client.HTTPSConnection(endpoint.host, endpoint.port, context=context)
        else:
            self._http = http.client.HTTPConnection(endpoint.host, endpoint.port)
        self._used = 0.0
        self._lock = threading.Lock()
        self._connecting = False
        self._aborted = False

    def post(
        self, headers: dict[str, str], body: bytes, deadline: float, most: int = MAX_ANSWER
    ) -> Answer:
        """The answer, whatever its status, of at most `most` bytes. Raises NotSent, Refused or
        Lost."""
        self._open(deadline)
        try:
            self._http.send(_head(headers, len(body)) + body)
            response = http.client.HTTPResponse(self._http.sock, method="POST")
            response.begin()
            # Without a number, read() tells an answer that was cut short from a whole one.
            short = response.length is not None and response.length <= most
            data = response.read() if short else response.read(most + 1)
            if response.will_close:
                self._http.close()
            if len(data) > most:
                raise http.client.HTTPException(f"an answer of more than {most} bytes")
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._http.close()
            raise Lost(reason(error)) from error
        self._used = time.monotonic()
        return Answer(response.status, data, response.headers.get("x-amzn-query-error"))

    def _open(self, deadline: float) -> None:
        now = time.monotonic()
        left = max(deadline - now, 0.001)
        sock = self._http.sock
        if sock is not None and (now - self._used > MAX_IDLE or readable(sock)):
            self._http.close()
        if self._http.sock is None:
            self._http.timeout = min(left, CONNECT_TIMEOUT)
            try:
                self._connect()
            except (OSError, UnicodeError) as error:
                self._http.close()
                if why := no_tls(error):
                    raise Refused(why) from error
                raise NotSent(reason(error)) from error
            left = max(deadline - time.monotonic(), 0.001)
        self._http.sock.settimeout(left)

    def _connect(self) -> None:
        with self._lock:
            self._connecting, self._aborted = True, False
        try:
            self._http.connect()
        finally:
            with self._lock:
                self._connecting = False
        if self._aborted:
            raise OSError("the connection was given up")

    def abort(self) -> None:
        """End a request in another thread: its `post` raises Lost or NotSent soon."""
        with self._lock:
            # Its socket is not to be had yet, though the server may see it already.
            self._aborted = self._connecting
        sock = self._http.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def close(self) -> None:
        self._http.close()


def _head(headers: dict[str, str], length: int) -> bytes:
    """The request's head; sent in one piece with the body, as each piece is a system call."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return (
        "POST / HTTP/1.1\r\nUser-Agent: riverbridge\r\nAccept-Encoding: identity\r\n"
        f"{''.join(lines)}Content-Length: {length}\r\n\r\n"
    ).encode("latin-1")
