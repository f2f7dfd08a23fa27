"""The README and the tutorial are true: what they say to type is typed, on real servers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from riverbridge.bench.go_program import build
from riverbridge.embedded.broker import Broker
from riverbridge.embedded.process import free_port
from riverbridge.errors import PartMissing
from riverbridge.sql.migrations import MAIN
from riverbridge.store.migrate import Migrator
from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader
from tests.support.database import Database
from tests.support.parts import part

README = ROOT / "README.md"
TUTORIAL = ROOT / "docs" / "tutorial.md"
GO = Path(__file__).parent / "go"


def url(database: Database) -> str:
    """The address as people write it."""
    at = conninfo_to_dict(database.dsn)
    password = f":{at['password']}" if at.get("password") else ""
    return f"postgresql://{at['user']}{password}@{at['host']}:{at['port']}/{at['dbname']}"


def reader(home: Path, database: Database, broker: Broker) -> Reader:
    port = str(free_port())
    return Reader(
        home,
        {
            "postgresql://app:secret@localhost:5432/app": url(database),
            "localhost:9092": broker.bootstrap_servers,
            "localhost:8080": f"localhost:{port}",
        },
        {"RIVERBRIDGE_HTTP__PORT": port, "RIVERBRIDGE_LOG__FORMAT": "text"},
    )


@pytest.fixture(autouse=True)
def tools() -> None:
    with part("postgres"):
        for name in ("psql", "curl"):
            if shutil.which(name) is None:
                raise PartMissing(f"{name} is not on the PATH, and the pages use it")


@pytest.mark.timeout(300)
def test_the_tutorial(tmp_path: Path, empty_database: Database, own_kafka: Broker) -> None:
    with reader(tmp_path, empty_database, own_kafka) as person:
        marked = [block for block in blocks(TUTORIAL) if block.mark]
        assert len(marked) > 30
        for block in marked:
            person.follow(block)


@pytest.mark.timeout(300)
def test_the_readme(tmp_path: Path, empty_database: Database, own_kafka: Broker) -> None:
    """Its reader has River's tables, and a topic."""
    Migrator(empty_database.dsn, schema=None, line=MAIN).up()
    own_kafka.create_topic("jobs.order.placed")
    with reader(tmp_path, empty_database, own_kafka) as person:
        marked = [block for block in blocks(README) if block.mark]
        assert {block.mark for block in marked} >= {"run", "start", "shows"}
        for block in marked:
            person.follow(block)


@pytest.mark.go
@pytest.mark.timeout(600)
def test_the_go_program_of_the_readme_inserts_into_the_outbox(
    tmp_path: Path, database: Database
) -> None:
    (shown,) = [block.text for block in blocks(README) if block.language == "go"]
    assert shown == (GO / "main.go").read_text(encoding="utf-8")
    with part("go"):
        program = build(tmp_path / "insert", GO)
    env = os.environ | {"DATABASE_URL": url(database)}
    subprocess.run([program], env=env, timeout=60, check=True)
    with database.connect() as connection:
        rows = connection.execute(
            "SELECT kind, queue, state::text, args, unique_key FROM river_job"
        ).fetchall()
    args = {"order_id": 42, "customer": "ann"}
    assert rows == [("order.placed", "outbox", "available", args, None)]
