"""The fixtures for pytest, used by a project's own tests in a run of its own."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

import psycopg
import pytest

from riverbridge import testing
from riverbridge.testing import schema
from tests.support.database import Database
from tests.unit.test_public_surface import loaded

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]
PLUGIN = "riverbridge.testing.plugin"

CONFTEST = """
import pytest
from shop import workers

@pytest.fixture
def river_workers():
    return workers
"""

SHOP = """
from dataclasses import dataclass
from typing import ClassVar
from riverbridge import Workers

@dataclass
class Mail:
    to: str
    kind: ClassVar[str] = "mail"

workers = Workers()

@workers.work(Mail)
def mail(job):
    job.record_output(job.args.to)
"""

TESTS = """
import asyncio
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from riverbridge import AsyncClient, InsertOpts, QueueConfig, UniqueOpts, WorkerPool
from riverbridge.testing import Drained, require_inserted, require_not_inserted
from shop import Mail, workers

@pytest.mark.parametrize("time", [1, 2])
def test_each_begins_with_empty_tables_and_the_right_time(river_client, river_clock, time):
    assert river_client.insert(Mail("ann")).job.id == 1
    assert abs(river_clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
    river_clock.advance(timedelta(days=time))

def test_what_joins_a_transaction(river_connection, river_client, river_tester):
    with river_connection.transaction(force_rollback=True):
        river_client.insert_tx(river_connection, Mail("ann"))
        river_client.insert(Mail("bob"))
        require_inserted(river_connection, Mail("bob"))
        assert river_tester.drain() == Drained(completed=2)
    require_not_inserted(river_connection, Mail)

def test_periods_go_by_the_clock(river_client, river_clock):
    opts = InsertOpts(unique_opts=UniqueOpts(by_period=timedelta(days=1)))
    river_client.insert(Mail("ann"), opts)
    river_clock.advance(timedelta(days=1))
    assert not river_client.insert(Mail("ann"), opts).unique_skipped_as_duplicate

def test_others_connect_by_the_dsn(river_database, river_connection, river_clock):
    async def scenario():
        async with AsyncClient(river_database.dsn) as client:
            await client.insert(Mail("ann"))

    asyncio.run(scenario())
    assert require_inserted(river_connection, Mail).id == 1
    with psycopg.connect(river_database.dsn) as other:
        assert other.execute("SELECT current_schema()").fetchone() == (river_database.schema,)

def test_a_pool_follows_the_clock(river_database, river_client, river_clock):
    river_client.insert(Mail("ann"), InsertOpts(scheduled_at=river_clock.now() + timedelta(1)))
    river_clock.advance(timedelta(days=2))
    pool = WorkerPool(river_database.dsn, workers, {"default": QueueConfig(1)})
    with pool, pool.events.subscribe(["job_completed"]) as events:
        assert events.get(timeout=20) is not None
"""


@pytest.fixture
def project(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("RIVERBRIDGE_TEST_DATABASE_URL", raising=False)
    pytester.makeconftest(CONFTEST)
    pytester.makepyfile(shop=SHOP)
    return pytester


def run(project: pytest.Pytester, *args: str) -> pytest.RunResult:
    return project.runpytest_inprocess("-p", PLUGIN, *args)


def schemas(database: Database) -> list[tuple[str]]:
    with database.connect() as look:
        found = look.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'riverbridge%'")
        return found.fetchall()


def test_a_projects_tests(project: pytest.Pytester, empty_database: Database) -> None:
    project.makeini(f"[pytest]\nriverbridge_database_url = {empty_database.dsn}\n")
    project.makepyfile(test_shop=TESTS)
    run(project, "-W", "error").assert_outcomes(passed=6)
    assert schemas(empty_database) == []


def test_the_variable_wins_over_the_option(
    project: pytest.Pytester, empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RIVERBRIDGE_TEST_DATABASE_URL", empty_database.dsn)
    project.makeini("[pytest]\nriverbridge_database_url = postgresql://127.0.0.1:1/no\n")
    project.makepyfile("def test_it(river_client): river_client.job_list()")
    run(project).assert_outcomes(passed=1)


def test_what_is_missing_is_said(project: pytest.Pytester, empty_database: Database) -> None:
    project.makeconftest("")
    project.makepyfile(
        f"""
        import pytest

        @pytest.fixture(scope="session")
        def river_database_url(request):
            return "{empty_database.dsn}"

        def test_without_functions(river_tester): pass
        """
    )
    result = run(project)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*define a fixture river_workers*"])
    project.makepyfile("def test_without_database(river_client): pass")
    result = run(project)
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*set RIVERBRIDGE_TEST_DATABASE_URL*"])


def test_a_transaction_that_is_left_open_is_named(
    project: pytest.Pytester, empty_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "LOCK_LIMIT", "200ms")
    project.makeini(f"[pytest]\nriverbridge_database_url = {empty_database.dsn}\n")
    project.makepyfile(
        """
        import psycopg
        from riverbridge import Client
        from shop import Mail

        def test_it(river_database, request):
            connection = psycopg.connect(river_database.dsn)
            Client(river_database.dsn).insert_tx(connection, Mail("ann"))
            request.config.add_cleanup(connection.close)
        """
    )
    result = run(project)
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["*transaction that wrote jobs is still open*"])
    with empty_database.connect() as connection, psycopg.ClientCursor(connection) as cursor:
        for (name,) in schemas(empty_database):
            cursor.execute(f'DROP SCHEMA "{name}" CASCADE'.encode())


def test_the_public_names_are_there_and_no_others() -> None:
    for name in testing.__all__:
        assert getattr(testing, name).__name__ == name
    assert not [name for name in testing.__all__ if name not in dir(testing)]
    with pytest.raises(AttributeError, match="no attribute 'requires'"):
        getattr(testing, "requires")  # noqa: B009 - mypy would refuse the plain form


def test_other_runs_load_nothing_dear(project: pytest.Pytester) -> None:
    found = loaded("import riverbridge.testing.plugin")
    assert not found & {"psycopg", "msgspec", "click", "boto3", "pydantic", "asyncio"}
    project.makepyfile(
        "import sys\ndef test_it(): assert not {'psycopg', 'msgspec'} & set(sys.modules)"
    )
    project.makeconftest("")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", PLUGIN], cwd=project.path, timeout=60
    )
    assert done.returncode == 0


def test_the_package_says_where_the_plugin_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["entry-points"]["pytest11"] == {"riverbridge": PLUGIN}
    fixtures = {name for name in vars(import_module(PLUGIN)) if name.startswith("river_")}
    listed = import_module(PLUGIN).__doc__ or ""
    assert len(fixtures) == 7
    assert all(f"\n{name} " in listed for name in fixtures)
