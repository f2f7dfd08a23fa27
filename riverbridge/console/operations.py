"""Carries out operations on all jobs that match a search, a batch after the other.

Their state is in the database. So any process shows it, and any process that serves the console
goes on with one whose own has ended.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Sequence
from typing import TypeVar

import psycopg

from riverbridge.console.database import Database
from riverbridge.console.ground import Ground
from riverbridge.store.audit import Record, audited
from riverbridge.store.exchange import Exchange
from riverbridge.store.operations import (
    Operation,
    Overtaken,
    operation_claim,
    operation_end,
    operation_step,
)

log = logging.getLogger(__name__)

T = TypeVar("T")

IDLE = 5.0
"""Seconds between two looks for what somebody else has left."""

GLANCE = 0.5
"""Seconds within which it ends, once asked to."""

PAUSE = 0.02
"""Seconds between two batches, which leave the database to others."""

STEP = 15.0
"""Seconds for one statement of a batch."""

TRIES = 5
"""Failures in a row after which an operation is given up."""


class Operator:
    """The loop. Wake it by `ground.wake` once an operation was started."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._name = f"console-{secrets.token_hex(4)}"
        self._failures: dict[tuple[str, int], int] = {}

    def run(self, stop: threading.Event) -> None:
        """For the supervisor: work until `stop`."""
        while not stop.is_set():
            busy = False
            for database in self._ground.databases.values():
                if not (self._ground.read_only or database.read_only):
                    busy = self._step(database) or busy
            if busy:
                stop.wait(PAUSE)
            else:
                self._wait(stop)

    def _wait(self, stop: threading.Event) -> None:
        until = time.monotonic() + IDLE
        while not stop.is_set() and time.monotonic() < until:
            if self._ground.wake.wait(GLANCE):
                self._ground.wake.clear()
                return

    def _step(self, database: Database) -> bool:
        """One batch; whether there may be more to do."""
        try:
            operation = database.change(operation_claim(runner=self._name, schema=database.schema))
        except psycopg.errors.UndefinedTable:
            return False  # a database where only River's own tables are
        except psycopg.Error as error:
            log.debug("cannot look for operations in %s: %s", database.name, error)
            return False
        if operation is None:
            return False
        try:
            self._carry_on(database, operation)
        except Overtaken:
            pass
        except Exception as error:
            self._failed(database, operation, error)
        else:
            self._failures.pop((database.name, operation.id), None)
        return True

    def _carry_on(self, database: Database, operation: Operation) -> None:
        step = operation_step(
            operation, words_in_args=not self._ground.redaction, schema=database.schema
        )
        database.change(_audited(database, operation, step), seconds=STEP)

    def _failed(self, database: Database, operation: Operation, error: Exception) -> None:
        key = (database.name, operation.id)
        self._failures[key] = failures = self._failures.get(key, 0) + 1
        log.warning("operation %d failed, try %d: %s", operation.id, failures, error)
        if failures < TRIES:
            return
        text = " ".join(str(error).split())[:500]
        ending = operation_end(operation.id, state="failed", error=text, schema=database.schema)
        database.change(_audited(database, operation, ending))
        del self._failures[key]


def _audited(
    database: Database, operation: Operation, exchange: Exchange[tuple[T, Sequence[Record]]]
) -> Exchange[T]:
    """In the name of the one who started the operation."""
    return audited(
        exchange,
        who=operation.started_by,
        role=operation.role,
        way=operation.way,
        schema=database.schema,
    )
