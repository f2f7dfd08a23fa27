"""Messages as jobs of another River database: one job for each event.

A batch is one transaction. Its rows are unique by the event's id for as long as the receiving River
keeps them, so what is sent again, because an answer was lost, finds its row there and is delivered.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence

import psycopg

from riverbridge.client.announcing import Announcements
from riverbridge.errors import ConfigurationError
from riverbridge.model.names import check_schema_name
from riverbridge.model.options import MAX_ATTEMPTS_DEFAULT, NewJob
from riverbridge.model.outcome import Delivered, Outcome, Retry
from riverbridge.sinks.base import Message
from riverbridge.sinks.river_link import LeftOut, Link, Stage, TooLate, unanswered
from riverbridge.sinks.river_row import row_of
from riverbridge.sinks.threads import Threads
from riverbridge.store.database import connector
from riverbridge.store.dsn import parse_dsn

log = logging.getLogger(__name__)

DELIVERED = Delivered()
IDLE = 60.0
"""Seconds after which an idle connection is closed."""


class RiverSink:
    """Delivers to the River tables of one database; see `riverbridge.sinks.base`.

    A message's destination is the job's kind, its body the args; `riverbridge.sinks.river_row` says
    what becomes of its headers.

    database_url: as libpq reads it; a transaction pooler may stand between. schema: of River's
    tables; None leaves it to the search path. max_attempts: of each job. delivery_timeout: seconds
    one `deliver` may take whatever its deadline. threads: connections at most. name: how the server
    is to know them.

    Raises ConfigurationError for values that cannot work; nothing is sent before the first call.
    """

    def __init__(
        self,
        *,
        database_url: str,
        schema: str | None = None,
        max_attempts: int = MAX_ATTEMPTS_DEFAULT,
        delivery_timeout: float = 10.0,
        threads: int = 4,
        name: str = "riverbridge",
    ) -> None:
        if delivery_timeout <= 0 or threads < 1:
            raise ConfigurationError("river: delivery_timeout and threads must be above 0")
        parse_dsn(database_url)
        if schema is not None:
            check_schema_name(schema)
        self._max_attempts = max_attempts
        self._timeout = delivery_timeout
        self._announcements = Announcements()
        # Nothing is prepared, so that a pooler may be there; a batch is planned in no time.
        connect = connector(database_url, application_name=name, pooler=True)
        self._threads: Threads[_Call, Link] = Threads(
            "river-sink",
            threads,
            lambda: Link(connect, schema, self._threads.closing),
            self._turn,
            idle=IDLE,
        )

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        """Insert `messages`; one outcome each, in order, at most 0.1 s after `deadline`."""
        deadline = min(deadline, time.monotonic() + self._timeout)
        made = [row_of(message, self._max_attempts) for message in messages]
        rows = [row for row in made if isinstance(row, NewJob)]
        call = _Call(rows, deadline)
        if rows and deadline > time.monotonic():
            self._threads.serve(call, 1, deadline - time.monotonic())
        outcomes = iter(call.finish(self._threads.closing.is_set()))
        return [next(outcomes) if isinstance(one, NewJob) else one for one in made]

    def close(self) -> None:
        """End transactions under way, threads and connections. Calls under way return soon."""
        self._threads.close()

    def _turn(self, link: Link, call: _Call) -> int:
        if call.take(link):
            try:
                end = self._insert(link, call, 0, len(call.rows))
            except Exception as error:
                log.exception("river sink: an insert failed in a way it must not")
                link.close()
                end = Retry(f"the river sink failed: {type(error).__name__}", ambiguous=True)
            call.end(end)
        return 0

    def _insert(self, link: Link, call: _Call, start: int, stop: int) -> Outcome | None:
        """Insert a part of the rows. If one of them is at fault, the halves go by themselves.

        Returns the outcome of all that is left, if there is no use in going on.
        """
        rows = call.rows[start:stop]
        try:
            with self._announcements.of(rows) as queues:
                link.insert(rows, queues, call.deadline)
        except TooLate:
            return unanswered("waiting", "no time left")
        except (psycopg.Error, LeftOut) as error:
            outcome, one_is_at_fault = link.judged(error)
            if not one_is_at_fault:
                return outcome
        else:
            outcome = DELIVERED
        if outcome is DELIVERED or len(rows) == 1:
            call.note(start, stop, outcome)
            return None
        middle = (start + stop) // 2
        return self._insert(link, call, start, middle) or self._insert(link, call, middle, stop)


class _Call:
    """One call of `deliver`: its rows, where they are, and what came of them."""

    def __init__(self, rows: Sequence[NewJob], deadline: float) -> None:
        self.rows = rows
        self.deadline = deadline
        self.done = threading.Event()
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._outcomes: list[Outcome | None] = [None] * len(rows)
        self._over = False

    def take(self, link: Link) -> bool:
        """Whether the rows are still to be inserted; then they are out on `link`."""
        with self._lock:
            if not self._over:
                self._link, link.stage = link, "waiting"
            return not self._over

    def note(self, start: int, stop: int, outcome: Outcome) -> None:
        """What became of some rows: known, whatever becomes of the others."""
        with self._lock:
            if not self._over:
                self._outcomes[start:stop] = [outcome] * (stop - start)

    def end(self, rest: Outcome | None) -> None:
        """Nothing more is inserted. rest: what becomes of the rows that are left."""
        with self._lock:
            self._link = None
            if not self._over:
                self._outcomes = [outcome or rest for outcome in self._outcomes]
        self.done.set()

    def finish(self, closing: bool) -> Sequence[Outcome]:
        """The outcomes. If some are missing, what is under way is ended."""
        with self._lock:
            self._over = True
            stage: Stage = "waiting"
            if self._link is not None:
                stage = self._link.stage
                self._link.abort()
            why = "the sink was closed" if closing else "no answer before the deadline"
            rest = unanswered(stage, why)
            return [outcome or rest for outcome in self._outcomes]
