"""What would be sent: jobs are claimed, rendered, shown, and given back untouched."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from riverbridge.bridge.outlet import Outlet
from riverbridge.engine.batch import Feed
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Outcome, Permanent, Unreachable
from riverbridge.service.wiring import make_feeds, make_routes, source_name
from riverbridge.settings import Settings
from riverbridge.sinks.base import Message
from riverbridge.store.database import Connection, connector
from riverbridge.store.jobs import EVERYTHING, JobTable
from riverbridge.store.schema_check import check_schema


class _Nowhere:
    """Stands in for each sink: a real one may connect as soon as it is made."""

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        return [Unreachable("a dry run sends nothing")] * len(messages)

    def close(self) -> None:
        pass


def dry_run(settings: Settings, limit: int, show: Callable[[str], None]) -> int:
    """Show up to `limit` due jobs per route and queue, one JSON object per job and sink.

    Nothing is connected to but Postgres, and its transaction is rolled back. Returns how many jobs
    were shown. Raises ConfigurationError and psycopg.OperationalError.
    """
    assert settings.database_url is not None  # the caller loaded them so
    schema = settings.db_schema
    connect = connector(settings.database_url.get_secret_value(), pooler=settings.pooler)
    outlets = {name: Outlet(name, _Nowhere()) for name in settings.sinks}
    shown = 0
    try:
        with connect() as connection:
            check_schema(connection, schema)
            connection.execute("BEGIN")
            lines: list[str] = []
            routes = make_routes(settings, outlets, source_name(connection, settings))
            feeds = make_feeds(settings, routes, lambda _: datetime.max, {})
            table = JobTable(schema, "riverbridge dry run")
            for name, group in feeds.items():
                for feed in group:
                    for job in _peek(connection, table, feed, limit, settings.batch_bytes):
                        shown += 1
                        if feed.taker is not routes[name]:
                            lines.append(_unmatched_line(name, job))
                            continue
                        for sink, message in routes[name].preview(job):
                            lines.append(_line(name, sink, job.id, message))
            # The rows are locked until here; a reader of the output may take its time.
            connection.execute("ROLLBACK")
        for line in lines:
            show(line)
    finally:
        for outlet in outlets.values():
            outlet.close()
    return shown


def _peek(
    connection: Connection, table: JobTable, feed: Feed, limit: int, byte_budget: int
) -> list[ClaimedJob]:
    return table.claim(
        connection,
        queue=feed.queue,
        kinds=feed.kinds,
        taken=feed.taken,
        floors=[EVERYTHING] * 4,
        aside=[],
        limit=limit,
        byte_budget=byte_budget,
    )


def _unmatched_line(route: str, job: ClaimedJob) -> str:
    failed = f"no route of queue {job.queue} takes the kind {job.kind}"
    return msgspec.json.encode({"route": route, "job": job.id, "failed": failed}).decode()


def _line(route: str, sink: str, job: int, message: Message | Permanent) -> str:
    found: dict[str, object] = {"route": route, "sink": sink, "job": job}
    if isinstance(message, Permanent):
        found["discarded"] = message.error
    else:
        found |= {
            "id": message.id,
            "destination": message.destination,
            "key": message.key,
            "headers": dict(message.headers),
            "body": (message.body or b"").decode(),
        }
    return msgspec.json.encode(found).decode()
