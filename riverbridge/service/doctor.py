"""What somebody who is on call would look at first, looked at in one go.

It asks, and changes nothing: each question runs in a read-only transaction with a time limit, and
of the sinks and sources no more is tried than whether they can be reached.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import psycopg

from riverbridge.errors import ConfigurationError, SchemaError
from riverbridge.model.durations import in_words
from riverbridge.service.examining import CHECKS, Asking, Finding, unread
from riverbridge.service.reaching import reach
from riverbridge.settings import Settings
from riverbridge.settings.sources.postgres import JobsSource, PostgresSource
from riverbridge.sources.postgres_checks import check_slot
from riverbridge.sources.postgres_server import Refused, Server
from riverbridge.store.database import Connection, refused
from riverbridge.store.dsn import connect, connect_failure
from riverbridge.store.schema_check import check_schema

OLDEST_SERVER = 150_000


def examine(settings: Settings) -> Iterator[Finding]:
    """All that is found, as it is found."""
    yield from _settings(settings)
    assert settings.database_url is not None  # the caller loaded them so
    dsn = settings.database_url.get_secret_value()
    try:
        began = time.monotonic()
        connection = connect(dsn, application_name="riverbridge doctor")
    except psycopg.Error as error:
        yield Finding(
            "database",
            "fail",
            connect_failure(error, dsn),
            "see that DATABASE_URL is right, and that Postgres answers from this machine",
            misconfigured=refused(error),
        )
    else:
        with connection:
            yield from _database(connection, settings, time.monotonic() - began)
    for kind, parts in (("sink", settings.sinks), ("source", settings.sources)):
        for name, part in parts.items():
            yield from _reached(kind, name, part)
    yield from _slots(settings)


def _settings(settings: Settings) -> Iterator[Finding]:
    for warning in settings.warnings:
        yield Finding("settings", "warn", warning)
    if not settings.warnings:
        yield Finding("settings", "ok", "can work; riverbridge config prints them")


def _database(connection: Connection, settings: Settings, took: float) -> Iterator[Finding]:
    """What is to be known of the database; where its tables do not fit, only that."""
    asking = Asking(connection, settings)
    yield from _server(asking, took)
    try:
        check_schema(connection, settings.db_schema)
    except SchemaError as error:
        yield Finding("tables", "fail", str(error), misconfigured=True)
        return
    yield Finding("tables", "ok", "are as this release needs them")
    for name, check in CHECKS.items():
        try:
            found = list(check(asking))
        except psycopg.Error as error:
            if connection.closed:
                text = connect_failure(error, "")
                yield Finding(name, "fail", f"the connection was lost: {text}")
                return
            found = [unread(name, error)]
        yield from found


def _server(asking: Asking, took: float) -> Iterator[Finding]:
    info = asking.connection.info
    version = info.parameter_status("server_version")
    if info.server_version < OLDEST_SERVER:
        yield Finding("database", "fail", f"is Postgres {version}", "use Postgres 15 or later")
    else:
        yield Finding("database", "ok", f"Postgres {version}; connecting took {in_words(took)}")
    if info.parameter_status("is_superuser") == "on":
        yield Finding(
            "rights",
            "warn",
            f"role {info.user} is a superuser and may do anything",
            "use a role of no more rights than docs/operations.md lists",
        )


def _reached(kind: str, name: str, part: Any) -> Iterator[Finding]:
    found = reach(part)
    check = f"{kind} {name}"
    for why in found.failed:
        yield Finding(
            check,
            "fail" if len(found.failed) == found.tried else "warn",
            f"cannot be reached: {why}",
            f"see that it is up, and that this machine may connect to it ({part.type})",
        )
    if found.tried and not found.failed:
        yield Finding(check, "ok", "can be reached")
    elif not found.tried and not isinstance(part, PostgresSource | JobsSource):
        yield Finding(check, "ok", f"is not asked: only its use would tell ({part.type})")


def _slots(settings: Settings) -> Iterator[Finding]:
    """The replication slots of sources, asked of their own servers."""
    for name, part in settings.sources.items():
        if not isinstance(part, PostgresSource | JobsSource):
            continue
        dsn = part.url.get_secret_value()
        try:
            server = Server(dsn, application_name="riverbridge doctor")
        except (psycopg.Error, ConfigurationError) as error:
            why = connect_failure(error, dsn) if isinstance(error, psycopg.Error) else str(error)
            yield Finding(
                f"source {name}", "fail", f"cannot be reached: {why}", "see that its URL is right"
            )
            continue
        try:
            yield _slot(name, part, server)
        finally:
            server.close()


def _slot(name: str, part: PostgresSource | JobsSource, server: Server) -> Finding:
    slot_name = part.slot or f"riverbridge_{name}"
    slot = server.slot(slot_name)
    check = f"source {name}"
    if slot is None:
        return Finding(
            check,
            "warn",
            f"there is no replication slot {slot_name}",
            "the first start makes it; if there was one, see docs/postgres-source.md",
        )
    try:
        check_slot(name, slot_name, slot, server.database())
    except Refused as error:
        return Finding(check, "fail", str(error), "see docs/postgres-source.md")
    if slot.held > part.max_wal:
        return Finding(
            check,
            "warn",
            f"the server keeps {slot.held >> 20} MiB of WAL for replication slot {slot_name}",
            "see that the source is read: a process has it, and its log says why it does not go on",
        )
    return Finding(check, "ok", f"is {max(0, slot.written - slot.confirmed)} bytes of WAL behind")
