"""Where the servers of the tests keep their files: in memory, where the machine has enough.

On a disk they cost a third more of the tests' time: each database is some three hundred files, and
ext4 takes its time to make files where others have just been removed.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

ROOM = 8 << 30
"""Bytes that must be free. Containers often have 64 MB there."""


def keep_files_in_memory(place: Path = Path("/dev/shm"), room: int = ROOM) -> bool:
    """Point TMPDIR there, for this process and those it starts, and say whether.

    Not where TMPDIR is given, and not where programs may not be started: the account that Postgres
    runs as may need a copy of them. What `tmp_path` gives stays on the disk: pytest keeps it.
    """
    if "TMPDIR" in os.environ or not place.is_dir():
        return False
    found = os.statvfs(place)
    if found.f_bavail * found.f_frsize < room or found.f_flag & os.ST_NOEXEC:
        return False
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
    os.environ["TMPDIR"] = str(place)
    tempfile.tempdir = None
    return True
