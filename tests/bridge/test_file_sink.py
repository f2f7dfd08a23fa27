"""Jobs reach a file by the bridge itself; what the sink does alone is in tests/unit."""

from __future__ import annotations

from pathlib import Path

from msgspec.json import decode

from tests.support.bridge import BridgeProcess
from tests.support.database import Database
from tests.support.wait import eventually


def test_jobs_become_lines_of_a_file(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "jobs.jsonl"
    env = {"SINKS__ARCHIVE__TYPE": "file", "SINKS__ARCHIVE__PATH": str(path)}
    with BridgeProcess(database, env), database.connect() as connection:
        connection.execute(
            "INSERT INTO river_job (kind, queue, max_attempts, args)"
            " SELECT 'order_placed', 'outbox', 1, '{\"n\": 1.0}' FROM generate_series(1, 100)"
        )
        done = "SELECT count(*) = 100 FROM river_job WHERE state = 'completed'"
        eventually(lambda: connection.execute(done).fetchone() == (True,))
    lines = path.read_bytes().splitlines()
    assert all(line.endswith(b'"body":{"n": 1.0}}') for line in lines)
    read = [decode(line) for line in lines]
    assert len({line["id"] for line in read}) == len(lines) == 100
    assert {line["headers"]["ce_type"] for line in read} == {"order_placed"}
