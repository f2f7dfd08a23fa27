"""The Postgres the bench measures on, and databases that are equal at the start of each run."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import psycopg

from riverbridge.embedded.postgres import Postgres
from riverbridge.errors import RiverbridgeError
from riverbridge.store.migrate import Migrator

QUEUE = "bench"
KIND = "order.placed"
SETTINGS = {
    "shared_buffers": "1GB",
    "max_wal_size": "8GB",
    "wal_level": "replica",
    # So that a claim that waits is seen to be one: its SKIP LOCKED comes late in the text.
    "track_activity_query_size": "8192",
}
_SHOWN = (
    "fsync",
    "synchronous_commit",
    "full_page_writes",
    "autovacuum",
    "data_checksums",
    "shared_buffers",
    "max_wal_size",
    "wal_level",
)

CUSTOMERS = 10_007


def _args(customers: str) -> str:
    """260 bytes as Postgres writes them, nine keys: what an order may look like in an outbox."""
    return f"""jsonb_build_object(
    'order_id', 10000000 + n,
    'customer_id', 'c' || lpad((n * 7919 %% {customers})::text, 6, '0'),
    'event', gen_random_uuid(), 'currency', 'EUR', 'total', 10000 + n %% 90000,
    'status', 'placed', 'items', jsonb_build_array(10000 + n %% 89999, 10000 + n * 31 %% 89999),
    'placed_at', '2026-01-02T03:04:05.678901Z',
    'note', 'Leave it with neighbor: 6th')"""


ARGS = _args(str(CUSTOMERS))

_BACKLOG = f"""
INSERT INTO river_job (args, kind, max_attempts, queue, scheduled_at, tags)
SELECT {_args("%(keys)s")}, %(kind)s, 25, %(queue)s,
       now() - interval '1 hour' + n * interval '1 millisecond', '{{}}'
FROM generate_series(1::bigint, %(jobs)s) AS n
"""  # noqa: S608 - constants of this module


Fill = Callable[[str, int], None]
"""Makes a queue's tables in the database of a DSN, and puts so many jobs into them."""


class BenchFailed(RiverbridgeError):
    """A run that did not do its work, so that its figures would mean nothing."""


class Ground:
    """A server with durability on and River's stock schema: `with Ground() as ground`.

    Raises PartMissing if there is no Postgres 18.
    """

    def __init__(self) -> None:
        self.server = Postgres(major=18, settings=SETTINGS)
        self._numbers = itertools.count(1)
        self._templates: dict[tuple[Fill, int], str] = {}

    def __enter__(self) -> Self:
        self.server.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.server.stop()

    @contextmanager
    def database(self, jobs: int, fill: Fill | None = None) -> Iterator[str]:
        """The DSN of a fresh database with a backlog of `jobs`, dropped with the block.

        fill: instead of `fill_river`; called once for each number of jobs.
        """
        name = f"run_{next(self._numbers)}"
        dsn = self.server.create_database(name, self._template(jobs, fill or fill_river))
        try:
            with connect(self.server.dsn()) as connection:
                connection.execute("CHECKPOINT")
            yield dsn
        finally:
            self.server.drop_database(name)

    def settings(self) -> dict[str, str]:
        """The server's version and the settings that matter here."""
        with connect(self.server.dsn()) as connection:
            rows = connection.execute(
                "SELECT name, current_setting(name) FROM pg_settings WHERE name = ANY (%s)",
                (list(_SHOWN),),
            ).fetchall()
        return {"version": self.server.version} | dict(sorted(rows))

    def indexes(self) -> list[str]:
        """The indexes of river_job, as River's migrations left them."""
        with connect(self.server.dsn(self._template(0, fill_river))) as connection:
            rows = connection.execute(
                "SELECT indexname FROM pg_indexes WHERE tablename = 'river_job' ORDER BY 1"
            ).fetchall()
        return [name for (name,) in rows]

    def _template(self, jobs: int, fill: Fill) -> str:
        if (fill, jobs) not in self._templates:
            name = f"template_{len(self._templates)}"
            dsn = self.server.create_database(name)
            fill(dsn, jobs)
            with connect(dsn) as connection:
                connection.execute("VACUUM (ANALYZE)")
            self._templates[fill, jobs] = name
        return self._templates[fill, jobs]


def fill_river(dsn: str, jobs: int, *, keys: int = CUSTOMERS) -> None:
    """River's stock schema and ours, and jobs that became due a millisecond apart, an hour ago.

    keys: how many customers they are of.
    """
    Migrator(dsn, line="main").up()
    Migrator(dsn, line="riverbridge").up()
    with connect(dsn) as connection:
        connection.execute(_BACKLOG, {"jobs": jobs, "kind": KIND, "queue": QUEUE, "keys": keys})


def connect(dsn: str) -> psycopg.Connection[tuple[Any, ...]]:
    """An observer's connection: autocommit, and no statement of it waits for long."""
    return psycopg.connect(
        dsn,
        autocommit=True,
        connect_timeout=10,
        application_name="bench observer",
        options="-c statement_timeout=120s",
    )


def waiting(connection: psycopg.Connection[tuple[Any, ...]]) -> bool:
    """Whether any job is left to do. Looks from the end that is claimed last, so it is cheap."""
    row = connection.execute(
        "SELECT 1 FROM river_job WHERE state = 'available' AND queue = %s"
        " ORDER BY priority DESC, scheduled_at DESC, id DESC LIMIT 1",
        (QUEUE,),
    ).fetchone()
    return row is not None


def check_all_done(dsn: str, jobs: int, *, deleted: bool) -> None:
    """Raise BenchFailed unless all `jobs` were completed, or are gone if `deleted`.

    The engine completes what it had to lease, in either mode; that much may stay.
    """
    with connect(dsn) as connection:
        rows = connection.execute(
            "SELECT state::text, count(*) FROM river_job GROUP BY state"
        ).fetchall()
    found: dict[str, int] = dict(rows)
    if found.keys() - {"completed"} or (found.get("completed", 0) != jobs and not deleted):
        raise BenchFailed(f"of {jobs} jobs there are {found}; all should be done")
