"""Workers on a real table: what functions do becomes rows, and nothing is lost on the way."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

import psycopg
import pytest

from riverbridge.client.client import Client
from riverbridge.errors import ConfigurationError, SchemaError
from riverbridge.model.args import RawArgs
from riverbridge.model.job import JobState
from riverbridge.model.options import InsertOpts
from riverbridge.model.retry import FixedRetry
from riverbridge.model.schedule import PeriodicInterval
from riverbridge.upkeep.periodic import PeriodicJob, PeriodicJobs
from riverbridge.worker.events import EventKind
from riverbridge.worker.executor import QueueConfig
from riverbridge.worker.job import JobCancel, JobSnooze, RunningJob
from riverbridge.worker.pool import PoolOptions, WorkerPool
from riverbridge.worker.registry import Worker, Workers
from riverbridge.worker.watch import StuckJob
from tests.support.database import Database
from tests.support.wait import eventually


class Scene:
    """A database, a client on it, and functions that do as the job's args say."""

    def __init__(self, tables: Database) -> None:
        self.dsn = tables.dsn
        self.client = Client(tables.dsn)
        self.look = psycopg.connect(tables.dsn, autocommit=True)
        self.begun: list[int] = []
        self.let_go = threading.Event()
        self.workers = Workers()
        self.workers.work(RawArgs, kind="thread")(self.in_a_thread)
        self.workers.work(RawArgs, kind="loop")(self.in_the_loop)

    def insert(self, how: str, *, kind: str = "loop", **options: Any) -> int:
        args = RawArgs(kind, json.dumps({"how": how}))
        return self.client.insert(args, InsertOpts(**options)).job.id

    def row(self, id_: int) -> dict[str, Any]:
        with self.look.cursor(row_factory=psycopg.rows.dict_row) as cursor:
            found = cursor.execute("SELECT * FROM river_job WHERE id = %s", [id_]).fetchone()
        assert found is not None
        return found

    def state(self, id_: int) -> str:
        return str(self.row(id_)["state"])

    def ends(self, id_: int, state: str, within: float = 10.0) -> dict[str, Any]:
        eventually(lambda: self.state(id_) == state, within)
        return self.row(id_)

    async def in_the_loop(self, job: RunningJob[RawArgs]) -> None:
        self.begun.append(job.id)
        match json.loads(job.args.json)["how"]:
            case "wait":
                while not self.let_go.is_set():
                    await asyncio.sleep(0.005)
            case "lease":
                await job.lease()
                assert self.state(job.id) == "running"
                job.record_output({"attempt": job.attempt})
            case "complete" | "undo" as how:
                await job.lease()
                await asyncio.to_thread(self.complete, how, job)
            case how:
                self.do(how, job)

    def in_a_thread(self, job: RunningJob[RawArgs]) -> None:
        self.begun.append(job.id)
        match json.loads(job.args.json)["how"]:
            case "wait":
                while not (self.let_go.is_set() or job.cancelled.wait(0.005)):
                    pass
                job.raise_if_cancelled()
            case "lease":
                job.lease()
                assert self.state(job.id) == "running"
            case "complete" | "undo" as how:
                job.lease()
                self.complete(how, job)
            case how:
                self.do(how, job)

    def complete(self, how: str, job: RunningJob[RawArgs]) -> None:
        job.record_output("kept")
        with psycopg.connect(self.dsn) as connection:
            done = self.client.job_complete_tx(connection, job)
            assert done.state is JobState.COMPLETED
            if how == "undo":
                raise ValueError("undone")

    def do(self, how: str, job: RunningJob[RawArgs]) -> None:
        match how:
            case "fail":
                raise ValueError("no\x00good")
            case "snooze":
                raise JobSnooze(3600)
            case "cancel":
                raise JobCancel("enough")
            case "output":
                job.record_output([1, "é"])
                job.metadata_set("seen", True)


@pytest.fixture
def scene(tables: Database) -> Iterator[Scene]:
    one = Scene(tables)
    yield one
    one.let_go.set()
    one.client.close()
    one.look.close()


