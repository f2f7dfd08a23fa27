"""The names users import: exactly these, each there, and none of them dear."""

from __future__ import annotations

import subprocess
import sys

import pytest

import riverbridge

PUBLIC = [
    "AsyncClient",
    "AsyncInsertMiddleware",
    "AttemptError",
    "Client",
    "ClientError",
    "ConfigurationError",
    "CronSchedule",
    "Event",
    "EventKind",
    "ExponentialRetry",
    "FixedRetry",
    "InsertHook",
    "InsertManyParams",
    "InsertMiddleware",
    "InsertOpts",
    "InsertResult",
    "InvalidJob",
    "InvalidRequest",
    "Job",
    "JobArgs",
    "JobCancel",
    "JobConflict",
    "JobError",
    "JobListResult",
    "JobLogHandler",
    "JobLost",
    "JobNotFound",
    "JobRunning",
    "JobSnooze",
    "JobState",
    "NeverSchedule",
    "NewJob",
    "PeriodicInterval",
    "PeriodicJob",
    "PeriodicJobNotFound",
    "PeriodicJobs",
    "PoolOptions",
    "Queue",
    "QueueConfig",
    "QueueNotFound",
    "RawArgs",
    "Retention",
    "RetryPolicy",
    "RiverRetry",
    "RiverbridgeError",
    "RunningJob",
    "Schedule",
    "SchemaError",
    "Unique",
    "UniqueOpts",
    "WorkHook",
    "Worker",
    "WorkerError",
    "WorkerPool",
    "Workers",
    "current_job",
    "unique_key",
]


def loaded(code: str) -> set[str]:
    """The top packages that `code` loads in a fresh Python."""
    code += "; import sys; print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=True
    )
    return set(done.stdout.split())


def test_the_public_names_are_these() -> None:
    assert riverbridge.__all__ == PUBLIC


@pytest.mark.parametrize("name", PUBLIC)
def test_each_public_name_is_there(name: str) -> None:
    assert getattr(riverbridge, name).__name__ == name
    assert name in dir(riverbridge)


def test_another_name_is_not_there() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Clinet'"):
        getattr(riverbridge, "Clinet")  # noqa: B009 - mypy would refuse the plain form


def test_importing_the_package_loads_nothing_dear() -> None:
    assert not loaded("import riverbridge") & {"psycopg", "msgspec", "click", "boto3", "pydantic"}


def test_the_client_loads_only_what_it_needs() -> None:
    found = loaded("from riverbridge import Client, InsertOpts")
    assert "psycopg" in found
    assert not found & {"sqlalchemy", "django", "asyncpg", "psycopg2", "psycopg_pool"}
    assert not found & {"boto3", "confluent_kafka", "pydantic", "starlette", "click", "rich"}


def test_job_functions_are_written_without_a_driver() -> None:
    found = loaded("from riverbridge import JobSnooze, RunningJob, Worker, Workers")
    assert not found & {"psycopg", "boto3", "confluent_kafka", "pydantic", "click", "rich"}
