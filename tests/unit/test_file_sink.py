"""The file sink's lines, and what it does when a file or a pipe takes only a part of them."""

from __future__ import annotations

import errno
import fcntl
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Unreachable,
)
from riverbridge.sinks.base import Message
from riverbridge.sinks.file import FileSink
from riverbridge.sinks.file_line import line_of

MakeSink = Callable[..., FileSink]


@pytest.fixture
def make_sink() -> Iterator[MakeSink]:
    sinks: list[FileSink] = []

    def make(path: Path, *, fsync: bool = False) -> FileSink:
        sinks.append(FileSink(path=str(path), fsync=fsync, delivery_timeout=5.0))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()


def send(sink: FileSink, *bodies: bytes, seconds: float = 5.0) -> list[Outcome]:
    messages = [Message(str(n), body) for n, body in enumerate(bodies)]
    return sink.deliver(messages, time.monotonic() + seconds)


def kinds(outcomes: Sequence[Outcome]) -> list[type[Outcome]]:
    return [type(outcome) for outcome in outcomes]


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"n": 1.0,  "n": 1e999}', b'"body":{"n": 1.0,  "n": 1e999}'),
        (b"null", b'"body":null'),
        ('"\u2028é"'.encode(), '"body":"\u2028é"'.encode()),
        (b"[" * 5000 + b"]" * 5000, None),
        (b"{}\n", b'"body_base64":"e30K"'),
        (b" {}", b'"body_base64":"IHt9"'),
        (b'{\r"a":1}', b'"body_base64":"ew0iYSI6MX0="'),
        (b'{"a":1,}', b'"body_base64":"eyJhIjoxLH0="'),
        (b'"\xff"', b'"body_base64":"Iv8i"'),
        (b"", b'"body_base64":""'),
    ],
)
def test_json_on_one_line_stands_in_the_line_as_it_is(body: bytes, wanted: bytes | None) -> None:
    line = line_of(Message("1", body))
    assert isinstance(line, bytes)
    if wanted is not None:
        assert line == b'{"id":"1",' + wanted + b"}\n"
    assert line.count(b"\n") == 1


def test_a_line_has_what_the_message_has() -> None:
    headers = (("ce_id", "db:1"), ("twice", "1"), ("twice", "2"))
    at = datetime(2021, 3, 4, 5, 6, 7, tzinfo=UTC)
    assert line_of(Message("db:1", b"{}", key="k", headers=headers, timestamp=at)) == (
        b'{"id":"db:1","timestamp":"2021-03-04T05:06:07Z","key":"k",'
        b'"headers":{"ce_id":"db:1","twice":["1","2"]},"body":{}}\n'
    )
    assert line_of(Message("1", None)) == b'{"id":"1"}\n'
    assert isinstance(line_of(Message("1", b"{}", key="\udc00")), Permanent)


