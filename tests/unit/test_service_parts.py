"""Supervisor, log lines and probes."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from typing import Any

import pytest

from riverbridge.console.probes import Server, application
from riverbridge.embedded.process import free_port
from riverbridge.engine.supervisor import Supervisor
from riverbridge.errors import ConfigurationError
from riverbridge.logs import LONGEST, JsonFormatter, TextFormatter
from riverbridge.service.running import Bridge, Stopped
from riverbridge.settings import load
from tests.support.wait import eventually


class Stop(threading.Event):
    """Keeps the rests asked for and takes none; set after so many."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after
        self.rests: list[float] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.rests.append(timeout)
        if len(self.rests) == self.after:
            self.set()
        return self.is_set()


def test_a_loop_that_dies_is_started_again_later_each_time() -> None:
    stop = Stop(after=9)
    lives = []

    def loop(stop: threading.Event) -> None:
        lives.append(1)
        if len(lives) % 2:
            raise ZeroDivisionError

    supervisor = Supervisor(stop)
    supervisor.start("loop", loop)
    assert supervisor.join(10) == []
    assert stop.rests == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert len(lives) == 9


def test_a_loop_that_ends_after_the_stop_stays_ended_and_one_that_does_not_is_named() -> None:
    stop, go = threading.Event(), threading.Event()
    supervisor = Supervisor(stop)

    def good(stop: threading.Event) -> None:
        stop.wait(10)

    def deaf(_: threading.Event) -> None:
        go.wait(10)

    supervisor.start("good", good)
    supervisor.start("deaf", deaf)
    stop.set()
    assert supervisor.join(0.5) == ["deaf"]
    go.set()
    assert supervisor.join(10) == []


def record(message: str, *args: object, error: BaseException | None = None) -> logging.LogRecord:
    info = None
    if error is not None:
        try:
            raise error
        except type(error):
            info = sys.exc_info()
    return logging.LogRecord("riverbridge.x", logging.ERROR, "f", 1, message, args, info)


@pytest.mark.parametrize(
    "evil", ["a\nb", "a\r\nb", "a\x1b[2Jb", "a\x00b", "a\u2028b", "\ud800", '"}{"']
)
def test_no_text_forges_a_line(evil: str) -> None:
    for formatter in (JsonFormatter(), TextFormatter()):
        line = formatter.format(record("it says %s", evil))
        assert len(line.splitlines()) == 1 or "\u2028" in evil
        assert "\n" not in line
        assert "\x1b" not in line
        line.encode()
    found = json.loads(JsonFormatter().format(record("it says %s", evil)))
    assert found["level"] == "error"
    assert found["logger"] == "riverbridge.x"
    assert found["message"] == "it says " + evil.encode("utf-8", "backslashreplace").decode()


@pytest.mark.parametrize("evil", ["x\n2026-01-01 00:00:00 ERROR forged", "\ud800", "\x1b[2J"])
def test_nor_does_the_text_of_an_error(evil: str) -> None:
    failed = record("it failed", error=ValueError(evil))
    first, *rest = TextFormatter().format(failed).split("\n")
    assert first.endswith("it failed")
    assert rest
    assert all(line.startswith("  | ") and line.isprintable() for line in rest)
    failed.exc_text = None
    line = JsonFormatter().format(failed)
    assert "\n" not in line
    assert "ValueError" in json.loads(line)["error"]


def test_long_messages_are_cut() -> None:
    text = "x" * 10_000
    assert json.loads(JsonFormatter().format(record(text)))["message"] == "x" * LONGEST
    assert TextFormatter().format(record(text)).count("x") == LONGEST
    failed = json.loads(JsonFormatter().format(record("m", error=ValueError(text))))
    assert len(failed["error"]) == LONGEST


class AHealth:
    version = "1.2.3"

    def __init__(self, **checks: str | None) -> None:
        self._checks = checks

    def checks(self) -> dict[str, str | None]:
        return self._checks

    def notes(self) -> dict[str, str]:
        return {"sink": "paused by ann", "route-r": "paused by bob"}


