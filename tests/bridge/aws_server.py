"""A scripted AWS server in the test's own process: it can look into requests and misbehave."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import struct
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

Reply = tuple[int, dict[str, Any] | str]
RESET, SILENCE, TRICKLE = "reset", "silence", "trickle"
Turn = Callable[[dict[str, Any]], Reply] | Reply | str


def accept(request: dict[str, Any]) -> Reply:
    """Every entry taken, as SQS says it."""
    return 200, {"Successful": [taken(entry) for entry in request["Entries"]]}


def taken(entry: dict[str, Any]) -> dict[str, str]:
    md5 = hashlib.md5(entry["MessageBody"].encode()).hexdigest()
    return {"Id": entry["Id"], "MessageId": f"m-{entry['Id']}", "MD5OfMessageBody": md5}


class AwsStub:
    """Answers `turns` in order, then `always`. `requests` holds the bodies, JSON or forms."""

    def __init__(self, tls: ssl.SSLContext | None = None, always: Turn = accept) -> None:
        self.turns: deque[Turn] = deque()
        self.always = always
        self.limit: Reply = (200, {"Attributes": {"MaximumMessageSize": "1048576"}})
        self.requests: list[dict[str, Any]] = []
        self.heads: list[dict[str, str]] = []
        self.connections = 0
        self.hangs_up = False
        """Whether it closes the connection after each answer, without having said so in it."""
        self.lock = threading.Lock()
        self.ended = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{port}"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
            self.url = f"https://localhost:{port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def close(self) -> None:
        self.ended.set()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()

    def bodies(self) -> list[str]:
        return [entry["MessageBody"] for r in self.requests for entry in r["Entries"]]

    def _handler(stub) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                with stub.lock:
                    stub.connections += 1

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = self.headers["Content-Type"].startswith("application/x-www-form-urlencoded")
                request = dict(parse_qsl(body)) if form else json.loads(body)
                if self.headers.get("X-Amz-Target", "").endswith("GetQueueAttributes"):
                    self._answer(stub.limit)
                    return
                with stub.lock:
                    stub.requests.append(request)
                    stub.heads.append(dict(self.headers.items()))
                    turn = stub.turns.popleft() if stub.turns else stub.always
                if callable(turn):
                    turn = turn(request)
                if isinstance(turn, str):
                    self._break(turn)
                else:
                    self._answer(turn)

            def _answer(self, reply: Reply) -> None:
                said = reply[1]
                body = (said if isinstance(said, str) else json.dumps(said)).encode()
                self.send_response(reply[0])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection |= stub.hangs_up

            def _break(self, how: str) -> None:
                self.close_connection = True
                if how == SILENCE:
                    stub.ended.wait(30)
                elif how == TRICKLE:
                    self._trickle()
                else:
                    linger = struct.pack("ii", 1, 0)
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                    self.connection.close()

            def _trickle(self) -> None:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
                with suppress(OSError):
                    while not stub.ended.wait(0.02):
                        self.wfile.write(b" ")

            def log_message(self, format: str, *args: object) -> None:
                return

        return Handler
