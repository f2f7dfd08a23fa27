"""What the database alone can do: the statements sent by pgbench, with no client to speak of.

Two connections, prepared statements, batches of a thousand, each run over a fresh copy of the same
backlog. Three scripts:

- the ceiling: the SQL files the engine loads, claim.sql and then complete.sql or delete.sql, in one
  transaction. pgbench cannot carry a thousand rows into the next statement, so the claim is wrapped
  in `array_agg(id)`: the ids alone cross the wire, once, and the last scheduled_at is the next
  claim's floor, as in the engine. The other form, one statement whose rows all cross the wire
  (`fused`), was slower in three of four runs on a busy machine; this is meant to be the faster one,
  so that the comparison does not flatter us.
- River: its claim and its completion, each a transaction of its own that returns whole rows and
  takes text arrays (contract 3.3 and 3.4), in words of our own.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from riverbridge.bench.ground import QUEUE, BenchFailed, Ground, check_all_done
from riverbridge.errors import PartMissing
from riverbridge.sql import statement

BATCH = 1000
CLIENTS = 2

_VARIABLES = {
    "queue": QUEUE,
    "kinds": "{%}",
    "taken": "true",
    "aside": "{}",
    "limit": str(BATCH),
    "bytes": str(8 << 20),
    "client": "pgbench_1792_0a1b2c3d",
    "back": "1",
    **{f"floor_{priority}": "-infinity" for priority in range(1, 5)},
    **{f"after_{priority}": "0" for priority in range(1, 5)},
}

_RIVER_CLAIM = """
WITH due AS (
    SELECT id FROM river_job
    WHERE state = 'available' AND queue = :queue::text AND scheduled_at <= now()
    ORDER BY priority, scheduled_at, id
    LIMIT :limit::integer
    FOR UPDATE SKIP LOCKED
), started AS (
    UPDATE river_job
    SET state = 'running', attempt = river_job.attempt + 1, attempted_at = now(),
        attempted_by = array_append(
            CASE WHEN array_length(attempted_by, 1) >= 100
                 THEN attempted_by[array_length(attempted_by, 1) - 98:]
                 ELSE attempted_by END, :client::text)
    FROM due WHERE river_job.id = due.id
    RETURNING river_job.*
)
SELECT started.*, NULL::text AS ids FROM started
UNION ALL
SELECT (NULL::river_job).*, coalesce(array_agg(id), '{}')::text FROM started \\aset got_
"""
# pgbench keeps the last row, which holds the ids of the others: River's client carries them over.

_RIVER_COMPLETE = """
WITH input AS (
    SELECT * FROM unnest(
        :got_ids::bigint[], :states::text[], :no::boolean[], :zeros::integer[], :no::boolean[],
        :objects::jsonb[], :yes::boolean[], :instants::timestamptz[], :no::boolean[],
        :objects::jsonb[], :no::boolean[], :instants::timestamptz[]
    ) AS one (id, state, sets_attempt, attempt, has_error, error, finalizes, finalized_at, merges,
              updates, reschedules, scheduled_at)
), matched AS (
    SELECT job.id, input.state::river_job_state AS target, job.state = 'running' AS runs,
           input.state IN ('retryable', 'scheduled') AND job.metadata ? 'cancel_attempted_at'
               AS cancels,
           sets_attempt, input.attempt, has_error, error, finalizes, input.finalized_at, merges,
           updates, reschedules, input.scheduled_at
    FROM input JOIN river_job AS job ON job.id = input.id
), written AS (
    UPDATE river_job AS job
    SET attempt = CASE WHEN runs AND NOT cancels AND sets_attempt
                       THEN matched.attempt ELSE job.attempt END,
        errors = CASE WHEN runs AND has_error
                      THEN array_append(job.errors, error) ELSE job.errors END,
        finalized_at = CASE WHEN runs AND cancels THEN now()
                            WHEN runs AND finalizes THEN matched.finalized_at
                            ELSE job.finalized_at END,
        metadata = CASE WHEN merges THEN job.metadata || updates ELSE job.metadata END,
        scheduled_at = CASE WHEN runs AND NOT cancels AND reschedules
                            THEN matched.scheduled_at ELSE job.scheduled_at END,
        state = CASE WHEN runs AND cancels THEN 'cancelled'::river_job_state
                     WHEN runs THEN target ELSE job.state END
    FROM matched
    WHERE job.id = matched.id AND (job.state = 'running' OR merges)
    RETURNING job.*
)
SELECT * FROM written
UNION ALL
SELECT * FROM river_job
WHERE id IN (SELECT id FROM input) AND id NOT IN (SELECT id FROM written)
ORDER BY id;
"""


_FLOOR = "(SELECT scheduled_at::text FROM river_job WHERE id = claimed.id)"
"""The engine reads this from the bytes it got; here the last row is asked once more."""


def find_pgbench(bin_dir: Path) -> Path:
    """pgbench beside the server, Debian's newest, or on PATH; any version can drive any server.

    Raises PartMissing, saying how to get it.
    """
    debian = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/pgbench"),
        key=lambda path: int(path.parts[4]) if path.parts[4].isdigit() else 0,
        reverse=True,
    )
    on_path = shutil.which("pgbench")
    for found in (bin_dir / "pgbench", *debian, *([Path(on_path)] if on_path else [])):
        if os.access(found, os.X_OK):
            return found
    raise PartMissing("pgbench is not on this machine. To get it: apt-get install postgresql-15")


def ceiling(
    ground: Ground, jobs: int, finish: Literal["complete", "delete"], *, fused: bool = False
) -> float:
    """Jobs a second of the engine's own SQL."""
    claim = _script("job/claim").rstrip()
    settle = _script(f"job/{finish}").rstrip()
    if fused:
        settle = settle.replace(":ids::bigint[]", "ARRAY(SELECT id FROM claimed)")
        script = (
            f"WITH claimed AS MATERIALIZED (\n{claim}\n), settled AS (\n{settle}\n)\n"
            f"SELECT claimed.*, {_FLOOR} AS floor_1 FROM claimed \\aset\n"
        )
    else:
        floor = _FLOOR.replace("claimed.id", "max(claimed.id)")
        script = (
            "BEGIN;\nSELECT coalesce(array_agg(id), '{}')::text AS ids,"
            f" coalesce({floor}, '-infinity') AS floor_1\n"
            f"FROM (\n{claim}\n) AS claimed \\gset\n{settle};\nCOMMIT;\n"
        )
    return _run(ground, jobs, script, _VARIABLES, deleted=finish == "delete")


