"""The demo as a user runs it: a process of its own, on servers of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from riverbridge.embedded.broker import find_tansu
from riverbridge.embedded.postgres import find_postgres
from riverbridge.embedded.sqs import find_ministack
from tests.support.parts import part, required
from tests.support.wait import eventually

pytestmark = [
    pytest.mark.postgres,
    pytest.mark.kafka,
    pytest.mark.sqs,
    pytest.mark.timeout(240),
    pytest.mark.usefixtures("parts"),
]
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks into /proc")
ROOT = Path(__file__).parents[2]
KEYS = [
    "inserted", "rolled_back", "delivered", "lost", "duplicates", "kills", "in_flight_at_kills",
    "round_trip", "seconds",
]  # fmt: skip


@pytest.fixture(scope="module")
def parts() -> None:
    finders: dict[str, Callable[[], object]] = {
        "postgres": find_postgres,
        "kafka": find_tansu,
        "sqs": find_ministack,
    }
    for name, find in finders.items():
        with part(name):
            find()


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "riverbridge", "demo", *arguments]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=200,
    )


def without_go() -> str:
    """The PATH, without the directories that have a `go`."""
    places = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(place for place in places if not (Path(place) / "go").exists())


def result_of(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    result = json.loads(line)
    assert isinstance(result, dict)
    return result


def test_once_delivers_every_committed_order_and_none_that_was_rolled_back() -> None:
    done = run("--once", "--jobs", "300", "--json", PATH=without_go())
    assert "No worker in Go (Go is not on the PATH)" in done.stderr
    result = result_of(done)
    assert list(result) == KEYS
    assert result["inserted"] == 300
    assert result["rolled_back"] > 0
    assert result["delivered"] == {"kafka": 300, "sqs": 300}
    assert result["lost"] == result["duplicates"] == 0
    assert result["kills"] == result["in_flight_at_kills"] == 0
    worked_by = {"python": 300, "go": 0}
    assert result["round_trip"] == {
        "jobs": 300, "worked": 300, "worked_by": worked_by, "lost": 0, "twice": 0
    }  # fmt: skip
    assert result["seconds"] > 0


def test_nothing_is_lost_when_the_bridge_is_killed_with_deliveries_out() -> None:
    done = run("--once", "--jobs", "2000", "--kill", "--json")
    result = result_of(done)
    assert result["inserted"] == 2000
    assert result["delivered"] == {"kafka": 2000, "sqs": 2000}
    assert result["lost"] == 0
    # What was sent twice is one job all the same, and a worker in Go takes every other order's.
    in_go = result["round_trip"].pop("worked_by")["go"]
    assert result["round_trip"] == {"jobs": 2000, "worked": 2000, "lost": 0, "twice": 0}
    assert (in_go > 500) == ("No worker in Go" not in done.stderr)
    assert in_go or "go" not in required()
    assert result["kills"] == 3
    assert result["in_flight_at_kills"] >= 3
    # Only what was out can come twice, to each sink: at each kill at most a batch of 50 in each
    # lane. It is counted just before, and then a lane may have taken another batch.
    out = 3 * 2 * 50
    assert result["in_flight_at_kills"] <= out
    assert result["duplicates"] <= 2 * out


@pytest.mark.parametrize(
    ("variable", "said"),
    [("RIVERBRIDGE_MINISTACK_BIN", "ministack"), ("RIVERBRIDGE_PG_BIN", "postgres")],
)
def test_a_missing_part_is_named(variable: str, said: str, tmp_path: Path) -> None:
    done = run("--once", "--jobs", "1", "--json", **{variable: str(tmp_path / "none")})
    assert done.returncode == 1
    assert done.stdout == ""
    last = done.stderr.splitlines()[-1]
    assert last.startswith(f"error: {variable}")
    assert said in last


@pytest.mark.parametrize(
    "arguments", [("--jobs", "5"), ("--json",), ("--once", "--kill", "--jobs", "99")]
)
def test_options_that_do_not_go_together_are_refused(arguments: Sequence[str]) -> None:
    assert run(*arguments).returncode == 2


class Family:
    """The descendants of a process, and the temporary directories they work in."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self.members: dict[int, str] = {}
        self.directories: set[Path] = set()

    def look(self) -> int:
        """Remember who is there now; how many were ever seen."""
        parents = dict(filter(None, map(_stat, Path("/proc").glob("[0-9]*"))))
        found = {self._pid}
        while True:
            more = {pid for pid, (parent, _) in parents.items() if parent in found} - found
            if not more:
                break
            found |= more
        for pid in found - {self._pid}:
            self.members[pid] = parents[pid][1]
            try:
                directory = Path(os.readlink(f"/proc/{pid}/cwd"))
            except OSError:
                continue
            self.directories |= {
                place
                for place in (directory, *directory.parents)
                if place.name.startswith("riverbridge-")
            }
        return len(self.members)

    def environment(self, name: str) -> str | None:
        """The value of a variable in the first member that has it."""
        for pid in self.members:
            try:
                text = Path(f"/proc/{pid}/environ").read_bytes()
            except OSError:
                continue
            for entry in text.split(b"\0"):
                if entry.startswith(f"{name}=".encode()):
                    return entry.partition(b"=")[2].decode()
        return None

    def is_gone(self) -> bool:
        alive = [
            pid
            for pid, born in self.members.items()
            if (stat := _stat(Path(f"/proc/{pid}"))) is not None and stat[1][1] == born
        ]
        assert alive == []
        assert [place for place in self.directories if place.exists()] == []
        return True