@contextmanager
def working(
    scene: Scene, options: PoolOptions | None = None, **queues: int
) -> Iterator[WorkerPool]:
    configs = {name: QueueConfig(size) for name, size in (queues or {"default": 10}).items()}
    pool = WorkerPool(scene.dsn, scene.workers, configs, options or PoolOptions())
    pool.start()
    try:
        yield pool
    finally:
        scene.let_go.set()
        assert pool.stop(timeout=20)


@pytest.mark.parametrize("kind", ["loop", "thread"])
def test_what_a_function_does_becomes_its_row(scene: Scene, kind: str) -> None:
    ids = {
        how: scene.insert(how, kind=kind, max_attempts=1 if how == "fail" else 3)
        for how in ("return", "fail", "snooze", "cancel", "output", "lease")
    }
    with working(scene):
        done = scene.ends(ids["return"], "completed")
        assert (done["attempt"], done["errors"], done["metadata"]) == (1, None, {})
        assert done["attempted_by"]
        assert done["finalized_at"] >= done["attempted_at"]
        failed = scene.ends(ids["fail"], "discarded")
        (error,) = failed["errors"]
        assert error["error"] == "no\\u0000good"
        assert "ValueError" in error["trace"]
        assert (error["attempt"], failed["attempt"]) == (1, 1)
        snoozed = scene.ends(ids["snooze"], "scheduled")
        assert (snoozed["attempt"], snoozed["metadata"]) == (0, {"snoozes": 1})
        cancelled = scene.ends(ids["cancel"], "cancelled")
        assert cancelled["errors"][0]["error"] == "JobCancelError: enough"
        noted = scene.ends(ids["output"], "completed")
        assert noted["metadata"] == {"output": [1, "é"], "seen": True}
        scene.ends(ids["lease"], "completed")


@pytest.mark.parametrize("kind", ["loop", "thread"])
def test_a_slow_job_holds_no_lock_and_its_lane_goes_on(scene: Scene, kind: str) -> None:
    with working(scene, PoolOptions(hold=0.2, lanes=1)):
        slow = scene.insert("wait", kind=kind)
        assert scene.ends(slow, "running")["attempt"] == 1
        quick = [scene.insert("return", kind=kind) for _ in range(20)]
        for id_ in quick:
            scene.ends(id_, "completed")
        assert scene.state(slow) == "running"
        scene.let_go.set()
        scene.ends(slow, "completed")
        assert scene.begun.count(slow) == 1


@pytest.mark.parametrize("kind", ["loop", "thread"])
def test_a_stop_gives_running_jobs_their_time_then_takes_them_back(scene: Scene, kind: str) -> None:
    pool = WorkerPool(
        scene.dsn,
        scene.workers,
        {"default": QueueConfig(10)},
        PoolOptions(soft_stop_timeout=0.3, hold=0.1),
    )
    pool.start()
    slow = scene.insert("wait", kind=kind)
    eventually(lambda: slow in scene.begun)
    later = scene.insert("return", kind=kind, priority=4)
    scene.ends(later, "completed")
    began = time.monotonic()
    assert pool.stop(timeout=20)
    assert 0.3 <= time.monotonic() - began < 10
    row = scene.row(slow)
    assert (row["state"], row["attempt"], row["errors"]) == ("available", 0, None)
    assert scene.look.execute("SELECT count(*) FROM riverbridge_process").fetchone() == (0,)
    with working(scene):
        scene.let_go.set()
        scene.ends(slow, "completed")


def test_a_stop_waits_for_as_long_as_jobs_take(scene: Scene) -> None:
    pool = WorkerPool(scene.dsn, scene.workers, {"default": QueueConfig(10)}, PoolOptions(hold=0.1))
    pool.start()
    slow = scene.insert("wait")
    scene.ends(slow, "running")
    stopped = threading.Thread(target=pool.stop)
    stopped.start()
    new = scene.insert("return")
    stopped.join(1.0)
    assert stopped.is_alive()
    assert scene.state(slow) == "running"
    scene.let_go.set()
    stopped.join(20)
    assert not stopped.is_alive()
    assert (scene.state(slow), scene.state(new)) == ("completed", "available")


