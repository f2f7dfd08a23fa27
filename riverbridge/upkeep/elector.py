"""Who leads: one client of all that share a schema, River's Go clients included (contract 6).

    follower ── elect: a row came back ──▶ leader ── renews every 5 s ──┐
       ▲                                     │  ▲                       │
       │                                     │  └───────────────────────┘
       └── row lost · trust used up · asked to resign · stopped ◀┘

The database decides, and the leader believes it only for a time: counted on its own clock from
before it asked, and a second less than the row lasts. Two may believe it at once all the same (the
table is UNLOGGED and empty after a crash; a process may have been frozen), so what a leader does
must do no harm when two do it.
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta

import psycopg

from riverbridge.store import leader
from riverbridge.store.limits import bounded_transaction

INTERVAL = 5.0
TTL = INTERVAL + 10.0
TRUST = TTL - 1.0
STATEMENT_LIMIT = 5.0
RESIGN_LIMITS = (1.0, 2.0, 3.0)

logger = logging.getLogger(__name__)


class Term:
    """One stretch of leadership, known by (leader_id, elected_at).

    `alive` may be asked from any thread; it becomes False by itself when trust is used up.
    """

    def __init__(
        self,
        leader_id: str,
        elected_at: datetime,
        trusted_until: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.leader_id = leader_id
        self.elected_at = elected_at
        self._trusted_until = trusted_until
        self._clock = clock

    def alive(self) -> bool:
        """Whether this process may still act as the leader."""
        return self.remaining() > 0

    def remaining(self) -> float:
        """Seconds of trust that are left, never below 0."""
        return max(0.0, self._trusted_until - self._clock())

    def prolong(self, trusted_until: float) -> None:
        """The database confirmed the term."""
        self._trusted_until = trusted_until

    def end(self) -> None:
        """Nothing may be done in this term's name from now on."""
        self._trusted_until = float("-inf")


class Elector:
    """Wins, keeps and gives up the leadership, one short transaction a step.

    `step` and `settle` belong to one thread; `notify` and `is_leader` to any.
    """

    def __init__(
        self,
        *,
        client_id: str,
        schema: str | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.client_id = client_id
        self.term: Term | None = None
        self.due = clock()
        self._schema = schema
        self._clock = clock
        self._failures = 0
        self._leaving = False
        self._heard_vacancy = threading.Event()
        self._heard_request = threading.Event()

    @property
    def is_leader(self) -> bool:
        """Whether this process leads and may still believe so."""
        term = self.term
        return term is not None and term.alive()

    @property
    def retrying(self) -> bool:
        """Whether the last step failed and waits to be repeated."""
        return self._failures > 0

    def notify(self, payload: str) -> None:
        """Take a payload of the `river_leadership` channel. Anyone can write there: lenient."""
        try:
            message = json.loads(payload)
        except (ValueError, RecursionError):
            return
        if not isinstance(message, dict):
            return
        if message.get("action") == "resigned" and message.get("leader_id") != self.client_id:
            self._heard_vacancy.set()
        elif message.get("action") == "request_resign":
            self._heard_request.set()

    def heed(self) -> None:
        """Let what was heard since the last call move the next step forward."""
        if self._heard_vacancy.is_set():
            self._heard_vacancy.clear()
            if self.term is None:
                self.due = min(self.due, self._clock() + _random(0, 0.05))
        if self._heard_request.is_set():
            self._heard_request.clear()
            if self.term is not None:
                self._leave(self.term)

    def step(self, conn: psycopg.Connection) -> None:
        """Stand for election, renew, or resign, whichever is due; set when the next step is.

        Raises psycopg.Error if the database could not be asked. A term survives that while there
        is trust; the next try comes after 1, 2 or 4 seconds.
        """
        term = self.term
        if term is not None and not term.alive() and not self._leaving:
            logger.warning("leadership of %s could not be renewed in time", self.client_id)
            self._leave(term)
        try:
            if term is None:
                self._stand(conn)
            elif self._leaving:
                self._vacate(conn)
            else:
                self._renew(conn, term)
        except Exception:
            self.postpone()
            raise
        self._failures = 0

    def postpone(self) -> None:
        """The database could not be asked: try again soon, later the more often it failed."""
        self._failures += 1
        if self._leaving and self._failures >= len(RESIGN_LIMITS):
            self._step_down(_random(0, 1))  # the row runs out by itself
            return
        delay = 2.0 ** ((self._failures - 1) % 3) * _random(0.9, 1.1)
        if self.term is not None and self.term.alive():
            # Not beyond the moment when the term must be given up.
            delay = min(delay, self.term.remaining())
        self.due = self._clock() + delay

    def resign(self, conn: psycopg.Connection, limit: float) -> None:
        """Give up the leadership, if it is held, and tell the others.

        Raises psycopg.Error; `term` then stays set, no longer alive, and the call may be repeated.
        """
        term = self.term
        if term is None:
            return
        term.end()
        with bounded_transaction(conn, limit):
            held = leader.resign(
                conn,
                leader_id=term.leader_id,
                elected_at=term.elected_at,
                schema=self._schema,
            )
        self._step_down(_random(0.05, 1))
        if held:
            logger.info("%s resigned its leadership", self.client_id)

    def _stand(self, conn: psycopg.Connection) -> None:
        started = self._clock()
        with bounded_transaction(conn, STATEMENT_LIMIT):
            seat = leader.elect(
                conn,
                leader_id=self.client_id,
                ttl=timedelta(seconds=TTL),
                schema=self._schema,
            )
        if seat is None:
            self.due = self._clock() + INTERVAL + _random(0, 1)
            return
        self.term = Term(seat.leader_id, seat.elected_at, started + TRUST, self._clock)
        self.due = started + INTERVAL
        logger.info("%s leads", self.client_id)

    def _renew(self, conn: psycopg.Connection, term: Term) -> None:
        started = self._clock()
        with bounded_transaction(conn, min(STATEMENT_LIMIT, term.remaining())):
            seat = leader.reelect(
                conn,
                leader_id=term.leader_id,
                elected_at=term.elected_at,
                ttl=timedelta(seconds=TTL),
                schema=self._schema,
            )
        if seat is not None:
            term.prolong(started + TRUST)
            self.due = started + INTERVAL
            return
        # Someone took over, or a crash emptied the table: at once, as then the seat is free.
        logger.warning("%s lost its leadership: its row is gone or has expired", self.client_id)
        term.end()
        self._step_down(_random(0, 0.05))

    def _vacate(self, conn: psycopg.Connection) -> None:
        self.resign(conn, RESIGN_LIMITS[min(self._failures, len(RESIGN_LIMITS) - 1)])

    def _leave(self, term: Term) -> None:
        """Stop leading now and resign in the next step."""
        term.end()
        self._leaving = True
        self._failures = 0
        self.due = self._clock()

    def _step_down(self, pause: float) -> None:
        """Be a follower, who stands again after `pause`: others who heard of it come first."""
        self.term = None
        self._leaving = False
        self._failures = 0
        self.due = self._clock() + pause


def _random(low: float, high: float) -> float:
    return random.uniform(low, high)  # noqa: S311
