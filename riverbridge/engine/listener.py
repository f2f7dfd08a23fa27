"""Hears River's announcements. They are hints: whatever is missed, polling finds (contract 5)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import cast

import msgspec
import psycopg
from psycopg import sql

from riverbridge.engine.waking import Waker
from riverbridge.store.database import Connect, Connection, cut, lost, open_connection

log = logging.getLogger(__name__)

PING = 5.0
"""Seconds of silence after which the connection is tried."""


class Control(msgspec.Struct):
    """An order on `river_control` (contract 5.2): `cancel`, `pause`, `resume` or another."""

    queue: str = ""
    action: str = ""
    job_id: int = 0


class Listener:
    """One thread, one direct connection; wakes the wakers and obeys pause and resume."""

    def __init__(
        self,
        *,
        connect: Connect,
        schema: str | None,
        wakers: list[Waker],
        leadership: Callable[[str], None] | None = None,
        control: Callable[[Control], None] | None = None,
    ) -> None:
        """connect: must not go through a transaction pooler. leadership: gets its payloads.
        control: gets every order, after pause and resume were obeyed.
        """
        self._connect = connect
        self._schema = schema
        self._wakers = wakers
        self._leadership = leadership
        self._control = control
        self._connection: Connection | None = None
        self.progress = time.monotonic()

    def run(self, stop: threading.Event) -> None:
        """Listen until `stop`, connecting again as often as it takes."""
        while not stop.is_set():
            connection = open_connection(self._connect, stop)
            if connection is None:
                return
            self._connection = connection
            try:
                with connection:
                    self._listen(connection, stop)
            except psycopg.Error as error:
                if not lost(connection):
                    log.error("listening failed, starting over: %s", str(error).strip())
                else:
                    log.warning("lost the listening connection: %s", str(error).strip())
                stop.wait(0.5)

    def unstick(self) -> None:
        """End the connection under a listener that makes no progress: its server may hang."""
        if self._connection is not None:
            cut(self._connection)

    def _listen(self, connection: Connection, stop: threading.Event) -> None:
        schema = self._schema
        if not schema:
            row = connection.execute("SELECT current_schema()").fetchone()
            schema = cast(str, row[0]) if row and row[0] else ""
        for topic in ("river_insert", "river_control", "river_leadership"):
            channel = f"{schema}.{topic}" if schema else topic
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        for waker in self._wakers:
            waker.look_now()  # what was announced before we listened
        heard = time.monotonic()
        while not stop.is_set():
            self.progress = time.monotonic()
            for notice in connection.notifies(timeout=0.5):
                heard = time.monotonic()
                self._handle(notice.channel.rpartition(".")[2], notice.payload)
            if time.monotonic() - heard > PING:
                connection.execute("SELECT 1")
                heard = time.monotonic()

    def _handle(self, topic: str, payload: str) -> None:
        if topic == "river_leadership":
            if self._leadership is not None:
                self._leadership(payload)
            return
        try:
            told = msgspec.json.decode(payload, type=Control)
        except (msgspec.MsgspecError, RecursionError):
            log.debug("a payload on %s is not of River's form and is ignored", topic)
            return
        for waker in self._wakers:
            if topic == "river_insert":
                waker.notify(told.queue)
            elif told.action == "pause":
                waker.pause(told.queue)
            elif told.action == "resume":
                waker.resume(told.queue)
        if topic == "river_control" and self._control is not None:
            self._control(told)
