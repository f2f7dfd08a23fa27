"""CPU time and memory of processes, from Linux's /proc."""

from __future__ import annotations

import os
import re
from collections.abc import Collection
from pathlib import Path

from riverbridge.errors import PartMissing

PROC = Path("/proc")


def require_proc() -> None:
    """Raise PartMissing where there is no /proc."""
    if not (PROC / "self/stat").exists():
        raise PartMissing("the bench reads CPU times from /proc: it needs Linux")


def cpu_seconds(pid: int, *, with_reaped: bool = False) -> float:
    """CPU time of a process, all threads; 0 if it is gone. with_reaped: and of its dead children"""
    try:
        text = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    fields = text.rpartition(")")[2].split()  # from field 3 on: utime is 14, cutime 16
    ticks = sum(int(field) for field in fields[11 : 15 if with_reaped else 13])
    return ticks / os.sysconf("SC_CLK_TCK")


def server_cpu_seconds(postmaster: int, without: Collection[int] = ()) -> float:
    """CPU time of a Postgres server: its processes, dead ones too, but not those in `without`."""
    living = sum(cpu_seconds(pid) for pid in _children(postmaster) if pid not in without)
    return living + cpu_seconds(postmaster, with_reaped=True)


def peak_mib(pid: int) -> float:
    """The most memory the process has held resident, in MiB."""
    found = re.search(r"^VmHWM:\s*(\d+) kB", (PROC / str(pid) / "status").read_text(), re.MULTILINE)
    return int(found[1]) / 1024 if found else 0.0


def _children(pid: int) -> list[int]:
    return [int(child) for child in (PROC / f"{pid}/task/{pid}/children").read_text().split()]
