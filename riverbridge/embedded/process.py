"""One server in a process of its own: started, waited for, stopped, and never left behind."""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from riverbridge.errors import ServerFailed

LOOPBACK = "127.0.0.1"

# Ends and cleans up the server when this process dies without doing so, even by SIGKILL: the
# pipe on its standard input then closes. A line on that pipe means that all is well. Unlike
# PR_SET_PDEATHSIG this does not depend on which thread started the server.
_GUARD = """
read -r _ && exit 0
signal=$1; pid=$2; shift 2
kill -CONT "$pid" 2>/dev/null
kill -"$signal" "$pid" 2>/dev/null
tries=0
while kill -0 "$pid" 2>/dev/null && [ $tries -lt 30 ]; do sleep 0.1; tries=$((tries + 1)); done
kill -KILL -- "-$pid" 2>/dev/null
[ $# -gt 0 ] && rm -rf -- "$@"
exit 0
"""


class Account(NamedTuple):
    """The user a server runs as."""

    name: str
    uid: int
    gid: int


def free_port() -> int:
    """A TCP port on loopback that nobody listens on now. Another process may still take it."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def port_answers(port: int, timeout: float = 0.2) -> bool:
    """Whether something on loopback accepts a connection on `port`; `timeout` in seconds."""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=timeout):
            return True
    except OSError:
        return False


def plain_environment(**extra: str) -> dict[str, str]:
    """A small environment for a server, so that no variable of the caller configures it."""
    kept = ("PATH", "TMPDIR", "LD_LIBRARY_PATH", "SYSTEMROOT")
    return {name: os.environ[name] for name in kept if name in os.environ} | extra


class ChildProcess:
    """A server process in a session of its own, with its output in a log file.

    Nothing survives the parent: a normal end of the interpreter stops it, and a guard process
    does so when the parent is killed; both remove the directories in `scratch`.
    """

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path,
        env: Mapping[str, str],
        account: Account | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
        crash_signal: signal.Signals = signal.SIGKILL,
        scratch: Sequence[Path] = (),
    ) -> None:
        self.argv = [str(part) for part in argv]
        self.log = log
        self._cwd = cwd
        self._env = dict(env)
        self._account = account
        self._stop_signal = stop_signal
        self._crash_signal = crash_signal
        self._scratch = [str(path) for path in scratch]
        self._process: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None

    @property
    def name(self) -> str:
        return Path(self.argv[0]).name

    @property
    def pid(self) -> int:
        """The process id. Raises ServerFailed if it was not started or was stopped."""
        if self._process is None:
            raise ServerFailed(f"{self.name} is not running: call start() first")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, ready: Callable[[], bool], within: float = 20.0) -> None:
        """Start, and return once `ready()` is true.

        Raises ServerFailed, with the end of the log, if the process ends first or `within`
        seconds pass; the process is gone then.
        """
        if self.running:
            raise ServerFailed(f"{self.name} runs already as process {self.pid}")
        self._spawn()
        limit = time.monotonic() + within
        pause = 0.002
        try:
            while not ready():
                ended = self._ended()
                if ended:
                    raise self._failure(f"ended with {ended} before it was ready")
                if time.monotonic() > limit:
                    raise self._failure(f"was not ready within {within:g} s")
                time.sleep(pause)
                pause = min(pause * 1.5, 0.05)
        except BaseException:
            self.kill()
            raise

    def _spawn(self) -> None:
        account = self._account
        with self.log.open("ab") as output:
            try:
                self._process = subprocess.Popen(
                    self.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self._cwd,
                    env=self._env,
                    start_new_session=True,
                    user=account.uid if account else None,
                    group=account.gid if account else None,
                    extra_groups=[] if account else None,
                )
            except OSError as error:
                raise ServerFailed(f"{self.argv[0]} cannot be started: {error}") from error
        arguments = [self._crash_signal.name[3:], str(self._process.pid), *self._scratch]
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, "guard", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
        _running.add(self)

    def _ended(self) -> str | None:
        code = self._process.poll() if self._process else None
        if code is None:
            return None
        return signal.Signals(-code).name if code < 0 else f"exit code {code}"

    def _failure(self, what: str) -> ServerFailed:
        tail = self.tail()
        return ServerFailed(f"{self.name} {what}. The end of {self.log}:\n{tail or '(empty)'}")

    def tail(self, lines: int = 20) -> str:
        """The last `lines` lines of the log."""
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""
        return "\n".join(text.splitlines()[-lines:])

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process. Raises ServerFailed if it has ended."""
        if not self.running or self._process is None:
            raise ServerFailed(f"{self.name} is not running")
        self._process.send_signal(number)

    def pause(self) -> None:
        """Freeze the process (SIGSTOP): it keeps its connections and answers nothing."""
        self.send(signal.SIGSTOP)

    def resume(self) -> None:
        self.send(signal.SIGCONT)

    def stop(self, within: float = 10.0) -> None:
        """Ask the process to end, and kill it after `within` seconds. Harmless when it is gone."""
        self._end(self._stop_signal, within)

    def kill(self, within: float = 10.0) -> None:
        """End the process without a clean shutdown, as a crash would."""
        self._end(self._crash_signal, within)

    def _end(self, number: signal.Signals, within: float) -> None:
        process = self._process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(number)
            try:
                process.wait(within)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(within)
        self._process = None
        _running.discard(self)
        self._dismiss_guard()

    def _dismiss_guard(self) -> None:
        guard, self._guard = self._guard, None
        if guard is None:
            return
        with contextlib.suppress(BrokenPipeError):
            guard.communicate(b"done\n", timeout=10)


_running: weakref.WeakSet[ChildProcess] = weakref.WeakSet()


@atexit.register
def _stop_all() -> None:
    for child in list(_running):
        try:
            child.stop()
            for path in child._scratch:
                shutil.rmtree(path, ignore_errors=True)
        except Exception as error:
            print(f"riverbridge: {child.name} was not stopped: {error}", file=sys.stderr)
