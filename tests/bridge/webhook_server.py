"""A receiver of webhooks in the test's own process: it looks into requests and misbehaves."""

from __future__ import annotations

import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Got:
    """A request as it came."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.at = time.monotonic()
        self.path = handler.path
        self.headers = dict(handler.headers.items())
        self.all_headers = handler.headers.items()
        self.body = handler.rfile.read(int(handler.headers["Content-Length"]))
        self.connection = handler.client_address


Turn = bytes | Callable[["Receiver", socket.socket], None]
"""What is sent for a request as it is (the connection is kept), or who has the socket then (and
it is closed afterwards)."""


class Receiver:
    """Answers `turns` in order, then `always`. `got` holds the requests.

    limit: bytes of a body; 413 above it, and the request is not in `got`.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, limit: int = 1 << 30) -> None:
        self.turns: deque[Turn] = deque()
        self.always: Turn = OK
        self._limit = limit
        self.got: list[Got] = []
        self.ended = threading.Event()
        self.busy = self.most = 0
        self.delay = 0.0
        self._lock = threading.Lock()
        self._tls = tls
        self._server = _Server(("127.0.0.1", 0), self._handler())
        self.port = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://localhost:{self.port}/hook"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    @property
    def connections(self) -> int:
        """How many connections the requests came on."""
        return len({one.connection for one in self.got})

    def _turn(self, got: Got) -> Turn:
        if len(got.body) > self._limit:
            return says(413)
        with self._lock:
            self.got.append(got)
            return self.turns.popleft() if self.turns else self.always

    def _count(self, change: int) -> None:
        with self._lock:
            self.busy += change
            self.most = max(self.most, self.busy)

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                if receiver._tls is not None:
                    self.request = receiver._tls.wrap_socket(self.request, server_side=True)
                super().setup()

            def finish(self) -> None:
                super().finish()
                self.request.close()

            def do_POST(self) -> None:
                receiver._count(1)
                turn = receiver._turn(Got(self))
                receiver.ended.wait(receiver.delay)
                receiver._count(-1)
                with suppress(OSError):
                    if isinstance(turn, bytes):
                        self.connection.sendall(turn)
                        return
                    turn(receiver, self.connection)
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:
                return

        return Handler


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that hangs up, or does not trust us, is what the tests want."""


def says(status: int, body: bytes = b"", **headers: str) -> bytes:
    """An answer with a body and headers (`_` for `-`)."""
    lines = "".join(f"{name.replace('_', '-')}: {text}\r\n" for name, text in headers.items())
    head = f"HTTP/1.1 {status} Words\r\n{lines}Content-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def hangs(receiver: Receiver, connection: socket.socket) -> None:
    """Never answers."""
    receiver.ended.wait(30)


def resets(receiver: Receiver, connection: socket.socket) -> None:
    """Ends with RST."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def hangs_up(receiver: Receiver, connection: socket.socket) -> None:
    """Ends without a word."""


def sends(*pieces: bytes) -> Turn:
    """Sends the pieces and hangs up."""

    def turn(receiver: Receiver, connection: socket.socket) -> None:
        for piece in pieces:
            connection.sendall(piece)

    return turn


def floods(first: bytes, more: bytes, pause: float = 0.0) -> Turn:
    """Sends `first` and then `more` for ever."""

    def turn(receiver: Receiver, connection: socket.socket) -> None:
        connection.sendall(first)
        while not receiver.ended.wait(pause):
            connection.sendall(more)

    return turn


@contextmanager
def serving_once(turn: Callable[[socket.socket], None]) -> Iterator[str]:
    """The URL of a server that gives its first connection to `turn`, unread."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection, suppress(OSError):
                turn(connection)

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        thread.join(5)
