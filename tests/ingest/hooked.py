"""A bridge with webhook sources, and what sends to it."""

from __future__ import annotations

import http.client
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import NamedTuple

from riverbridge.service.running import Bridge
from tests.support.bridge import running_bridge
from tests.support.database import Database
from tests.support.signed import WHSEC, number, standard

HOST = "127.0.0.1"
SOURCE = {
    "SOURCES__SHOP__TYPE": "webhook",
    "SOURCES__SHOP__KIND": "shop",
    "SOURCES__SHOP__VERIFY": "standard",
    "SOURCES__SHOP__SECRETS": WHSEC,
    "HOOKS__PORT": "0",
}


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


class Post:
    """Sends requests to one port. Raises OSError where no answer comes."""

    def __init__(self, port: int) -> None:
        self.port = port

    def __call__(
        self,
        body: bytes,
        headers: Mapping[str, str],
        path: str = "/hooks/shop",
        method: str = "POST",
        chunked: bool = False,
    ) -> Answer:
        connection = http.client.HTTPConnection(HOST, self.port, timeout=20)
        try:
            if chunked:
                connection.request(method, path, iter([body]), dict(headers), encode_chunked=True)
            else:
                connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            named = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, named, response.read())
        except http.client.HTTPException as error:
            raise ConnectionError(str(error)) from error
        finally:
            connection.close()

    def event(self, n: int, **headers: str) -> Answer:
        """The n-th event, signed."""
        body = number(n)
        return self(body, standard(body, f"m{n}") | headers)

    def raw(self, text: bytes) -> bytes:
        """What comes back for these bytes until the connection is closed."""
        with socket.create_connection((HOST, self.port), 20) as line:
            line.sendall(text)
            return read(line)


def read(line: socket.socket) -> bytes:
    """All that comes until the connection ends."""
    found = b""
    with suppress(ConnectionResetError):
        while more := line.recv(65536):
            found += more
    return found


@contextmanager
def hooked(
    database: Database, env: Mapping[str, str] | None = None
) -> Iterator[tuple[Bridge, Post]]:
    """A bridge with the source `shop`, of Standard Webhooks unless told otherwise."""
    with running_bridge(database, {}, SOURCE | dict(env or {})) as bridge:
        yield bridge, Post(bridge.ports["hooks"])
