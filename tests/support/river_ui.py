"""River UI itself, its program and its pages, beside workers that are all in Python."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from riverbridge.bench.go_program import build
from riverbridge.embedded.process import LOOPBACK, ChildProcess, free_port, plain_environment
from tests.support.database import Database

SOURCE = Path(__file__).parents[1] / "interop" / "riverui"
PACKAGE = "riverqueue.com/riverui/cmd/riverui"


def build_river_ui() -> Path:
    """The program of the version in go.mod; its pages are in the module, built.

    It stays in `bin`, where Go sees that it is up to date.
    """
    target = SOURCE / "bin" / "riverui"
    target.parent.mkdir(exist_ok=True)
    return build(target, SOURCE, PACKAGE)


class RiverUi:
    """A River UI that answers at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def fetch(self, path: str) -> tuple[str, bytes]:
        """What is served at `path`: its content type and itself."""
        with urllib.request.urlopen(self.url + path, timeout=20) as answer:
            return answer.headers.get_content_type(), answer.read()

    def get(self, path: str, **query: Any) -> Any:
        """The JSON at `path`; a list in `query` is a parameter several times."""
        return self._call("GET", f"{path}?{urlencode(query, doseq=True)}")

    def post(self, action: str, *ids: int) -> None:
        """What the buttons on jobs do: `cancel`, `retry` or `delete`."""
        body = json.dumps({"ids": [str(id_) for id_ in ids]}).encode()
        assert self._call("POST", f"/api/jobs/{action}", body) == {"status": "ok"}

    def put(self, queue: str, action: str) -> None:
        """What the buttons on queues do: `pause` or `resume`."""
        assert self._call("PUT", f"/api/queues/{queue}/{action}") == {"status": "ok"}

    def _call(self, method: str, path: str, body: bytes | None = None) -> Any:
        request = urllib.request.Request(self.url + path, body, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, json.load(error)["message"]) from None


class Refused(Exception):
    """River UI said no: the status, and its reason."""

    def __init__(self, status: int, reason: str) -> None:
        super().__init__(status, reason)
        self.status = status
        self.reason = reason


@contextmanager
def river_ui(program: Path, database: Database, home: Path) -> Iterator[RiverUi]:
    """River UI on `database`, with its log in `home`."""
    port = free_port()
    ui = RiverUi(f"http://{LOOPBACK}:{port}")
    child = ChildProcess(
        [program],
        log=home / "riverui.log",
        cwd=home,
        env=plain_environment(DATABASE_URL=database.dsn, RIVER_HOST=LOOPBACK, PORT=str(port)),
    )
    child.start(lambda: _healthy(ui))
    try:
        yield ui
    finally:
        child.stop()


def _healthy(ui: RiverUi) -> bool:
    try:
        return bool(ui.get("/api/health-checks/complete"))
    except (OSError, Refused):
        return False
