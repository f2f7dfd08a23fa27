"""The line on which a Postgres server sends its changes: streaming replication, over libpq.

psycopg has no replication protocol of its own, but libpq's copy in both directions is all that it
takes, and `psycopg.pq` has that. The alternative, to ask by `pg_logical_slot_peek_binary_changes`,
has the server decode everything since the slot's confirmed position for each answer, and ends an
answer between transactions only: asked for 1000 of 200,000 rows of one, it sent all, into 100 MiB.

The server ends a line from which it hears nothing for `wal_sender_timeout`. So whoever holds a
stream says `report` at least every ten seconds.
"""

from __future__ import annotations

import select
import time
from collections.abc import Sequence
from struct import Struct as Packed
from typing import Any

import psycopg
from psycopg import sql
from psycopg.pq import ExecStatus

from riverbridge.sources.postgres_position import Timeline, spell
from riverbridge.store.database import WATCHED

SILENCE = "60s"
"""How long the server waits for a word of ours: longer than a transaction of ours may last."""

_UNIX_2000 = 946_684_800
_data = Packed("!xQQq").unpack_from
_keepalive = Packed("!xQqB").unpack_from
_status = Packed("!cQQQqB").pack
_DATA, _KEEPALIVE = b"wk"
_HEADER = 25


class Stream:
    """A connection for replication; `start` makes it a stream.

    Raises psycopg.Error wherever the server or the network fails; then only `close` is left.

    sent: up to where the server has read its log; what was committed before that was received.
    """

    def __init__(self, dsn: str, *, application_name: str) -> None:
        self._connection = psycopg.connect(
            dsn,
            autocommit=True,
            replication="database",
            client_encoding="UTF8",
            prepare_threshold=None,
            application_name=application_name,
            **WATCHED,
        )
        self._pg = self._connection.pgconn
        self.sent = 0
        self._flushed = 0

    def identify(self) -> tuple[str, Timeline]:
        """The system identifier of the server, and its timeline."""
        [(system, number, *_)] = self._ask(b"IDENTIFY_SYSTEM")
        if int(number) == 1:
            return str(system), Timeline(1)
        [(_, history)] = self._ask(b"TIMELINE_HISTORY %d" % int(number))
        text = history.decode() if isinstance(history, bytes) else str(history)
        return str(system), Timeline.parse(int(number), text)

    def start(self, slot: str, publications: Sequence[str], lsn: int) -> None:
        """Have what was committed from `lsn` on sent. Raises ObjectInUse where another has it."""
        for setting in (
            b"SET datestyle = 'ISO'", b"SET timezone = 'UTC'", b"SET intervalstyle = 'postgres'",
            b"SET bytea_output = 'hex'", b"SET extra_float_digits = 1",
            b"SET statement_timeout = 0", b"SET wal_sender_timeout = '%b'" % SILENCE.encode(),
        ):  # fmt: skip
            self._ask(setting)
        names = sql.SQL(",").join(map(sql.Identifier, publications)).as_string(self._connection)
        command = sql.SQL(
            "START_REPLICATION SLOT {} LOGICAL {} "
            "(proto_version '1', publication_names {}, messages 'true')"
        ).format(sql.Identifier(slot), sql.SQL(spell(lsn)), sql.Literal(names))
        result = self._pg.exec_(command.as_bytes(self._connection))
        if result.status != ExecStatus.COPY_BOTH:
            raise psycopg.errors.error_from_result(result)

    def receive(self, seconds: float) -> bytes | None:
        """The next message of the output plugin, or None if none comes in time.

        Keepalives are answered.
        """
        limit = time.monotonic() + seconds
        while True:
            size, view = self._pg.get_copy_data(1)
            if size > 0:
                data = bytes(view)
                if data[0] == _DATA:
                    return data[_HEADER:]
                if data[0] == _KEEPALIVE:
                    self._kept_alive(data)
                continue
            if size < 0:
                self._ended()
            left = max(0.0, limit - time.monotonic())
            if not select.select([self._pg.socket], [], [], left)[0]:
                return None
            self._pg.consume_input()

    def report(self, flushed: int, *, ask: bool = False) -> None:
        """Say that what was committed before `flushed` is safe. ask: for an answer, so that `sent`
        is up to date."""
        self._flushed = flushed
        now = int((time.time() - _UNIX_2000) * 1_000_000)
        self._pg.put_copy_data(_status(b"r", max(self.sent, flushed), flushed, flushed, now, ask))
        while self._pg.flush():
            select.select([], [self._pg.socket], [], 5.0)

    def close(self) -> None:
        """End the connection, and with it the use of the slot."""
        self._connection.close()

    def _kept_alive(self, data: bytes) -> None:
        sent, _, wants_answer = _keepalive(data)
        self.sent = max(self.sent, sent)
        if wants_answer:
            self.report(self._flushed)

    def _ended(self) -> None:
        result = self._pg.get_result()
        if result is not None and result.error_message:
            raise psycopg.errors.error_from_result(result)
        raise psycopg.OperationalError("the server ended the stream: it shuts down")

    def _ask(self, command: bytes) -> list[tuple[Any, ...]]:
        cursor = self._connection.execute(command)
        return cursor.fetchall() if cursor.description else []
