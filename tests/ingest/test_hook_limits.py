"""Senders that are slow, large or many: they get an answer or an end, and others are served."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from riverbridge.console.hook_protocol import HookProtocol
from riverbridge.service.running import Bridge
from tests.ingest.hooked import HOST, SOURCE, Post, hooked, read
from tests.ingest.rows import numbers
from tests.support.bridge import BridgeProcess
from tests.support.database import Database
from tests.support.signed import number, standard
from tests.support.wait import eventually

ROOT = Path(__file__).parents[2]
HEAD = b"POST /hooks/shop HTTP/1.1\r\nhost: a\r\n"
GIB = 1 << 30


def serving(bridge: Bridge) -> None:
    eventually(lambda: bridge.checks()["source-shop"] is None, within=20)


class TestSlow:
    @pytest.fixture
    def post(self, tables: Database, monkeypatch: pytest.MonkeyPatch) -> Iterator[Post]:
        monkeypatch.setattr(HookProtocol, "between", 0.4)
        with hooked(tables, {"HOOKS__TIMEOUT": "1s"}) as (bridge, post):
            serving(bridge)
            yield post

    @pytest.mark.parametrize(
        "text",
        [b"", b"POST /hoo", HEAD, HEAD + b"content-length: 9\r\n\r\n", HEAD +
         b"content-length: 9\r\n\r\n{", HEAD + b"transfer-encoding: chunked\r\n\r\n5\r\n{"],
        ids=["nothing", "a line", "a head", "no body", "too little body", "half a chunk"],
    )  # fmt: skip
    def test_one_that_sends_nothing_more(self, post: Post, text: bytes) -> None:
        began = time.monotonic()
        assert post.raw(text).startswith(b"HTTP/1.1 408 ")
        assert 0.3 < time.monotonic() - began < 5
        assert post.event(1).status == 200

    @pytest.mark.parametrize(
        "text", [b"x-a: b\r\n" * 99, b"content-length: 99\r\n\r\n" + b"x" * 98]
    )
    def test_one_that_sends_a_byte_now_and_then(self, post: Post, text: bytes) -> None:
        with socket.create_connection((HOST, post.port), 20) as line:
            line.sendall(HEAD)
            began = time.monotonic()
            sent = 0
            line.settimeout(0.1)
            answer = b""
            while not answer and sent < 99:
                line.sendall(text[sent : sent + 1])
                sent += 1
                try:
                    answer = line.recv(100)
                except TimeoutError:
                    continue
            assert answer.startswith(b"HTTP/1.1 408 ")
            assert 0.8 < time.monotonic() - began < 5

    def test_one_that_is_quick_each_time_keeps_its_connection(self, post: Post) -> None:
        with socket.create_connection((HOST, post.port), 20) as line:
            began = time.monotonic()
            n = 0
            while time.monotonic() - began < 1.5:
                body = number(n)
                head = "".join(f"{k}: {v}\r\n" for k, v in standard(body, f"m{n}").items())
                line.sendall(HEAD + f"content-length: {len(body)}\r\n{head}\r\n".encode() + body)
                assert line.recv(1000).startswith(b"HTTP/1.1 200 ")
                n += 1
                time.sleep(0.05)
            assert n > 5


class TestLarge:
    def test_a_body_of_a_gibibyte(self, tables: Database) -> None:
        with hooked(tables) as (bridge, post):
            serving(bridge)
            for framing in (
                b"content-length: %d\r\n\r\n" % GIB,
                b"transfer-encoding: chunked\r\n\r\n",
            ):
                chunked = framing.startswith(b"transfer")
                part = (b"100000\r\n" if chunked else b"") + b"x" * (1 << 20) + b"\r\n" * chunked
                with socket.create_connection((HOST, post.port), 20) as line:
                    line.sendall(HEAD + framing)
                    sent = 0
                    with contextlib.suppress(OSError):  # it is told so
                        while sent < GIB:
                            line.sendall(part)
                            sent += 1 << 20
                    assert read(line).startswith(b"HTTP/1.1 413 ")
                    assert sent < 64 << 20
            assert post.event(1).status == 200

    def test_a_length_that_is_not_true(self, tables: Database) -> None:
        with hooked(tables) as (bridge, post):
            serving(bridge)
            body = number(1)
            head = "".join(f"{k}: {v}\r\n" for k, v in standard(body, "m1").items()).encode()
            short = HEAD + head + b"content-length: %d\r\n\r\n" % (len(body) - 1) + body
            assert post.raw(short).startswith(b"HTTP/1.1 401 ")
            with socket.create_connection((HOST, post.port), 20) as line:
                line.sendall(HEAD + head + b"content-length: %d\r\n\r\n" % (len(body) + 9) + body)
                line.shutdown(socket.SHUT_WR)
                assert not read(line).startswith(b"HTTP/1.1 200 ")
        assert numbers(tables) == {}

    def test_bodies_that_are_too_much_together(self, tables: Database) -> None:
        env = {"HOOKS__MEMORY": "1MiB", "HOOKS__MAX_BODY": "600KiB"}
        with hooked(tables, env) as (bridge, post):
            serving(bridge)
            half = HEAD + b"content-length: 600000\r\n\r\n" + b"x" * 590_000
            first, second = (socket.create_connection((HOST, post.port), 20) for _ in range(2))
            with first, second:
                first.sendall(half)
                time.sleep(0.2)
                with contextlib.suppress(OSError):
                    second.sendall(half)
                assert second.recv(1000).startswith(b"HTTP/1.1 503 ")
            eventually(lambda: post.event(1).status == 200)


def test_more_connections_than_allowed(tables: Database) -> None:
    with hooked(tables, {"HOOKS__CONNECTIONS": "5"}) as (bridge, post):
        serving(bridge)
        lines = [socket.create_connection((HOST, post.port), 20) for _ in range(5)]
        time.sleep(0.2)
        answer = post.raw(b"")
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 5" in answer
        for line in lines:
            line.close()
        eventually(lambda: post.event(1).status == 200)


def crowd(tables: Database, count: int) -> None:
    """So many connections at once, a request on each; every one answered well is one job."""
    with BridgeProcess(tables, SOURCE | {"HOOKS__PORT": "0"}) as process:
        eventually(lambda: process.answer("/readyz") == 200, within=20)
        found = eventually(lambda: re.search(r"hooks on port (\d+)", process.log))
        assert found is not None
        peak: list[int] = []
        ended = threading.Event()

        def watch() -> None:
            while not ended.wait(0.05):
                peak.append(len(os.listdir(f"/proc/{process.pid}/fd")))

        watching = threading.Thread(target=watch)
        watching.start()
        try:
            done = subprocess.run(
                [sys.executable, "-m", "tests.ingest.crowd", found[1], str(count)],
                cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, timeout=200,
                capture_output=True, text=True, check=True,
            )  # fmt: skip
        finally:
            ended.set()
            watching.join()
        status = Path(f"/proc/{process.pid}/status").read_text()
        resident = int(status.partition("VmHWM:")[2].split()[0]) << 10
        print(f"{count} connections: {done.stdout.strip()}; {max(peak)} files, "
              f"{resident >> 20} MiB resident at most")  # fmt: skip
        said = json.loads(done.stdout)
        assert said["answered"] == count
        assert max(peak) > 0.9 * count  # some had their answer before the last one came
        assert resident < GIB
    assert numbers(tables) == dict.fromkeys(range(count), 1)


def test_a_thousand_connections_at_once(tables: Database) -> None:
    crowd(tables, 1000)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_ten_thousand_connections_at_once(tables: Database) -> None:
    crowd(tables, 9_900)
