"""River's job queue in Python, and its bridge to Kafka and SQS: the public names.

A name is loaded when it is first used, so that importing the package costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from riverbridge.client.async_client import AsyncClient
    from riverbridge.client.batch import AsyncInsertMiddleware, InsertHook, InsertMiddleware
    from riverbridge.client.client import Client
    from riverbridge.errors import (
        ClientError,
        ConfigurationError,
        InvalidJob,
        InvalidRequest,
        JobConflict,
        JobError,
        JobLost,
        JobNotFound,
        JobRunning,
        PeriodicJobNotFound,
        QueueNotFound,
        RiverbridgeError,
        SchemaError,
        WorkerError,
    )
    from riverbridge.model.args import JobArgs, RawArgs
    from riverbridge.model.job import AttemptError, Job, JobState
    from riverbridge.model.marks import Unique
    from riverbridge.model.options import (
        InsertManyParams,
        InsertOpts,
        InsertResult,
        NewJob,
    )
    from riverbridge.model.queue import Queue
    from riverbridge.model.retry import ExponentialRetry, FixedRetry, RetryPolicy, RiverRetry
    from riverbridge.model.schedule import (
        CronSchedule,
        NeverSchedule,
        PeriodicInterval,
        Schedule,
    )
    from riverbridge.model.unique import UniqueOpts, unique_key
    from riverbridge.store.administration import JobListResult
    from riverbridge.upkeep.periodic import PeriodicJob, PeriodicJobs
    from riverbridge.worker.events import Event, EventKind
    from riverbridge.worker.executor import QueueConfig
    from riverbridge.worker.job import JobCancel, JobSnooze, RunningJob, current_job
    from riverbridge.worker.log_handler import JobLogHandler
    from riverbridge.worker.pool import PoolOptions, Retention, WorkerPool
    from riverbridge.worker.registry import Worker, Workers, WorkHook

__all__ = [
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

_HOMES = {
    "client.async_client": ("AsyncClient",),
    "client.batch": ("AsyncInsertMiddleware", "InsertHook", "InsertMiddleware"),
    "client.client": ("Client",),
    "errors": (
        "ClientError",
        "ConfigurationError",
        "InvalidJob",
        "InvalidRequest",
        "JobConflict",
        "JobLost",
        "JobError",
        "JobNotFound",
        "JobRunning",
        "PeriodicJobNotFound",
        "QueueNotFound",
        "RiverbridgeError",
        "SchemaError",
        "WorkerError",
    ),
    "model.args": ("JobArgs", "RawArgs"),
    "model.job": ("AttemptError", "Job", "JobState"),
    "model.marks": ("Unique",),
    "model.options": ("InsertManyParams", "InsertOpts", "InsertResult", "NewJob"),
    "model.queue": ("Queue",),
    "model.retry": ("ExponentialRetry", "FixedRetry", "RetryPolicy", "RiverRetry"),
    "model.schedule": ("CronSchedule", "NeverSchedule", "PeriodicInterval", "Schedule"),
    "model.unique": ("UniqueOpts", "unique_key"),
    "store.administration": ("JobListResult",),
    "upkeep.periodic": ("PeriodicJob", "PeriodicJobs"),
    "worker.events": ("Event", "EventKind"),
    "worker.executor": ("QueueConfig",),
    "worker.job": ("JobCancel", "JobSnooze", "RunningJob", "current_job"),
    "worker.pool": ("PoolOptions", "Retention", "WorkerPool"),
    "worker.log_handler": ("JobLogHandler",),
    "worker.registry": ("WorkHook", "Worker", "Workers"),
}

if not TYPE_CHECKING:  # a type checker would take every name for a public one

    def __getattr__(name: str) -> object:
        for home, names in _HOMES.items():
            if name in names:
                value = getattr(import_module(f"riverbridge.{home}"), name)
                globals()[name] = value
                return value
        raise AttributeError(f"module 'riverbridge' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
