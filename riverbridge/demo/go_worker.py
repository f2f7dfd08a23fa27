"""The demo's worker in Go: River's own client, in the small program under `go/`. It is built where
Go is installed, and kept."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

from riverbridge.embedded.cache import cache_home
from riverbridge.embedded.process import ChildProcess

SOURCE = Path(__file__).parent / "go"
LIMIT = 120.0
"""Seconds that building may take. The first time Go downloads River and compiles all of it."""


class NotBuilt(Exception):
    """The program is not to be had; says why, in a line."""


def find_worker(
    log: Path, stopped: Callable[[], bool], say: Callable[[str], None], limit: float = LIMIT
) -> Path:
    """The program: kept from before, or built now, which ends early once `stopped()` is true.

    log: where Go's messages go. Raises NotBuilt.
    """
    go = shutil.which("go")
    if go is None:
        raise NotBuilt("Go is not on the PATH")
    sources = [SOURCE / name for name in ("go.mod", "go.sum", "main.go")]
    try:
        digest = sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()
        kept = cache_home() / f"demo-go-{os.uname().machine}-{digest[:16]}"
        if os.access(kept, os.X_OK):
            return kept
        say(f"Building a worker in Go (at most {limit:.0f} s, this first time)")
        kept.parent.mkdir(parents=True, exist_ok=True)
        # Made aside and renamed: one that was cut short leaves nothing that looks complete.
        with tempfile.TemporaryDirectory(prefix="making-", dir=kept.parent) as scratch:
            made = Path(scratch) / "worker"
            _build(go, made, log, stopped, limit)
            made.rename(kept)
    except OSError as error:
        raise NotBuilt(str(error)) from error
    return kept


def _build(go: str, made: Path, log: Path, stopped: Callable[[], bool], limit: float) -> None:
    # With the user's own settings: where Go keeps modules, and from where it gets them.
    building = ChildProcess(
        [go, "build", "-buildvcs=false", "-o", made, "."],
        log=log, cwd=SOURCE, env=os.environ | {"GOWORK": "off"}, scratch=[made.parent],
        stop_signal=signal.SIGINT,  # on which Go cleans up
    )  # fmt: skip
    until = time.monotonic() + limit
    building.start(lambda: True)
    try:
        while building.running:
            if stopped():
                raise NotBuilt("it was interrupted")
            if time.monotonic() > until:
                raise NotBuilt(
                    f"it took longer than {limit:.0f} s; Go goes on from there next time"
                )
            time.sleep(0.05)
    finally:
        building.stop()
    if not made.exists():
        said = building.tail().strip().splitlines()
        raise NotBuilt(said[-1] if said else "Go said nothing")
