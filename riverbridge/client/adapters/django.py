"""Django's database connections, with psycopg 3 or psycopg2 behind them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from django.db import transaction

from riverbridge.client.adapters import psycopg3
from riverbridge.client.adapters.base import (
    AsyncKind,
    Kind,
    Run,
    broken,
    none_open,
    open_already,
)
from riverbridge.errors import ClientError
from riverbridge.store.exchange import Query, Rows


@contextmanager
def _begun(connection: Any, statements: int) -> Iterator[Run]:
    _check_vendor(connection)
    with ExitStack() as stack:
        try:
            # Durable: refused inside another, but for the one that a TestCase puts around a test.
            stack.enter_context(transaction.atomic(using=connection.alias, durable=True))
        except RuntimeError:
            raise open_already() from None
        yield _run(connection)


def _joined(connection: Any) -> Run:
    _check_vendor(connection)
    if connection.needs_rollback:
        raise broken()
    if connection.get_autocommit():
        raise none_open("with transaction.atomic():")
    return _run(connection)


def _check_vendor(connection: Any) -> None:
    if connection.vendor != "postgresql":
        raise ClientError(
            f"Django's database {connection.alias!r} is {connection.vendor}: River is on Postgres"
        )


def _run(connection: Any) -> Run:
    connection.ensure_connection()
    # The driver's own: Django's cursors would write the parameters into the statement.
    raw = connection.connection
    send = psycopg3.send
    if type(raw).__module__.startswith("psycopg2"):
        from riverbridge.client.adapters.psycopg2 import send

    def run(query: Query) -> Rows:
        with connection.wrap_database_errors:
            return send(raw, query)

    return run


KINDS: dict[str, Kind | AsyncKind] = {
    # Each thread has its own, so there are no turns to take.
    "BaseDatabaseWrapper": Kind(_begun, _joined, many=True),
    "ConnectionProxy": Kind(_begun, _joined, many=True),
}