@contextmanager
def limited(size: int) -> Iterator[None]:
    """Lets files grow to so many bytes and no further, as a disk that is full at that point.

    It holds for the whole process: only for as long as the sink writes, as pytest's own output may
    go to a file that is longer.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("fsync", [False, True])
def test_a_line_that_did_not_fit_is_taken_away_again(
    tmp_path: Path, make_sink: MakeSink, fsync: bool
) -> None:
    path = tmp_path / "jobs"
    sink = make_sink(path, fsync=fsync)
    assert send(sink, b"1") == [Delivered()]
    size = path.stat().st_size
    with limited(size * 3 + 5):
        outcomes = send(sink, b"2", b"3", b"4", b"5")
    assert kinds(outcomes) == [Delivered, Delivered, Unreachable, Unreachable]
    assert isinstance(outcomes[2], Unreachable)
    assert str(path) in outcomes[2].error
    assert "too large" in outcomes[2].error
    assert path.stat().st_size == size * 3
    assert send(sink, b"6") == [Delivered()]
    bodies = [line.rpartition(b":")[2] for line in path.read_bytes().splitlines()]
    assert bodies == [b"1}", b"2}", b"3}", b"6}"]


def test_what_the_disk_does_not_confirm_is_not_delivered(
    tmp_path: Path, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, path = make_sink(tmp_path / "jobs", fsync=True), tmp_path / "jobs"
    assert send(sink, b"1") == [Delivered()]
    good = path.read_bytes()

    def fail(descriptor: int) -> None:
        assert path.read_bytes() != good, "the lines are to be written by now"
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)
    assert kinds(send(sink, b"2", b"3")) == [Unreachable, Unreachable]
    assert path.read_bytes() == good
    monkeypatch.undo()
    assert send(sink, b"4") == [Delivered()]


@pytest.mark.parametrize("how", ["moved", "removed", "replaced"])
def test_a_file_that_is_rotated_is_made_anew(tmp_path: Path, make_sink: MakeSink, how: str) -> None:
    path, old = tmp_path / "jobs", tmp_path / "jobs.1"
    sink = make_sink(path)
    assert send(sink, b"1") == [Delivered()]
    first = path.read_bytes()
    os.link(path, old)
    path.unlink()
    if how == "replaced":
        path.write_bytes(b"")
    elif how == "removed":
        old.unlink()
    assert send(sink, b"2") == [Delivered()]
    assert path.read_bytes() == first.replace(b":1}", b":2}")
    if how != "removed":
        assert old.read_bytes() == first


def test_copied_and_truncated_it_begins_at_the_start(tmp_path: Path, make_sink: MakeSink) -> None:
    path = tmp_path / "jobs"
    sink = make_sink(path)
    assert send(sink, b"1") == [Delivered()]
    size = path.stat().st_size
    os.truncate(path, 0)
    assert send(sink, b"2") == [Delivered()]
    assert path.stat().st_size == size
    assert path.stat().st_mode & 0o007 == 0


def test_another_process_that_holds_the_lock_is_waited_for(
    tmp_path: Path, make_sink: MakeSink
) -> None:
    path = tmp_path / "jobs"
    sink = make_sink(path)
    with path.open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        begun = time.monotonic()
        assert kinds(send(sink, b"1", seconds=0.2)) == [Unreachable]
        assert 0.15 < time.monotonic() - begun < 1.0
        assert path.read_bytes() == b""
    assert send(sink, b"2") == [Delivered()]


def test_a_line_cut_short_in_a_pipe_is_ended_before_the_next(
    tmp_path: Path, make_sink: MakeSink
) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    sink = make_sink(path)
    assert kinds(send(sink, b"0", seconds=0.2)) == [Unreachable]  # nobody reads it
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        capacity = fcntl.fcntl(reader, fcntl.F_SETPIPE_SZ, 4096)
        long = b'"' + b"x" * capacity + b'"'
        assert kinds(send(sink, b"1", long, b"2", seconds=0.2)) == [
            Delivered,
            Unreachable,
            Unreachable,
        ]
        seen = os.read(reader, capacity)
        assert send(sink, b"3") == [Delivered()]
        seen += os.read(reader, capacity)
    finally:
        os.close(reader)
    first, torn, last = seen.splitlines()
    assert first == b'{"id":"0","body":1}'
    assert torn.startswith(b'{"id":"1","body":"xxx')
    assert last == b'{"id":"0","body":3}'
    assert kinds(send(sink, b"4", seconds=0.2)) == [Unreachable]  # its reader has gone


def test_with_nothing_to_write_no_file_is_made(tmp_path: Path, make_sink: MakeSink) -> None:
    sink = make_sink(tmp_path / "jobs")
    [outcome] = sink.deliver([Message("\udc00", b"1")], time.monotonic() + 5)
    assert isinstance(outcome, Permanent)
    assert not (tmp_path / "jobs").exists()


def test_a_path_that_is_no_file_is_misconfigured(tmp_path: Path, make_sink: MakeSink) -> None:
    [outcome] = send(make_sink(tmp_path), b"1")
    assert isinstance(outcome, Misconfigured)
    assert outcome.error == f"{tmp_path}: Is a directory"


@pytest.mark.parametrize("code", [errno.EACCES, errno.EPERM, errno.EROFS], ids=os.strerror)
def test_no_right_to_write_is_misconfigured(
    tmp_path: Path, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    path = tmp_path / "jobs"

    def refused(*args: object) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refused)
        assert send(make_sink(path), b"1") == [Misconfigured(f"{path}: {os.strerror(code)}")]
    assert send(make_sink(path), b"1") == [Delivered()]


PROGRAM = """
import time
from riverbridge.sinks.base import Message
from riverbridge.sinks.file import FileSink

sink = FileSink(path="-")
messages = [Message(str(n), b"{}") for n in range(1000)]
assert {type(o).__name__ for o in sink.deliver(messages, time.monotonic() + 5)} == {"Delivered"}
sink.close()
print("still open")
"""


def test_a_dash_is_standard_output_and_stays_open() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True
    )
    lines = done.stdout.splitlines()
    assert lines[0] == '{"id":"0","body":{}}'
    assert lines[999:] == ['{"id":"999","body":{}}', "still open"]
