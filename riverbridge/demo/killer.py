"""Kills the bridge with SIGKILL while deliveries are out, and knows how many were."""

from __future__ import annotations

import random
import time

from riverbridge.demo.report import QUEUE
from riverbridge.demo.scene import Scene
from riverbridge.sql import statement
from riverbridge.store.database import Connection

LOOK = 0.1
"""Seconds one step looks for deliveries."""

STILL = 2.0
"""Seconds the server may take to finish what a frozen bridge last asked for."""


class Killer:
    """Freezes the bridge, counts what it holds, and kills it only if that is something.

    Nothing moves between the count and the death, so the count is exact.
    """

    def __init__(self, scene: Scene, connection: Connection) -> None:
        self._scene = scene
        self._connection = connection
        self.kills = 0
        self.in_flight = 0

    def strike(self) -> bool:
        """Look for up to `LOOK` seconds for deliveries that are out, and kill; whether it did."""
        until = time.monotonic() + LOOK
        while time.monotonic() < until:
            if self._one("demo/busy", owner=self._scene.owner):
                # Not always at the same point of a transaction.
                time.sleep(random.uniform(0.0, 0.01))  # noqa: S311 - no secret
                if self._kill():
                    return True
            time.sleep(0.003)
        return False

    def _kill(self) -> bool:
        self._scene.freeze()
        try:
            out = self._count()
        except BaseException:
            self._scene.thaw()
            raise
        if out == 0:
            self._scene.thaw()
            return False
        self._scene.kill_bridge()
        self.kills += 1
        self.in_flight += out
        self._scene.start_bridge()
        return True

    def _count(self) -> int:
        """The jobs the frozen bridge has claimed and not settled; 0 also if it cannot be told."""
        until = time.monotonic() + STILL
        while self._one("demo/active", owner=self._scene.owner):
            if time.monotonic() > until:
                return 0
            time.sleep(0.001)
        with self._connection.transaction(force_rollback=True):
            return self._one("demo/in_flight", owner=self._scene.owner, queue=QUEUE)

    def _one(self, name: str, **parameters: str) -> int:
        row = self._connection.execute(statement(name), parameters).fetchone()
        assert row is not None  # each of them gives one row
        return int(row[0])