def _stat(process: Path) -> tuple[int, tuple[int, str]] | None:
    """Its id, its parent's, and when it was born; None if it is gone or only waits to be reaped."""
    try:
        fields = (process / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else (int(process.name), (int(fields[1]), fields[19]))


@contextmanager
def live(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], Family]]:
    process = subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        try:
            yield process, Family(process.pid)
        finally:
            process.kill()


def delivering(process: subprocess.Popen[str], family: Family) -> None:
    """Wait until something was read back."""
    assert process.stdout is not None
    for line in process.stdout:
        if "delivering" in line and " 0 from Kafka" not in line:
            break
    else:
        pytest.fail(f"it ended with {process.wait()}")
    # Three servers, bridge and reader, and a guard for each of the five.
    assert family.look() >= 10
    assert len(family.directories) == 4


@linux
def test_ctrl_c_ends_it_compares_and_leaves_nothing() -> None:
    with live() as (process, family):
        delivering(process, family)
        os.killpg(process.pid, signal.SIGINT)
        shown, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert "Lost: 0." in shown.splitlines()[-1]
        eventually(family.is_gone)


@linux
def test_an_order_without_its_job_fails_the_run() -> None:
    with live() as (process, family):
        delivering(process, family)
        dsn = family.environment("DATABASE_URL")
        assert dsn is not None
        with psycopg.connect(dsn, connect_timeout=10) as connection:
            connection.execute("INSERT INTO orders (customer_id, amount) VALUES ('c1', 1)")
        process.send_signal(signal.SIGINT)
        shown, errors = process.communicate(timeout=60)
        assert process.returncode == 1
        assert "Lost: 2." in shown.splitlines()[-1]
        assert "error: 2 committed orders did not arrive" in errors


@linux
@pytest.mark.parametrize("arguments", [(), ("--once", "--jobs", "100000", "--rate", "100")])
def test_sigterm_leaves_nothing(arguments: Sequence[str]) -> None:
    with live(*arguments) as (process, family):
        delivering(process, family)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        assert process.returncode == 143
        eventually(family.is_gone)


@linux
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_it_starts_leaves_nothing(number: signal.Signals) -> None:
    with live() as (process, family):
        eventually(family.look, within=30)
        os.killpg(process.pid, number)  # as a terminal does: whatever it runs now gets it too
        while process.poll() is None:
            family.look()
        assert process.returncode == 128 + number
        eventually(family.is_gone)


@linux
def test_nothing_survives_sigkill() -> None:
    with live("--kill") as (process, family):
        delivering(process, family)
        process.kill()
        process.communicate(timeout=60)
        eventually(family.is_gone, within=20)
