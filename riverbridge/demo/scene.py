"""The servers, the bridge, the worker and the reader: started, watched and stopped together."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
import psycopg

import riverbridge
from riverbridge.demo.go_worker import NotBuilt, find_worker
from riverbridge.demo.report import BACK, BACK_KIND, GO_ID, GO_STORE, QUEUE, STORES, Report
from riverbridge.embedded.broker import Broker
from riverbridge.embedded.postgres import Postgres
from riverbridge.embedded.process import (
    LOOPBACK,
    ChildProcess,
    free_port,
    plain_environment,
    port_answers,
)
from riverbridge.embedded.sqs import REGION, SqsServer
from riverbridge.errors import ServerFailed
from riverbridge.sql import statement
from riverbridge.sql.migrations import LINES
from riverbridge.store.migrate import Migrator

TOPIC = "orders"
PARTITIONS = 3
CONSOLE_PORT = 8080
"""Unless something else listens there."""


class Interrupted(Exception):
    """The user ended the demo before its parts were up."""


class Scene:
    """Everything the demo starts, on loopback and free ports, in temporary directories.

    `with Scene(): ...` stops it all; a guard process of each does so if this one is killed.
    """

    def __init__(self, *, batch_size: int | None = None) -> None:
        """batch_size: the bridge's, where its default shall not hold."""
        self._batch_size = batch_size
        self._postgres: Postgres | None = None
        self._broker: Broker | None = None
        self._sqs: SqsServer | None = None
        self._bridge: ChildProcess | None = None
        self._reader: ChildProcess | None = None
        self._worker: ChildProcess | None = None
        self._go_worker: ChildProcess | None = None
        self._queue_url = ""
        self._read_to = 0
        self._bridges = 0
        self.report = Report()
        self._console_port = free_port() if port_answers(CONSOLE_PORT) else CONSOLE_PORT
        self.directory = Path(tempfile.mkdtemp(prefix="riverbridge-demo-"))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with ExitStack() as stack:  # the last one first, and all of them, whatever one of them says
            stack.callback(shutil.rmtree, self.directory, ignore_errors=True)
            for server in (self._postgres, self._broker, self._sqs):
                if server is not None:
                    stack.callback(server.stop)
            for child in (self._reader, self._worker, self._go_worker, self._bridge):
                if child is not None:
                    stack.callback(child.stop)

    @property
    def database_url(self) -> str:
        assert self._postgres is not None  # start() has returned
        return self._postgres.dsn()

    @property
    def owner(self) -> str:
        """What the present bridge process' client id begins with, as a pattern for LIKE."""
        return f"riverbridge\\_demo-{self._bridges}\\_%"

    def start(self, stopped: Callable[[], bool], say: Callable[[str], None]) -> None:
        """Start all but the bridge, the servers side by side.

        Raises PartMissing and ServerFailed; Interrupted once `stopped()` is true.
        """
        with ThreadPoolExecutor(3, thread_name_prefix="start") as pool:
            starts = [
                pool.submit(self._start_postgres),
                pool.submit(self._start_broker),
                pool.submit(self._start_sqs),
            ]
            self._await(starts, stopped, say)
        self._start_go_worker(stopped, say)
        self._start_worker()
        self._start_reader()
        say(f"Console on http://{LOOPBACK}:{self._console_port}/ while the bridge runs")

    @staticmethod
    def _await(
        starts: list[Future[str]], stopped: Callable[[], bool], say: Callable[[str], None]
    ) -> None:
        pending = set(starts)
        failure: BaseException | None = None
        while pending and not stopped():
            done, pending = wait(pending, timeout=0.1, return_when="FIRST_COMPLETED")
            for future in done:
                failure = failure or future.exception()
                if future.exception() is None:
                    say(future.result())
        if stopped():  # Ctrl-C reaches what a start runs in the foreground: its failure is no news
            raise Interrupted
        if failure is not None:
            raise failure

    def _start_postgres(self) -> str:
        self._postgres = server = Postgres(password=True)
        server.start()
        for line in LINES:
            Migrator(server.dsn(), line=line).up()
        with psycopg.connect(server.dsn(), autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement("demo/create"))
        return f"Postgres {server.version} on port {server.port}, with River's tables"

    def _start_broker(self) -> str:
        self._broker = server = Broker()
        server.start()
        server.create_topic(TOPIC, PARTITIONS)
        return f"Kafka broker (Tansu {server.version}) on port {server.port}"

    def _start_sqs(self) -> str:
        self._sqs = server = SqsServer()
        server.start()
        self._queue_url = server.create_queue("billing")
        return f"SQS (ministack {server.version}) on port {server.port}"

    def start_bridge(self) -> None:
        """Start the bridge, as a supervisor would: without waiting for it."""
        assert self._broker is not None
        assert self._sqs is not None
        self._bridges += 1
        settings = {
            "DATABASE_URL": self.database_url,
            "RIVERBRIDGE_NAME": f"demo-{self._bridges}",
            "RIVERBRIDGE_SOURCE_NAME": "demo",
            "RIVERBRIDGE_SINKS__EVENTS__TYPE": "kafka",
            "RIVERBRIDGE_SINKS__EVENTS__BOOTSTRAP_SERVERS": self._broker.bootstrap_servers,
            "RIVERBRIDGE_SINKS__EVENTS__TOPIC": TOPIC,
            "RIVERBRIDGE_SINKS__BILLING__TYPE": "sqs",
            "RIVERBRIDGE_SINKS__BILLING__QUEUE_URL": self._queue_url,
            "RIVERBRIDGE_SINKS__BILLING__ENDPOINT_URL": self._sqs.endpoint_url,
            "RIVERBRIDGE_SINKS__BILLING__REGION": REGION,
            "RIVERBRIDGE_ROUTES__ORDERS__QUEUES": QUEUE,
            "RIVERBRIDGE_ROUTES__ORDERS__KINDS": "order.*",
            "RIVERBRIDGE_ROUTES__ORDERS__SINKS": "events,billing",
            "RIVERBRIDGE_ROUTES__ORDERS__KEY": "{args.customer_id}",
            "RIVERBRIDGE_ROUTES__ORDERS__ORDERED": "false",
            # A job that was leased at several kills would otherwise wait for minutes.
            "RIVERBRIDGE_ROUTES__ORDERS__RETRY": "fixed",
            "RIVERBRIDGE_ROUTES__ORDERS__RETRY_DELAY": "1",
            # And back again: what is in the topic becomes jobs, which the workers work.
            "RIVERBRIDGE_SOURCES__BACK__TYPE": "kafka",
            "RIVERBRIDGE_SOURCES__BACK__BOOTSTRAP_SERVERS": self._broker.bootstrap_servers,
            "RIVERBRIDGE_SOURCES__BACK__TOPICS": TOPIC,
            "RIVERBRIDGE_SOURCES__BACK__KIND": BACK_KIND,
            "RIVERBRIDGE_SOURCES__BACK__QUEUE": "received_{body.store}",
            # A member that was killed is missed soon.
            "RIVERBRIDGE_SOURCES__BACK__CONFIG": '{"session.timeout.ms":1000}',
            "RIVERBRIDGE_PROBES__PORT": "0",
            "RIVERBRIDGE_HTTP__PORT": str(self._console_port),
            "RIVERBRIDGE_HTTP__LABEL": "demo",
            "RIVERBRIDGE_HTTP__COLOUR": "teal",
            "RIVERBRIDGE_GRACE": "5",
            "RIVERBRIDGE_LOG__FORMAT": "text",
        }
        if self._batch_size is not None:
            settings["RIVERBRIDGE_BATCH_SIZE"] = str(self._batch_size)
        self._bridge = self._child(["riverbridge", "run"], f"bridge-{self._bridges}", settings)
        self._bridge.start(lambda: True)

    def _start_go_worker(self, stopped: Callable[[], bool], say: Callable[[str], None]) -> None:
        """Start River's own, where it is to be had."""
        try:
            program = find_worker(self.directory / "go-build.log", stopped, say)
        except NotBuilt as error:
            if stopped():
                raise Interrupted from None
            say(f"No worker in Go ({error}): the one in Python takes all jobs")
            return
        self._go_worker = ChildProcess(
            [program, GO_ID, BACK[GO_STORE]],
            log=self.directory / "go-worker.log",
            cwd=self.directory,
            env=plain_environment(DATABASE_URL=self.database_url),
            scratch=[self.directory],
        )
        self._go_worker.start(lambda: True)
        say("Workers in Python and in Go: each takes the orders of one store")

    def _start_worker(self) -> None:
        settings = {
            "DATABASE_URL": self.database_url,
            "RIVERBRIDGE_ELECTIONS": "false",
            "RIVERBRIDGE_PROBES__PORT": "0",
            "RIVERBRIDGE_LOG__FORMAT": "text",
        }
        mine = [store for store in STORES if self._go_worker is None or store != GO_STORE]
        command = ["riverbridge", "work", "riverbridge.demo.worker:workers"]
        command += [f"--queue={BACK[store]}=100" for store in mine]
        self._worker = self._child(command, "worker", settings)
        self._worker.start(lambda: True)

    def _start_reader(self) -> None:
        assert self._broker is not None
        assert self._sqs is not None
        arguments = [
            "riverbridge.demo.reader",
            f"--bootstrap-servers={self._broker.bootstrap_servers}", f"--topic={TOPIC}",
            f"--endpoint-url={self._sqs.endpoint_url}", f"--queue-url={self._queue_url}",
        ]  # fmt: skip
        self._reader = self._child(arguments, "reader", {"DATABASE_URL": self.database_url})
        self._reader.start(lambda: self._new_report())

    def _child(
        self, arguments: list[str], name: str, environment: Mapping[str, str]
    ) -> ChildProcess:
        """One of our own programs, with this very code and no settings of the user's."""
        return ChildProcess(
            [sys.executable, "-m", *arguments],
            log=self.directory / f"{name}.log",
            cwd=self.directory,
            env=plain_environment(
                PYTHONPATH=str(Path(riverbridge.__file__).parents[1]),
                HOME=str(self.directory),
                AWS_ACCESS_KEY_ID="demo",
                AWS_SECRET_ACCESS_KEY="demo",  # noqa: S106 - ministack takes any
                AWS_DEFAULT_REGION=REGION,
                AWS_EC2_METADATA_DISABLED="true",
                **environment,
            ),
            scratch=[self.directory],
        )

    def check(self) -> None:
        """Read what the reader has told. Raises ServerFailed if it or the bridge has ended."""
        assert self._reader is not None
        reading = self._reader.running  # asked first: the last report comes before the end
        self._new_report()
        if not reading and not self.report.final:
            raise ServerFailed(f"the reader has ended:\n{self._reader.tail()}")
        for worker in (self._worker, self._go_worker):
            if worker is not None and not worker.running:
                raise ServerFailed(f"a worker has ended by itself:\n{worker.tail()}")
        if self._bridge is not None and not self._bridge.running:
            raise ServerFailed(f"the bridge has ended by itself:\n{self._bridge.tail()}")

    def _new_report(self) -> bool:
        """Take the newest whole line of the reader's log; whether there was one."""
        assert self._reader is not None
        with self._reader.log.open("rb") as log:
            log.seek(self._read_to)
            text = log.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._read_to += len(whole)
        told = [line for line in whole.splitlines() if line.startswith(b"{")]
        if told:
            self.report = msgspec.json.decode(told[-1], type=Report)
        return bool(told)

    def freeze(self) -> None:
        """Stop the bridge where it is; returns once it stands still."""
        assert self._bridge is not None
        self._bridge.pause()
        os.waitid(os.P_PID, self._bridge.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)

    def thaw(self) -> None:
        assert self._bridge is not None
        self._bridge.resume()

    def kill_bridge(self) -> None:
        """SIGKILL, also to a frozen bridge, which does not move any more."""
        assert self._bridge is not None
        self._bridge.send(signal.SIGKILL)
        self._bridge.kill()
        self._bridge = None

    def stop_bridge(self) -> None:
        """Ask it to end, as an operator would."""
        bridge, self._bridge = self._bridge, None
        if bridge is not None:
            bridge.stop()

    def read_to_the_end(self, stopped: Callable[[], bool], within: float = 150.0) -> bool:
        """Let the reader read what is left and compare. False if `stopped()` came first."""
        assert self._reader is not None
        self._reader.send(signal.SIGUSR1)
        limit = time.monotonic() + within
        while not self.report.final:
            if stopped():
                return False
            if time.monotonic() > limit:
                raise ServerFailed(f"the reader did not end within {within:g} s")
            self.check()
            time.sleep(0.02)
        return True
