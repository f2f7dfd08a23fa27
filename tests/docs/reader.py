"""A reader who does what a page says, in a directory of their own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from riverbridge.embedded.process import plain_environment
from tests.docs.pages import ROOT, Block
from tests.support.wait import eventually

TIMEOUT = 60.0
_COMMANDS = {
    "riverbridge": "from riverbridge.cli import main; main()",
    "python": None,
}


class Reader:
    """Runs blocks one by one. Exports stay, what is started runs on, and all ends with the block.

    replace: texts of the page and what stands here in their place, such as addresses.
    env: variables that the page's reader has without being told.
    """

    def __init__(self, home: Path, replace: Mapping[str, str], env: Mapping[str, str]) -> None:
        self._home = home
        self._replace = dict(replace)
        tools = home / ".tools"
        tools.mkdir()
        for name, code in _COMMANDS.items():
            start = f"{sys.executable} -c '{code}'" if code else sys.executable
            (tools / name).write_text(f'#!/bin/sh\nexec {start} "$@"\n', encoding="utf-8")
            (tools / name).chmod(0o755)
        path = f"{tools}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        self._env = plain_environment(PYTHONPATH=str(ROOT), **(dict(env) | {"PATH": path}))
        self._log = home / ".started.log"
        self._started: subprocess.Popen[bytes] | None = None
        self._said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._started is not None:
            os.killpg(self._started.pid, signal.SIGKILL)
            self._started.wait(10)

    def follow(self, block: Block) -> None:
        """Do what `block` says. Raises AssertionError with its line where that fails."""
        text = self._here(block.text)
        match block.mark:
            case "run":
                self._run(text, block.line)
            case "start":
                self._start(text)
            case "stop":
                self.stop()
            case "file":
                (self._home / block.name).write_text(text, encoding="utf-8")
            case "shows":
                self._compare(text, block.line)

    def stop(self) -> None:
        """Ctrl-C for what was started; it must end with 0."""
        assert self._started is not None, "nothing was started"
        os.killpg(self._started.pid, signal.SIGINT)
        code = self._started.wait(TIMEOUT)
        self._started = None
        assert code == 0, f"ended with {code}:\n{self._heard()}"

    def _here(self, text: str) -> str:
        for old, new in self._replace.items():
            text = text.replace(old, new)
        return text

    def _run(self, text: str, line: int) -> None:
        kept = self._home / ".env-kept"
        script = f"set -euo pipefail\n{text}\nenv -0 > {kept}\n"
        done = subprocess.run(
            ["bash", "-c", script], cwd=self._home, env=self._env, timeout=TIMEOUT, check=False,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        self._said = done.stdout.decode()
        assert done.returncode == 0, f"line {line}: ended with {done.returncode}:\n{self._said}"
        pairs = kept.read_text(encoding="utf-8").split("\0")
        self._env = dict(pair.split("=", 1) for pair in pairs if pair)

    def _start(self, text: str) -> None:
        assert self._started is None, "something is running already"
        with self._log.open("wb") as log:
            self._started = subprocess.Popen(
                ["bash", "-c", f"exec {text.strip()}"], cwd=self._home, env=self._env,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        self._said = ""

    def _heard(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _compare(self, wanted: str, line: int) -> None:
        pattern = re.compile(
            "(?s:.*?)".join(map(re.escape, wanted.rstrip().split("…"))).replace(r"\ \ ", r"\ +")
        )

        def shown() -> bool:
            said = self._said or self._heard()
            assert pattern.search(said), f"line {line} shows:\n{wanted}\nbut this was said:\n{said}"
            return True

        if self._said or self._started is None:
            shown()
        else:
            eventually(shown, within=TIMEOUT)
