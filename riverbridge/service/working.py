"""A worker process: settings and job functions in, a pool and its probes out."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from riverbridge.client.client import Client
from riverbridge.console.probes import Server, application
from riverbridge.engine.identity import VERSION
from riverbridge.engine.supervisor import Supervisor
from riverbridge.errors import ConfigurationError, WorkerError
from riverbridge.service.process import tune, wait_for
from riverbridge.service.wiring import kept, serve_metrics
from riverbridge.settings import Settings
from riverbridge.worker.executor import QueueConfig
from riverbridge.worker.pool import PoolOptions, Retention, WorkerPool
from riverbridge.worker.registry import Workers

log = logging.getLogger(__name__)


def find_workers(target: str) -> Workers:
    """The `Workers` that `target` names, as `module:attribute`; the attribute is `workers` if it is
    left out. The working directory counts as a place of modules.

    Raises ConfigurationError for what is not there or is something else. What the module itself
    raises is passed on.
    """
    name, _, attribute = target.partition(":")
    attribute = attribute or "workers"
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise
        raise ConfigurationError(
            f"{target}: there is no module {error.name} here; run this where it can be imported, "
            "or set PYTHONPATH"
        ) from error
    except (ImportError, ValueError) as error:
        raise ConfigurationError(f"{target}: give module:attribute: {error}") from error
    for part in attribute.split("."):
        found = getattr(found, part, None)
    if not isinstance(found, Workers):
        raise ConfigurationError(
            f"{target}: {attribute} is {type(found).__name__}, not riverbridge.Workers"
        )
    return found


def read_queues(given: Sequence[str]) -> dict[str, QueueConfig]:
    """Queues as `name=jobs at once`. Raises ConfigurationError with every problem."""
    queues: dict[str, QueueConfig] = {}
    problems: list[str] = []
    for text in given:
        name, equals, size = text.partition("=")
        if not equals or not size.isascii() or not size.isdigit():
            problems.append(f"--queue {text}: give name=jobs, such as default=100")
            continue
        try:
            queues[name] = QueueConfig(int(size))
        except WorkerError as error:
            problems.append(f"--queue {text}: {error}")
    if problems:
        raise ConfigurationError(problems)
    return queues


class WorkerProcess:
    """The pool, its probes and what they say. Construct, `start`, `stop`."""

    def __init__(
        self, settings: Settings, workers: Workers, queues: Mapping[str, QueueConfig]
    ) -> None:
        """Raises ConfigurationError."""
        if settings.database_url is None:
            raise ConfigurationError("DATABASE_URL: not set; it names the Postgres of River's jobs")
        dsn = settings.database_url.get_secret_value()
        listen = settings.listen_url
        retention = settings.retention
        self.version = VERSION
        self._client = Client(dsn, schema=settings.db_schema)
        self._pool = WorkerPool(
            dsn,
            workers,
            queues,
            PoolOptions(
                schema=settings.db_schema,
                name=settings.name,
                soft_stop_timeout=settings.grace,
                poll_interval=settings.poll_interval,
                poll_only=not settings.listen,
                pooler=settings.pooler,
                listen_dsn=None if listen is None else listen.get_secret_value(),
                hold=settings.hold,
                lanes=settings.lanes,
                elections=settings.elections,
                retention=Retention(
                    completed=kept(retention.completed),
                    cancelled=kept(retention.cancelled),
                    discarded=kept(retention.discarded),
                ),
            ),
            client=self._client,
        )
        probes = settings.probes
        self._probes = Server(application(self), host=probes.host, port=probes.port)
        self.port = self._probes.port
        self._stop = threading.Event()
        self._threads = Supervisor(self._stop)

    def start(self, stop: threading.Event) -> None:
        """Answer the probes, wait for the database until `stop`, then work."""
        self._threads.start("probes", self._probes.run)
        self._pool.start(stop)

    def stop(self) -> bool:
        """What runs has the grace time to finish, and then a few seconds to be cancelled."""
        try:
            return self._pool.stop(timeout=5.0)
        finally:
            self._client.close()
            self._stop.set()
            self._threads.join(5.0)
            self._probes.close()

    def checks(self) -> dict[str, str | None]:
        """Readiness: each part by its progress (`riverbridge.console.probes.Health`)."""
        return self._pool.checks()

    def notes(self) -> dict[str, str]:
        """Nothing."""
        return {}


def work(
    settings: Settings,
    workers: Workers,
    queues: Mapping[str, QueueConfig],
    stop: threading.Event,
) -> bool:
    """Work jobs until `stop` is set; returns whether all ended then. Raises ConfigurationError."""
    serve_metrics()
    process = WorkerProcess(settings, workers, queues)
    try:
        process.start(stop)
        tune()
        wait_for(stop)
    finally:
        ended = process.stop()
    return ended