def test_no_more_run_at_once_than_there_are_slots(scene: Scene) -> None:
    with working(scene, PoolOptions(hold=0.2), default=3, other=1):
        ids = [scene.insert("wait") for _ in range(10)]
        others = [scene.insert("wait", queue="other") for _ in range(3)]
        eventually(lambda: len(scene.begun) == 4)
        eventually(lambda: sum(scene.state(id_) == "running" for id_ in ids + others) == 4)
        assert len(scene.begun) == 4
        scene.let_go.set()
        for id_ in ids + others:
            scene.ends(id_, "completed")
        assert sorted(scene.begun) == sorted(ids + others)


def listening(scene: Scene) -> None:
    """Wait until a pool hears orders."""
    heard = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'LISTEN%leadership%'"
    eventually(lambda: scene.look.execute(heard).fetchone() == (1,))


def test_a_job_that_runs_is_cancelled_from_outside(scene: Scene) -> None:
    with working(scene, PoolOptions(hold=0.1)) as pool, pool.events.subscribe([*EventKind]) as told:
        listening(scene)
        ids = [scene.insert("wait", kind=kind) for kind in ("loop", "thread")]
        for id_ in ids:
            scene.ends(id_, "running")
            order = json.dumps({"action": "cancel", "job_id": id_, "queue": "default"})
            scene.look.execute("SELECT pg_notify('public.river_control', %s)", [order])
            row = scene.ends(id_, "cancelled")
            assert row["errors"][0]["error"] == "JobCancelError: job cancelled remotely"
        events = [told.get(5.0) for _ in ids]
        assert [event and (event.kind, event.job and event.job.id) for event in events] == [
            (EventKind.JOB_CANCELLED, id_) for id_ in ids
        ]


def test_a_paused_queue_rests_until_it_is_resumed(scene: Scene) -> None:
    with working(scene) as pool, pool.events.subscribe(["queue_paused", "queue_resumed"]) as told:
        listening(scene)
        for action, then in (("pause", "paused_at = now()"), ("resume", "paused_at = NULL")):
            scene.look.execute(f"UPDATE river_queue SET {then} WHERE name = 'default'")
            order = json.dumps({"action": action, "queue": "default"})
            scene.look.execute("SELECT pg_notify('public.river_control', %s)", [order])
            event = told.get(5.0)
            assert event is not None
            assert event.queue == "default"
            if action == "pause":
                id_ = scene.insert("return")
                assert told.get(0.5) is None
                assert scene.state(id_) == "available"
        scene.ends(id_, "completed")


def test_queues_come_and_go_while_it_works(scene: Scene) -> None:
    with working(scene) as pool:
        first = scene.insert("return", queue="later")
        pool.add_queue("later", QueueConfig(1))
        scene.ends(first, "completed")
        with pytest.raises(ConfigurationError, match="worked already"):
            pool.add_queue("later", QueueConfig(1))
        slow = scene.insert("wait", queue="later")
        eventually(lambda: slow in scene.begun)
        pool.remove_queue("later")
        with pytest.raises(ConfigurationError, match="not worked here"):
            pool.remove_queue("later")
        scene.let_go.set()
        scene.ends(slow, "completed")
        left, other = scene.insert("return", queue="later"), scene.insert("return")
        scene.ends(other, "completed")
        assert scene.state(left) == "available"


def test_kinds_nobody_here_knows_are_left_or_failed(scene: Scene) -> None:
    stranger = scene.insert("return", kind="stranger", priority=1)
    with working(scene):
        known = scene.insert("return", priority=4)
        scene.ends(known, "completed")
        assert scene.state(stranger) == "available"
    with working(scene, PoolOptions(unknown="fail", retry=FixedRetry(3600))):
        row = scene.ends(stranger, "retryable")
        assert "is not registered in the client's Workers bundle" in row["errors"][0]["error"]


