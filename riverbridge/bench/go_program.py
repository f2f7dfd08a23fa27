"""River's own program, which inserts with River's Go client. It is found or built, not shipped."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from riverbridge.bench.ground import BenchFailed
from riverbridge.errors import PartMissing

SOURCE = Path(__file__).parents[2] / "tests/interop/worker"
"""Where a source checkout has it."""

DOWNLOAD_LIMIT, BUILD_LIMIT = 300, 500
"""Seconds."""


def build(target: Path, source: Path = SOURCE, package: str = ".") -> Path:
    """Build `package`, as the Go module in `source` has it, as `target`, and return that.

    Raises PartMissing without the source, without Go, or where River's modules cannot be had, and
    BenchFailed if it does not compile.
    """
    if not (source / "go.mod").exists():
        raise PartMissing(
            "River's Go program is not installed with riverbridge: run from a source checkout, or "
            "build tests/interop/worker of one and give the program with --river-go"
        )
    go = shutil.which("go")
    if go is None:
        raise PartMissing("Go is not on the PATH, and River's own client is in Go: install 1.25+")
    had = _run([go, "mod", "download"], source, DOWNLOAD_LIMIT)
    if had.returncode:
        raise PartMissing(f"River's Go modules could not be had: {had.stderr.strip()}")
    done = _run([go, "build", "-o", str(target), package], source, BUILD_LIMIT)
    if done.returncode:
        raise BenchFailed(f"{source} cannot be built: {done.stderr.strip()[-2000:]}")
    return target


def check(program: Path) -> Path:
    """A program that was built before. Raises PartMissing if it cannot be run."""
    if not os.access(program, os.X_OK) or program.is_dir():
        raise PartMissing(f"{program} is no program: build tests/interop/worker with `go build`")
    return program.resolve()


def _run(command: list[str], source: Path, limit: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - go, in a directory of ours
        command, cwd=source, capture_output=True, text=True, timeout=limit, check=False
    )