def river(ground: Ground, jobs: int) -> float:
    """Jobs a second of River's claim and completion."""
    instant = "2030-01-02 03:04:05.678901+00"
    same = {
        "states": "completed",
        "no": "f",
        "yes": "t",
        "zeros": "0",
        "objects": '"{}"',
        "instants": f'"{instant}"',
    }
    arrays = {name: "{" + ",".join([value] * BATCH) + "}" for name, value in same.items()}
    return _run(ground, jobs, _RIVER_CLAIM + _RIVER_COMPLETE, _VARIABLES | arrays, deleted=False)


def _script(name: str) -> str:
    """A statement of the engine's as pgbench reads it."""
    lines = statement(name).decode().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("--"))
    unknown = set(re.findall(r"%\((\w+)\)", text)) - _VARIABLES.keys() - {"ids"}
    if unknown:
        raise BenchFailed(f"{name}.sql takes {', '.join(sorted(unknown))}: give the bench a value")
    return re.sub(r"%\((\w+)\)[sb]", r":\1", text).replace("%%", "%")


def _run(
    ground: Ground, jobs: int, script: str, variables: Mapping[str, str], *, deleted: bool
) -> float:
    """Empty a backlog with `script`; jobs a second, without the time to connect."""
    each = -(-jobs // (BATCH * CLIENTS))
    program = find_pgbench(ground.server.bin_dir)
    with ground.database(jobs) as dsn, tempfile.NamedTemporaryFile("w", suffix=".sql") as file:
        file.write(script)
        file.flush()
        command = [
            str(program), "--no-vacuum", "--protocol=prepared", f"--client={CLIENTS}",
            f"--jobs={CLIENTS}", f"--transactions={each}", f"--file={file.name}",
            *(f"--define={name}={value}" for name, value in variables.items()), dsn,
        ]  # fmt: skip
        done = subprocess.run(  # noqa: S603 - pgbench, with a script of ours
            command, capture_output=True, text=True, timeout=120 + jobs / 500
        )
        rate = re.search(r"^tps = ([\d.]+) \(without", done.stdout, re.MULTILINE)
        if done.returncode != 0 or rate is None:
            raise BenchFailed(f"pgbench failed: {done.stderr.strip()[-2000:]}")
        check_all_done(dsn, jobs, deleted=deleted)
    return float(rate[1]) / (each * CLIENTS) * jobs