def test_a_lost_connection_ends_what_ran_under_its_locks(scene: Scene) -> None:
    with working(scene, PoolOptions(hold=5.0, lanes=1)):
        id_ = scene.insert("wait")
        eventually(lambda: id_ in scene.begun)
        scene.look.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE state = 'idle in transaction' AND datname = current_database()"
        )
        eventually(lambda: scene.begun.count(id_) == 2)
        scene.let_go.set()
        assert scene.ends(id_, "completed")["attempt"] == 1


@pytest.mark.parametrize("kind", ["loop", "thread"])
def test_a_function_completes_its_job_in_its_own_transaction(
    scene: Scene, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    kept, undone = scene.insert("complete", kind=kind), scene.insert("undo", kind=kind)
    with working(scene, PoolOptions(hold=0.5, retry=FixedRetry(3600))) as pool:
        with pool.events.subscribe(["job_completed"]) as told:
            assert scene.ends(kept, "completed")["metadata"] == {"output": "kept"}
            row = scene.ends(undone, "retryable")
            assert (row["errors"][0]["error"], row["metadata"]) == ("undone", {"output": "kept"})
            event = told.get(5.0)
        assert event is not None
        assert event.job is not None
        assert event.job.id == kept
    assert "no longer ours" not in caplog.text


def test_periodic_jobs_are_inserted_and_worked(scene: Scene) -> None:
    periodic = PeriodicJobs(
        [
            PeriodicJob(
                PeriodicInterval(timedelta(hours=1)),
                lambda: RawArgs("loop", '{"how": "return"}'),
                id="hourly",
                run_on_start=True,
            )
        ]
    )
    pool = WorkerPool(scene.dsn, scene.workers, {"default": QueueConfig(1)}, periodic=periodic)
    with pool:
        row = scene.ends(1, "completed", within=20)
    assert row["metadata"] == {"periodic": True, "river:periodic_job_id": "hourly"}


def test_what_another_client_left_running_is_rescued(scene: Scene) -> None:
    left, unknown = scene.insert("return"), scene.insert("return", kind="stranger")
    scene.look.execute(
        "UPDATE river_job SET state = 'running', attempt = 1, attempted_by = '{go}',"
        " attempted_at = now() - interval '2 hours'"
    )
    options = PoolOptions(retry=FixedRetry(3600))
    with working(scene, options):
        row = scene.ends(left, "retryable", within=20)
        assert row["errors"][0]["error"] == "Stuck job rescued by JobRescuer"
        assert scene.state(unknown) == "running"


@dataclass
class Import:
    minutes: int
    kind: ClassVar[str] = "import"


class Importer(Worker[Import]):
    def work(self, job: RunningJob[Import]) -> None: ...

    def timeout(self, job: RunningJob[Import]) -> float | None:
        return -1 if job.args.minutes == 0 else 60

    def next_retry(self, job: RunningJob[Import]) -> float | None:
        assert (job.attempt, job.failures) == (1, 0)
        return job.args.minutes * 60


@pytest.mark.parametrize("owner", ["go", "riverbridge_dead"])
def test_a_lost_job_is_tried_again_when_its_kind_says(scene: Scene, owner: str) -> None:
    """By the leader where it was stuck in a client in Go, by all where a Python process died."""
    scene.workers.add(Importer())
    scene.workers.work(RawArgs, kind="hourly", retry=FixedRetry(3600))(scene.in_a_thread)
    own = scene.client.insert(Import(30)).job.id
    endless = scene.client.insert(Import(0)).job.id
    unreadable = scene.insert("return", kind="import")
    hourly, other = (scene.insert("return", kind=kind) for kind in ("hourly", "loop"))
    if owner == "riverbridge_dead":
        scene.look.execute(
            "INSERT INTO riverbridge_process (id, host, pid, version, heartbeat_at, queues)"
            " VALUES ('riverbridge_dead', 'gone', 1, '0', now() - interval '1 hour', '{default}')"
        )
    scene.look.execute(
        "UPDATE river_job SET state = 'running', attempt = 1, attempted_by = ARRAY[%s],"
        " attempted_at = now() - interval '2 hours'",
        [owner],
    )
    with working(scene, PoolOptions(retry=FixedRetry(9000))):
        for id_, minutes in ((own, 30), (hourly, 60), (other, 150), (unreadable, 150)):
            row = scene.ends(id_, "retryable", within=20)
            assert len(row["errors"]) == 1
            delay = (row["scheduled_at"] - datetime.now(UTC)).total_seconds()
            assert 0.85 * minutes * 60 < delay < 1.15 * minutes * 60, row["kind"]
        if owner == "go":
            assert scene.state(endless) == "running"


def test_a_stuck_job_gives_its_slot_to_others_when_told_to(scene: Scene) -> None:
    told: list[int] = []
    scene.workers.work(RawArgs, kind="hangs", timeout=0.1)(lambda job: scene.let_go.wait(10))

    def on_stuck(job: StuckJob) -> bool:
        told.append(job.id)
        return True

    queues = {"default": QueueConfig(1)}
    options = PoolOptions(stuck_after=0.1)
    with WorkerPool(scene.dsn, scene.workers, queues, options, on_stuck=on_stuck):
        hangs = scene.insert("wait", kind="hangs")
        eventually(lambda: told == [hangs])
        scene.ends(scene.insert("return"), "completed")
        scene.let_go.set()
        scene.ends(hangs, "completed")


def test_indexes_are_rebuilt_when_the_schedule_says(scene: Scene) -> None:
    node = "SELECT relfilenode FROM pg_class WHERE relname = 'river_job_kind'"
    before = scene.look.execute(node).fetchone()
    options = PoolOptions(reindex_schedule=PeriodicInterval(timedelta(seconds=1)))
    with working(scene, options):
        eventually(lambda: scene.look.execute(node).fetchone() != before, 20)


def test_a_leader_leaves_alone_what_a_python_process_is_at(scene: Scene) -> None:
    with working(scene, PoolOptions(hold=0.1, elections=False)):
        slow, left = scene.insert("wait"), scene.insert("return", queue="other")
        scene.ends(slow, "running")
        scene.look.execute(
            "UPDATE river_job SET state = 'running', attempt = 1, attempted_by = '{go}',"
            " attempted_at = now() - interval '1 hour' WHERE id = %s",
            [left],
        )
        leading = PoolOptions(rescue_after=timedelta(seconds=0.1))
        with WorkerPool(scene.dsn, scene.workers, {"idle": QueueConfig(1)}, leading):
            scene.ends(left, "retryable", within=20)
        assert scene.state(slow) == "running"
        scene.let_go.set()
        assert scene.ends(slow, "completed")["attempt"] == 1
        assert scene.begun.count(slow) == 1


def test_after_a_crash_jobs_are_leased_before_they_run(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    scene.look.execute(
        "INSERT INTO riverbridge_process (id, host, pid, version, started_at, heartbeat_at, queues)"
        " VALUES ('riverbridge_dead', 'gone', 1, '0', now() - interval '1 hour',"
        " now() - interval '1 hour', '{default}')"
    )
    id_ = scene.insert("wait")
    with caplog.at_level(logging.WARNING), working(scene, PoolOptions(hold=5.0)):
        eventually(lambda: id_ in scene.begun)
        assert scene.state(id_) == "running"
        scene.let_go.set()
        scene.ends(id_, "completed")
        assert "died without signing off" in caplog.text
        eventually(
            lambda: (
                scene.look.execute(
                    "SELECT count(*) FROM riverbridge_process WHERE id = 'riverbridge_dead'"
                ).fetchone()
                == (0,)
            ),
            within=30,  # the keeper looks every few seconds, and forgets what it found empty before
        )


def test_what_cannot_work_is_said_before_anything_starts(
    scene: Scene, empty_database: Database
) -> None:
    queues = {"default": QueueConfig(1)}
    with pytest.raises(ConfigurationError, match="none is registered"):
        WorkerPool(scene.dsn, Workers(), queues)
    with pytest.raises(ConfigurationError, match="queue 'No'"):
        WorkerPool(scene.dsn, scene.workers, {"No": QueueConfig(1)})
    with pytest.raises(SchemaError, match="riverbridge migrate up"):
        WorkerPool(empty_database.dsn, scene.workers, queues).start()
