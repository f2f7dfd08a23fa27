"""The file sink does what every sink has to do: on a file, and on a pipe as standard output is."""

from __future__ import annotations

import fcntl
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest
from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.json import decode

from riverbridge.sinks.base import Sink
from riverbridge.sinks.file import FileSink
from riverbridge.testing.conformance import SinkConformance
from riverbridge.testing.harness import Capability, Received, SinkHarness


class Line(Struct):
    """A line as its reader has it."""

    id: str
    key: str | None = None
    headers: dict[str, str | list[str]] = {}
    body: Raw | UnsetType = UNSET
    body_base64: bytes | UnsetType = UNSET

    def received(self) -> Received:
        headers = [
            (name, value)
            for name, given in self.headers.items()
            for value in ([given] if isinstance(given, str) else given)
        ]
        body = None if self.body is UNSET else bytes(self.body)
        if self.body_base64 is not UNSET:
            body = self.body_base64
        return Received(self.id, body, self.key, tuple(headers))


def read(data: bytes) -> list[Received]:
    """What whole lines of JSON hold; whatever is no such line raises."""
    assert data[-1:] in (b"", b"\n")
    return [decode(line, type=Line).received() for line in data.split(b"\n")[:-1] if line.strip()]


PAGE = 4096
"""Bytes, the least that a pipe holds."""

LACKS: dict[Capability, str] = {
    "size limit": "a file takes lines of any length",
    "credentials": "a file system asks for none",
}


class FileHarness(SinkHarness):
    """A file; in an outage, its disk is full."""

    lacks: ClassVar[Mapping[Capability, str]] = LACKS | {
        "silence": "a call that writes to a regular file cannot be interrupted",
    }

    def __init__(self, directory: Path) -> None:
        self._path = directory / "jobs.jsonl"
        self._aside = directory / "aside"

    def open(self, delivery_timeout: float) -> Sink:
        return FileSink(path=str(self._path), fsync=True, delivery_timeout=delivery_timeout)

    def received(self) -> Sequence[Received]:
        return read(self._path.read_bytes()) if self._path.is_file() else []

    def misdirected(self, delivery_timeout: float) -> tuple[Sink, str]:
        missing = self._path.parent / "no" / "such"
        return FileSink(path=str(missing), delivery_timeout=delivery_timeout), ""

    def cut(self) -> None:
        self._path.touch()
        self._path.rename(self._aside)
        self._path.symlink_to("/dev/full")

    def mend(self) -> None:
        if self._aside.exists():
            self._path.unlink()
            self._aside.rename(self._path)


class TestFile(SinkConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> SinkHarness:
        return FileHarness(tmp_path)


class PipeHarness(SinkHarness):
    """A named pipe, which takes a page until its reader goes on."""

    lacks: ClassVar[Mapping[Capability, str]] = LACKS

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._path = directory / "pipe"
        os.mkfifo(self._path)
        self._got = b""
        self._lock = threading.Lock()
        self._reader: int | None = None
        self._mute = False
        self.mend()

    def open(self, delivery_timeout: float) -> Sink:
        return FileSink(path=str(self._path), delivery_timeout=delivery_timeout)

    def received(self) -> Sequence[Received]:
        return read(self._got[: self._got.rfind(b"\n") + 1])

    def misdirected(self, delivery_timeout: float) -> tuple[Sink, str]:
        return FileSink(path=str(self._directory), delivery_timeout=delivery_timeout), ""

    def cut(self) -> None:
        """The reader goes; what it has not read yet stays in the pipe."""
        with self._lock:
            assert self._reader is not None
            os.close(self._reader)
            self._reader = None

    def hang(self) -> None:
        """The pipe is full, and nobody reads it."""
        with self._lock:
            assert self._reader is not None
            self._drain()
            self._mute = True
            fcntl.fcntl(self._reader, fcntl.F_SETPIPE_SZ, PAGE)
            writer = os.open(self._path, os.O_WRONLY | os.O_NONBLOCK)
            os.write(writer, b" " * (PAGE - 1) + b"\n")
            os.close(writer)

    def mend(self) -> None:
        with self._lock:
            self._mute = False
            if self._reader is None:
                self._reader = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)

    def _drain(self) -> None:
        with suppress(BlockingIOError):
            while self._reader and not self._mute and (data := os.read(self._reader, 65536)):
                self._got += data

    def read_on(self, ended: threading.Event) -> None:
        while not ended.wait(0.002):
            with self._lock:
                self._drain()
        if self._reader is not None:
            os.close(self._reader)


class TestPipe(SinkConformance):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[SinkHarness]:
        harness, ended = PipeHarness(tmp_path), threading.Event()
        reader = threading.Thread(target=harness.read_on, args=(ended,))
        reader.start()
        yield harness
        ended.set()
        reader.join(5)
