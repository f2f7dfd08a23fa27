"""A browser without a window, driven by ChromeDriver's own protocol (W3C WebDriver) over HTTP."""

from __future__ import annotations

import base64
import json
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from riverbridge.embedded.process import (
    LOOPBACK,
    ChildProcess,
    free_port,
    plain_environment,
    port_answers,
)
from riverbridge.errors import PartMissing

ARGUMENTS = [
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--window-size=1400,1000",
]  # fmt: skip
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key of an element in an answer, as the protocol has it."""


class Browser:
    """One window."""

    def __init__(self, session: str) -> None:
        self._session = session

    def open(self, url: str) -> None:
        _call("POST", f"{self._session}/url", {"url": url})

    def text(self) -> str:
        """All that a reader of the page sees now."""
        script = {"script": "return document.body.innerText", "args": []}
        return str(_call("POST", f"{self._session}/execute/sync", script))

    def run(self, script: str, *args: Any) -> Any:
        """What a script of ours returns, run in the page."""
        return _call(
            "POST", f"{self._session}/execute/sync", {"script": script, "args": list(args)}
        )

    def picture(self) -> bytes:
        """What the window shows now, as PNG."""
        return base64.b64decode(_call("GET", f"{self._session}/screenshot"))

    def title(self) -> str:
        """The title of the page."""
        return str(_call("GET", f"{self._session}/title"))

    def press(self, *keys: str) -> None:
        """Press each of these, a text key by key, as the protocol spells keys."""
        moves = [
            {"type": kind, "value": key}
            for text in keys
            for key in text
            for kind in ("keyDown", "keyUp")
        ]
        self._type(moves)

    def hold(self, modifier: str, key: str) -> None:
        """Press `key` while `modifier` is down."""
        moves = [
            {"type": kind, "value": value}
            for kind, value in (
                ("keyDown", modifier), ("keyDown", key), ("keyUp", key), ("keyUp", modifier),
            )
        ]  # fmt: skip
        self._type(moves)

    def _type(self, moves: list[dict[str, str]]) -> None:
        # Chromium drops what is pressed before a page was painted, which may be after it was read.
        frame = "new Promise((painted) => requestAnimationFrame(painted))"
        self.wait_for(f"return {frame}.then(() => {frame})")
        board = {"type": "key", "id": "keyboard", "actions": moves}
        _call("POST", f"{self._session}/actions", {"actions": [board]})

    def look_like(self, *, width: int = 1400, dark: bool = False) -> None:
        """Be a screen of this width, below 500 a phone's, whose system is dark or light."""
        self._devtools(
            "Emulation.setDeviceMetricsOverride",
            width=width, height=1000 if width > 500 else 844, deviceScaleFactor=1,
            mobile=width < 500,
        )  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", features=[scheme])

    def wait_for(self, script: str) -> Any:
        """What a promise that the script returns comes to."""
        body = f"const done = arguments[0]; Promise.resolve((() => {{ {script} }})()).then(done)"
        return _call("POST", f"{self._session}/execute/async", {"script": body, "args": []})

    def _devtools(self, command: str, **params: Any) -> None:
        body = {"cmd": command, "params": params}
        _call("POST", f"{self._session}/goog/cdp/execute", body)

    def logged(self) -> list[Any]:
        """What the page's scripts complained of since the last look."""
        answer = _call("POST", f"{self._session}/se/log", {"type": "browser"})
        return [entry["message"] for entry in answer if entry["level"] == "SEVERE"]

    def clicked(self, xpath: str) -> bool:
        """Click the first element at `xpath`; False if it is not there or not ready."""
        try:
            found = _call("POST", f"{self._session}/element", {"using": "xpath", "value": xpath})
            _call("POST", f"{self._session}/element/{found[ELEMENT]}/click", {})
        except urllib.error.HTTPError as error:
            error.close()
            return False
        return True


def find_chromium() -> tuple[str, str]:
    """Chromium and its driver. Raises PartMissing without either."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        raise PartMissing(
            "Chromium and ChromeDriver are not on this machine. To get them: "
            "apt-get install chromium chromium-driver"
        )
    return chromium, driver


@contextmanager
def browser(home: Path) -> Iterator[Browser]:
    """A browser of its own, with its log and its profile in `home`. Raises as `find_chromium`."""
    chromium, program = find_chromium()
    port = free_port()
    driver = ChildProcess(
        [program, f"--port={port}"],
        log=home / "chromedriver.log",
        cwd=home,
        env=plain_environment(HOME=str(home)),
    )
    driver.start(lambda: port_answers(port))
    arguments = [*ARGUMENTS, f"--user-data-dir={home / 'profile'}"]
    options = {"binary": chromium, "args": arguments}
    wanted = {"capabilities": {"alwaysMatch": {"goog:chromeOptions": options}}}
    try:
        root = f"http://{LOOPBACK}:{port}/session"
        session = f"{root}/{_call('POST', root, wanted)['sessionId']}"
        try:
            yield Browser(session)
        finally:
            _call("DELETE", session)
    finally:
        driver.stop()


def _call(method: str, url: str, body: dict[str, Any] | None = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["value"]
