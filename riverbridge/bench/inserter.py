"""An application that inserts one job per transaction at a steady rate, and announces each.

`python -m riverbridge.bench.inserter DSN RATE SECONDS FILE` writes a line for each job: its id and
the time at which its COMMIT returned (time.monotonic).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psycopg

from riverbridge.bench.ground import ARGS, KIND, QUEUE

NAME = "bench inserter"
"""Its application_name: the CPU time of its backend is the application's, not the bridge's."""


def burst(jobs: int) -> str:
    """Insert and announce `jobs` jobs from `%(n)s` on. In autocommit that is one round trip, its
    COMMIT included; the statement returns one of their ids."""
    return f"""
WITH job AS (
    INSERT INTO river_job (args, kind, max_attempts, queue, tags)
    SELECT {ARGS}, '{KIND}', 25, '{QUEUE}', '{{}}'
    FROM generate_series(%(n)s::bigint, %(n)s::bigint + {jobs - 1}) AS one (n)
    RETURNING id
)
SELECT max(id), pg_notify(current_schema() || '.river_insert', '{{"queue": "{QUEUE}"}}') FROM job
"""  # noqa: S608 - constants of this module


def main(dsn: str, rate: float, seconds: float, path: Path) -> None:
    """Insert until `seconds` have passed. A late insert is made at once, not skipped."""
    committed: list[tuple[int, float]] = []
    insert = burst(1).encode()
    with psycopg.connect(dsn, autocommit=True, application_name=NAME) as connection:
        connection.prepare_threshold = 0
        began = time.monotonic()
        for n in range(round(rate * seconds)):
            time.sleep(max(0.0, began + n / rate - time.monotonic()))
            row = connection.execute(insert, {"n": n}).fetchone()
            at = time.monotonic()
            assert row is not None
            committed.append((row[0], at))
    path.write_text("".join(f"{id_} {at!r}\n" for id_, at in committed))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
