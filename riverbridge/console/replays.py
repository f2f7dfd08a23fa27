"""Runs the replays that were started in this console."""

from __future__ import annotations

import logging
import threading
import time

import psycopg

from riverbridge.bridge.replay import SILENCE, Replayer
from riverbridge.console.database import Database
from riverbridge.console.frame import Refused
from riverbridge.errors import ReplayError

log = logging.getLogger(__name__)

MOST = 4
"""Replays that run at once."""

TRIES = 5
"""How often a replay is gone on with whose connection was lost."""

KEPT = 100
"""Forms whose replays are remembered."""

CLOSE = 5.0
"""Seconds in which what runs ends its batch, at the end."""


class Replays:
    """Each in a thread. One that is stopped between two batches stays open: it is gone on with from
    the console, or by `riverbridge replay resume`."""

    def __init__(self) -> None:
        self.starting = threading.Lock()
        """Held while one is started, so that a form that is sent twice starts one."""
        self.started: dict[str, int] = {}
        """By the keys of forms, what they started."""
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def remember(self, key: str, id: int) -> None:
        """This form has started this replay; the caller holds `starting`."""
        self.started[key] = id
        for old in list(self.started)[:-KEPT]:
            del self.started[old]

    def check_room(self) -> None:
        """Raises Refused where no more may run; the caller holds `starting`."""
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        if len(self._threads) >= MOST:
            raise Refused(409, f"{MOST} replays run in this console: wait for one, or cancel one")

    def run(self, database: Database, id: int, name: str) -> None:
        """Run it, in a thread, to its end; the caller holds `starting`. name: who began it."""
        thread = threading.Thread(
            target=self._run, args=(database, id, name), name=f"replay-{id}", daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def close(self) -> None:
        """Stop what runs."""
        self._stop.set()
        until = time.monotonic() + CLOSE
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))

    def _run(self, database: Database, id: int, name: str) -> None:
        for _ in range(TRIES):
            try:
                with database.open() as connection:
                    replayer = Replayer(connection, database.schema, name=name)
                    for step in replayer.run(id, self._stop):
                        for skip in step.skips:
                            log.info("replay %d skips job %d: %s", id, skip.job_id, skip.reason)
                return
            except ReplayError as error:  # it was cancelled, or is run by somebody else
                log.info("%s", error)
                return
            except psycopg.Error as error:
                log.warning("replay %d was interrupted: %s", id, error)
            if self._stop.wait(SILENCE + 1.0):  # until it may be claimed anew
                return
