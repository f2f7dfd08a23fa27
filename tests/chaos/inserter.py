"""An application that inserts jobs at a steady rate, some per transaction, and announces them.

`python -m tests.chaos.inserter DSN RATE SECONDS FILE` writes a line for each job: its id and the
time at which its COMMIT returned (time.monotonic). Jobs have one of `KEYS` keys, as `{args.k}`.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import psycopg

BURST = 10
KEYS = 200

INSERT = b"""
WITH job AS (
    INSERT INTO river_job (args, kind, max_attempts, queue)
    SELECT jsonb_build_object('k', (random() * %(keys)s)::int::text), 'test', 25, 'outbox'
    FROM generate_series(1, %(n)s)
    RETURNING id
)
SELECT array_agg(id), pg_notify(current_schema() || '.river_insert', '{"queue": "outbox"}') FROM job
"""


def main(dsn: str, rate: float, seconds: float, path: Path) -> None:
    """Insert until `seconds` have passed. A late insert is made at once, not skipped."""
    committed: list[tuple[list[int], float]] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        began = time.monotonic()
        for number in range(round(rate * seconds / BURST)):
            time.sleep(max(0.0, began + number * BURST / rate - time.monotonic()))
            row = connection.execute(INSERT, {"n": BURST, "keys": KEYS}).fetchone()
            assert row is not None
            committed.append((row[0], time.monotonic()))
    path.write_text("".join(f"{id_} {at!r}\n" for ids, at in committed for id_ in ids))


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
