"""Writes orders, and their jobs in the same transaction; every sixth transaction rolls back."""

from __future__ import annotations

import random
import threading
import time
from collections import deque
from typing import NamedTuple

import msgspec
import psycopg

from riverbridge.demo.report import QUEUE, STORES, event_id
from riverbridge.sql import statement
from riverbridge.store.database import Connection, connector

ROLLED_BACK_EVERY = 6
"""Of so many transactions the first is rolled back."""

ANNOUNCE = 0.1
"""Seconds between announcements of new jobs, as River's clients keep it."""

CUSTOMERS = 500


class Order(NamedTuple):
    """One order as it is shown."""

    id: int
    customer: str
    amount: str
    committed: bool


class Writer:
    """One thread, one connection. The counts may be read by others at any time."""

    def __init__(self, dsn: str, *, jobs: int | None, rate: float, sizes: tuple[int, int]) -> None:
        """jobs: orders to commit in all, None for no end. rate: orders a second, 0 for no limit.
        sizes: the fewest and the most orders of a transaction."""
        self._connect = connector(dsn, application_name="orders")
        self._jobs = jobs
        self._rate = rate
        self._sizes = sizes
        self._limit = jobs
        self._changed = threading.Condition()
        self._stop = False
        self._announced = float("-inf")
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)
        self.inserted = 0
        self.rolled_back = 0
        self.recent: deque[Order] = deque(maxlen=8)
        self.error: str | None = None

    @property
    def done(self) -> bool:
        """Whether every order is committed."""
        return self._jobs is not None and self.inserted >= self._jobs

    def start(self) -> None:
        self._thread.start()

    def allow(self, orders: int) -> None:
        """Commit no more than `orders` for now, and never more than in all."""
        with self._changed:
            self._limit = orders if self._jobs is None else min(orders, self._jobs)
            self._changed.notify()

    def stop(self) -> None:
        """Finish the transaction that is open, and end."""
        with self._changed:
            self._stop = True
            self._changed.notify()
        if self._thread.ident is not None:
            self._thread.join(15.0)

    def _run(self) -> None:
        try:
            with self._connect() as connection:
                self._write(connection)
        except psycopg.Error as error:
            self.error = " ".join(str(error).split())

    def _write(self, connection: Connection) -> None:
        due = time.monotonic()
        number = 0
        while not self.done:
            room = self._wait(due)
            if room == 0:
                return
            size = min(random.randint(*self._sizes), room)  # noqa: S311 - no secret
            self._place(connection, size, commit=number % ROLLED_BACK_EVERY > 0)
            number += 1
            # Behind its time it hurries, but only for what a second holds.
            due = max(due, time.monotonic() - 1.0) + (size / self._rate if self._rate else 0.0)

    def _wait(self, due: float) -> int:
        """How many orders may be committed, once it is time for some; 0 at the end."""
        with self._changed:
            while not self._stop:
                room = self._sizes[1] if self._limit is None else self._limit - self.inserted
                early = due - time.monotonic()
                if room > 0 and early <= 0:
                    return room
                self._changed.wait(early if room > 0 else 1.0)
        return 0

    def _place(self, connection: Connection, size: int, *, commit: bool) -> None:
        customers = [f"c{random.randint(1, CUSTOMERS)}" for _ in range(size)]  # noqa: S311
        cents = [random.randint(100, 50_000) for _ in range(size)]  # noqa: S311
        with connection.transaction(force_rollback=not commit):
            placed = connection.execute(
                statement("demo/place"), {"customers": customers, "cents": cents}
            ).fetchall()
            args, metadata = [], []
            for id_, customer, amount in placed:
                store = STORES[id_ % len(STORES)]
                order = {"order_id": id_, "customer_id": customer, "amount": amount, "store": store}
                args.append(msgspec.json.encode(order).decode())
                metadata.append(msgspec.json.encode({"event_id": event_id(id_)}).decode())
            connection.execute(
                statement("demo/enqueue"), {"queue": QUEUE, "args": args, "metadata": metadata}
            )
            if time.monotonic() - self._announced >= ANNOUNCE:
                self._announced = time.monotonic()
                connection.execute(statement("notify/insert"), {"schema": None, "queues": [QUEUE]})
        if commit:
            self.inserted += size
        else:
            self.rolled_back += size
        self.recent.extend(
            Order(id_, customer, amount, commit) for id_, customer, amount in placed[-2:]
        )
