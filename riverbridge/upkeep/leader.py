"""One thread and one connection for all that a leader does.

A turn of the loop is one short transaction: a step of the election if that is due, else one batch
of the duty that has waited longest. So renewing never waits for more than one batch, and a duty
that fails holds up nothing else. A batch must not outlive the trust in the term, so its statement
is given 12 s or a little more, where River, with a connection for each loop, gives 30. A duty with
more to do than that has a thread of its own, and ends it when it hears that the term is over.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

import psycopg
import tenacity

from riverbridge.store.limits import GRACE
from riverbridge.upkeep.duty import Duty
from riverbridge.upkeep.elector import RESIGN_LIMITS, TRUST, Elector, Term

# Before a batch the term is renewed unless that was done within this time, so that the batch has
# nearly all of the trust to run in.
_FRESH = 1.0

# How long a stop may go unnoticed while nothing is due.
_NAP = 0.25

logger = logging.getLogger(__name__)


class Leader:
    """Takes part in River's election and, while it leads, does `duties`.

    connect: gives a new connection, within a time limit of its own (`connect_timeout`). The leader
        owns what it got and closes it. Nothing is kept in the session, so a transaction pooler
        will do.
    client_id: unique among all clients of the schema, River's too; 1 to 127 characters.

    `run` belongs to one thread; everything else may be used from any. To stay out of the election,
    construct none.
    """

    def __init__(
        self,
        connect: Callable[[], psycopg.Connection],
        *,
        client_id: str,
        duties: Sequence[Duty],
        schema: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0 < len(client_id) < 128:
            raise ValueError(
                f"client_id has {len(client_id)} characters; river_leader takes 1 to 127:"
                " give this process a shorter id"
            )
        self.elector = Elector(client_id=client_id, schema=schema, clock=clock)
        self.duties = tuple(duties)
        self.progress = clock()
        self._failing: dict[str, str] = {}
        self._connect = connect
        self._clock = clock
        self._conn: psycopg.Connection | None = None
        self._begun: Term | None = None
        self._nudge = threading.Event()

    @property
    def is_leader(self) -> bool:
        """Whether this process leads and may still believe so."""
        return self.elector.is_leader

    @property
    def failing(self) -> dict[str, str]:
        """What failed at its last try, with the error; empty when all is well."""
        return dict(self._failing)

    def notify(self, payload: str) -> None:
        """Take a payload of the `river_leadership` channel, from the process's listener."""
        self.elector.notify(payload)
        self._nudge.set()

    def run(self, stop: threading.Event) -> None:
        """Work until `stop` is set, then resign. Lost connections are replaced.

        `progress` is the monotonic time of the last step the database answered; at least one is
        due every 6 s.
        """
        try:
            while not stop.is_set():
                if self._connected(stop):
                    self._turn()
                self._rest(stop)
        finally:
            self._end_term()
            self._resign()
            self._drop()

    def _turn(self) -> None:
        self.elector.heed()
        duty, trust = self._next_duty(), self._trust()
        if duty is not None and duty.due > self._clock():
            duty = None
        stale = duty is not None and trust < TRUST - _FRESH and not self.elector.retrying
        if stale or self.elector.due <= self._clock():
            self._try("elector", self.elector.step)
            if self.elector.term is not self._begun:
                self._end_term()
                self._begin_term()
        elif duty is not None:
            # What is left of the trust is for the commit, and for cutting a silent connection.
            self._try(duty.name, lambda conn: duty.step(conn, trust - GRACE))

    def _begin_term(self) -> None:
        self._begun = self.elector.term
        if self._begun is not None:
            for duty in self.duties:
                duty.begin()

    def _end_term(self) -> None:
        if self._begun is not None:
            self._begun = None
            for duty in self.duties:
                duty.end()

    def _trust(self) -> float:
        term = self.elector.term
        return 0.0 if term is None else term.remaining()

    def _next_duty(self) -> Duty | None:
        if self._trust() <= 2 * GRACE:
            return None
        return min(self.duties, key=lambda duty: duty.due, default=None)

    def _try(self, name: str, step: Callable[[psycopg.Connection], None]) -> None:
        assert self._conn is not None
        try:
            step(self._conn)
        except psycopg.Error as error:
            self._failed(name, error)
        except Exception as error:
            # A defect of one duty must not end the others.
            logger.exception("%s failed", name)
            self._failed(name, error)
        else:
            self.progress = self._clock()
            if self._failing.pop(name, None) is not None:
                logger.info("%s works again", name)

    def _failed(self, name: str, error: Exception) -> None:
        text = f"{type(error).__name__}: {str(error).strip() or 'no message'}"
        level = logging.DEBUG if self._failing.get(name) == text else logging.WARNING
        logger.log(level, "%s failed and will try again: %s", name, text)
        self._failing[name] = text
        idle = psycopg.pq.TransactionStatus.IDLE
        if self._conn is not None and self._conn.info.transaction_status != idle:
            self._drop()

    def _connected(self, stop: threading.Event) -> bool:
        """Have a connection, trying until there is one or `stop` is set."""
        if self._conn is not None and not self._conn.closed:
            return True
        self._drop()
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type((psycopg.Error, OSError)),
            wait=tenacity.wait_random_exponential(multiplier=0.25, max=5),
            stop=tenacity.stop_when_event_set(stop),
            sleep=tenacity.sleep_using_event(stop),
            before_sleep=self._not_connected,
            retry_error_callback=lambda _: None,
        )
        self._conn = attempts(self._open)
        if self._conn is not None:
            self._failing.pop("connection", None)
        return self._conn is not None

    def _open(self) -> psycopg.Connection:
        conn = self._connect()
        try:
            conn.autocommit = True
            # A database may default to another level; nothing here needs one.
            conn.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
            conn.prepare_threshold = None
        except BaseException:
            conn.close()
            raise
        return conn

    def _not_connected(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        text = str(error).strip()
        level = logging.DEBUG if "connection" in self._failing else logging.WARNING
        logger.log(level, "no connection for the leader's work, will try again: %s", text)
        self._failing["connection"] = text

    def _rest(self, stop: threading.Event) -> None:
        """Sleep until something is due, a notification came, or `stop` is set."""
        while not stop.is_set() and not self._nudge.is_set():
            duty = self._next_duty()
            due = self.elector.due if duty is None else min(self.elector.due, duty.due)
            pause = due - self._clock()
            if pause <= 0:
                return
            self._nudge.wait(min(pause, _NAP))
        self._nudge.clear()

    def _resign(self) -> None:
        deadline = self._clock() + sum(RESIGN_LIMITS)
        for limit in RESIGN_LIMITS:
            if self.elector.term is None or self._clock() > deadline:
                return  # the row, if it is still there, runs out by itself
            try:
                if self._conn is None or self._conn.closed:
                    self._conn = self._open()
                self.elector.resign(self._conn, limit)
            except (psycopg.Error, OSError) as error:
                logger.warning("could not resign the leadership: %s", error)
                self._drop()

    def _drop(self) -> None:
        if self._conn is not None:
            self._conn.close()
            self._conn = None
