"""A child process: ready or an error with its log, and never left behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from riverbridge.embedded.process import ChildProcess, free_port, plain_environment, port_answers
from riverbridge.errors import ServerFailed
from tests.support.wait import eventually

_SLEEPER = "import time; print('up', flush=True); time.sleep(600)"
_OWNER = """
import os, sys
from pathlib import Path
from riverbridge.embedded.broker import Broker
broker = Broker()
broker.start()
print(broker.pid, broker._directory, flush=True)
if sys.argv[1] == "wait":
    sys.stdin.read()
"""


def is_gone(pid: int) -> bool:
    """Whether a process has ended; one that nobody has collected counts."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        return False
    return status.rpartition(")")[2].split()[0] == "Z"


def sleeper(tmp_path: Path, code: str = _SLEEPER) -> ChildProcess:
    return ChildProcess(
        [sys.executable, "-c", code], log=tmp_path / "log", cwd=tmp_path, env=plain_environment()
    )


def test_a_process_that_ends_at_once_is_an_error_with_its_log(tmp_path: Path) -> None:
    child = sleeper(tmp_path, "import sys; sys.exit('the disk is full')")
    with pytest.raises(ServerFailed, match=r"exit code 1 before it was ready.*\n.*disk is full"):
        child.start(lambda: False, within=20)


def test_a_process_that_never_gets_ready_is_an_error_and_gone(tmp_path: Path) -> None:
    child = sleeper(tmp_path)
    pids: list[int] = []

    def ready() -> bool:
        pids.append(child.pid)
        return False

    with pytest.raises(ServerFailed, match=r"not ready within 0\.2 s"):
        child.start(ready, within=0.2)
    assert not child.running
    assert is_gone(pids[0])


def test_a_program_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    child = ChildProcess(["/nowhere/server"], log=tmp_path / "log", cwd=tmp_path, env={})
    with pytest.raises(ServerFailed, match=r"/nowhere/server cannot be started"):
        child.start(lambda: True)


def test_one_that_ignores_the_stop_signal_is_killed(tmp_path: Path) -> None:
    child = sleeper(tmp_path, f"import signal; signal.signal(15, signal.SIG_IGN); {_SLEEPER}")
    child.start(lambda: "up" in child.tail())
    pid = child.pid
    child.stop(within=0.2)
    assert is_gone(pid)


def test_a_paused_process_can_be_stopped(tmp_path: Path) -> None:
    child = sleeper(tmp_path)
    child.start(lambda: "up" in child.tail())
    pid = child.pid
    child.pause()
    child.stop(within=5)
    assert is_gone(pid)


def test_free_port_is_free() -> None:
    assert not port_answers(free_port())


@pytest.mark.kafka
@pytest.mark.parametrize("how", ["killed", "ended"])
def test_nothing_survives_the_owner(how: str) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", _OWNER, "wait" if how == "killed" else "end"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with owner:
        assert owner.stdout is not None
        shown = owner.stdout.readline().split()
        pid, directory = int(shown[0]), Path(shown[1])
        if how == "killed":
            owner.send_signal(signal.SIGKILL)
        owner.wait(20)
    eventually(lambda: is_gone(pid) and not directory.exists())
