"""psycopg2: connections, by themselves or behind SQLAlchemy and Django."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from psycopg2 import ProgrammingError, extensions

from riverbridge.client.adapters.base import AsyncKind, Kind, Run, closed, none_open, open_already
from riverbridge.client.adapters.style import named
from riverbridge.store.exchange import Query, Rows


def send(connection: Any, query: Query) -> Rows:
    """Send one query and return its rows."""
    sql = named(query.name, query.schema)
    # A plain cursor: the connection's own kind may make dictionaries.
    with connection.cursor(cursor_factory=extensions.cursor) as cursor:
        cursor.execute(sql, query.parameters)
        rows: Rows = cursor.fetchall() if cursor.description is not None else ()
        return rows


@contextmanager
def _begun(connection: Any, statements: int) -> Iterator[Run]:
    if connection.closed:
        raise closed(connection)
    if connection.info.transaction_status != extensions.TRANSACTION_STATUS_IDLE:
        raise open_already()
    with ExitStack() as stack:
        try:
            stack.enter_context(connection)
        except ProgrammingError:  # the caller has entered it too, and sent nothing yet
            raise open_already() from None
        yield lambda query: send(connection, query)


def _joined(connection: Any) -> Run:
    if connection.closed:
        raise closed(connection)
    status = connection.info.transaction_status
    if connection.autocommit and status == extensions.TRANSACTION_STATUS_IDLE:
        raise none_open("with connection:")
    return lambda query: send(connection, query)


KINDS: dict[str, Kind | AsyncKind] = {
    "connection": Kind(_begun, _joined),
    "cursor": Kind(joined=lambda cursor: _joined(cursor.connection)),
}
