"""Many senders at once: a connection each, all open before the first sends.

python -m tests.ingest.crowd PORT COUNT [BYTES]: prints how often each status came, until all
had 200.
"""

from __future__ import annotations

import json
import resource
import selectors
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence

from tests.support.signed import standard

HOST = "127.0.0.1"
PATIENCE = 60.0
"""Seconds until an answer has come."""


def request(n: int, size: int) -> bytes:
    """The n-th event, signed."""
    body = b'{"n": %d, "x": "%s"}' % (n, b"x" * size)
    head = "".join(f"{name}: {value}\r\n" for name, value in standard(body, f"m{n}").items())
    line = b"POST /hooks/shop HTTP/1.1\r\nhost: a\r\nconnection: close\r\n"
    return line + f"content-length: {len(body)}\r\n{head}\r\n".encode() + body


def wave(port: int, requests: Sequence[bytes]) -> list[str]:
    """Send all at once; the status of each answer, or "none"."""
    found = ["none"] * len(requests)
    # Waiting is for the first byte only so long: all connections are made in one go.
    lines = [socket.create_connection((HOST, port), PATIENCE) for _ in requests]
    with selectors.DefaultSelector() as selector:
        for n, (line, text) in enumerate(zip(lines, requests, strict=True)):
            try:
                line.sendall(text)
            except OSError:
                line.close()
                continue
            selector.register(line, selectors.EVENT_READ, n)
        until = time.monotonic() + PATIENCE
        while selector.get_map() and time.monotonic() < until:
            for key, _ in selector.select(1):
                line = lines[key.data]
                try:
                    words = line.recv(1000).split(b" ")
                except OSError:
                    words = []
                found[key.data] = words[1].decode() if len(words) > 1 else "none"
                selector.unregister(line)
                line.close()
    return found


def main(port: int, count: int, size: int = 500) -> None:
    statuses: Counter[str] = Counter()
    left = {n: request(n, size) for n in range(count)}
    while left:
        found = wave(port, list(left.values()))
        statuses.update(found)
        left = {n: left[n] for n, status in zip(left, found, strict=True) if status != "200"}
    print(json.dumps({"answered": statuses["200"], "statuses": statuses}))


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    main(*map(int, sys.argv[1:]))