def ask(health: AHealth, path: str, method: str = "GET") -> tuple[int, dict[str, str], str]:
    """The answer of the application, asked as an ASGI server asks it."""
    path, _, query = path.partition("?")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [],
        "client": None,
        "server": None,
    }
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(application(health)(scope, receive, send))
    headers = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    body = b"".join(message.get("body", b"") for message in sent[1:]).decode()
    return sent[0]["status"], headers, body


def test_probes_say_what_is_wrong() -> None:
    good, bad = AHealth(lane=None, sink=None), AHealth(lane=None, sink="breaker open")
    assert ask(good, "/readyz")[::2] == (200, "ok\n")
    assert ask(bad, "/readyz")[::2] == (503, "not ready\n")
    assert ask(good, "/readyz?verbose")[::2] == (
        200,
        "[+] lane ok\n[+] sink paused by ann\n[+] route-r paused by bob\n",
    )
    assert ask(bad, "/readyz?verbose=1")[::2] == (
        503,
        "[+] lane ok\n[-] sink breaker open\n[+] route-r paused by bob\n",
    )
    assert ask(bad, "/livez")[::2] == (200, "ok\n")
    assert json.loads(ask(bad, "/version")[2]) == {"version": "1.2.3"}


def test_metrics_are_prometheus_text() -> None:
    status, headers, body = ask(AHealth(), "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain; version=")
    assert "# TYPE python_info gauge" in body


@pytest.mark.parametrize("path", ["/", "/readyz/", "/readyzz", "/metrics/x", "/..%2f", "/admin"])
def test_no_other_path_answers(path: str) -> None:
    assert ask(AHealth(), path)[0] in (404, 307)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics", "/version"])
def test_no_other_method_is_allowed(path: str, method: str) -> None:
    status, headers, _ = ask(AHealth(), path, method)
    assert status == 405
    assert "GET" in headers["allow"]


def test_an_address_in_use_is_a_configuration_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigurationError, match=f"127.0.0.1:{port}"):
            Server(application(AHealth()), host="127.0.0.1", port=port)


def test_a_bridge_that_waits_for_its_database_is_alive_and_not_ready() -> None:
    settings = load(
        {
            "DATABASE_URL": f"postgresql://nobody@127.0.0.1:{free_port()}/none",
            "RIVERBRIDGE_SINKS__EVENTS__TYPE": "kafka",
            "RIVERBRIDGE_SINKS__EVENTS__BOOTSTRAP_SERVERS": "127.0.0.1:1",
            "RIVERBRIDGE_SINKS__EVENTS__TOPIC": "events",
            "RIVERBRIDGE_PROBES__PORT": str(port := free_port()),
        },
        dotenv=None,
        toml=None,
    )
    stop = threading.Event()
    stopped: list[BaseException] = []

    def construct() -> None:
        try:
            Bridge(settings, stop)
        except Stopped as asked:
            stopped.append(asked)

    thread = threading.Thread(target=construct)
    thread.start()
    try:
        base = f"http://127.0.0.1:{port}"
        eventually(lambda: status(f"{base}/livez") == 200)
        assert status(f"{base}/readyz") == 503
    finally:
        stop.set()
        thread.join(10)
    assert len(stopped) == 1


def status(url: str) -> int | None:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        return refused.code
    except OSError:
        return None


ANOTHER_THREADS = """
import signal, threading
from riverbridge.cli.run import stop_on_signals
from riverbridge.service.process import wait_for

stop, waiting = threading.Event(), threading.Event()
stop_on_signals(stop)

def another():
    waiting.wait(1)  # by then the main thread waits
    signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
    threading.Event().wait()

threading.Thread(target=another, daemon=True).start()
wait_for(stop)
"""


def test_a_signal_that_the_kernel_gives_to_another_thread_is_heeded() -> None:
    subprocess.run([sys.executable, "-c", ANOTHER_THREADS], check=True, timeout=30)
