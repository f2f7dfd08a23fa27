"""The grants of docs/operations.md are enough, and each of them is needed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta

import pytest
from psycopg import errors, sql

from riverbridge.bridge.deposit import Depositor
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.bridge.quarantine import retry
from riverbridge.bridge.replay import Replayer
from riverbridge.client.adapters.own import OwnConnection
from riverbridge.client.client import Client
from riverbridge.errors import ConfigurationError
from riverbridge.model.args import RawArgs
from riverbridge.model.options import InsertOpts
from riverbridge.model.outcome import Delivered, Misconfigured, Outcome, Permanent, Retry
from riverbridge.model.replay import ReplayFilter, ReplayRoute, plan_replay
from riverbridge.model.unique import UniqueOpts
from riverbridge.sinks.base import Message
from riverbridge.sinks.river import RiverSink
from riverbridge.sources.base import Event
from riverbridge.store import ingest, pauses
from riverbridge.store.dsn import connect
from riverbridge.store.queues import QueueTable
from tests.support.bridge import ScriptedSink, running_bridge
from tests.support.database import Database
from tests.support.roles import Role, grants, new_role
from tests.support.wait import eventually

DENIED = "permission denied"


BRIDGE = grants("bridge") + grants("receipts")
FIGURES = grants("figures")
UPKEEP, INSERT = grants("upkeep"), grants("insert")
UNIQUE = grants("unique")
ADMINISTRATION = grants("administration")
REPLAY = grants("replay")
PAUSES = grants("pauses")
RIVER_SINK = grants("river-sink")
INGEST = grants("ingest")


@pytest.fixture
def role(database: Database) -> Iterator[Role]:
    with new_role(database) as made:
        yield made


def answer(message: Message) -> Outcome:
    kind = dict(message.headers)["ce_type"]
    said: dict[str, Outcome] = {"refused": Permanent("no"), "failing": Retry("later")}
    return said.get(kind, Delivered())


def put(owner: Database, kind: str, **columns: object) -> None:
    """A row as an owner may write it."""
    given = {"kind": kind, "queue": "outbox", "max_attempts": 25, "args": "{}"} | columns
    with owner.connect() as connection:
        connection.execute(
            sql.SQL("INSERT INTO river_job ({}) VALUES ({})").format(
                sql.SQL(", ").join(map(sql.Identifier, given)),
                sql.SQL(", ").join(sql.Placeholder() * len(given)),
            ),
            list(given.values()),
        )


def fill(owner: Database) -> None:
    """Jobs that need every statement the bridge has."""
    for kind in ("plain", "refused"):
        put(owner, kind)
    put(owner, "failing", max_attempts=1)
    put(owner, "slow", queue="slow")
    put(owner, "due", state="scheduled", scheduled_at="2020-01-01Z")
    put(owner, "old", state="completed", finalized_at="2020-01-01Z")
    put(owner, "orphan", state="running", attempt=1, attempted_at="2020-01-01Z",
        attempted_by=["riverbridge_dead"])  # fmt: skip
    # The mask is `available`: the holder has the key, and its scheduled twin may exist beside it.
    twin = {"unique_key": b"twin", "unique_states": "00000001", "queue": "elsewhere"}
    put(owner, "holder", **twin)
    put(owner, "twin", state="scheduled", scheduled_at="2020-01-01Z", **twin)
    with owner.connect() as connection:
        connection.execute(
            "INSERT INTO riverbridge_process (id, host, pid, version, queues, heartbeat_at)"
            " VALUES ('riverbridge_dead', 'gone', 1, '0', '{outbox}', '2020-01-01Z')"
        )


def states(owner: Database) -> dict[str, str]:
    with owner.connect() as connection:
        return dict(connection.execute("SELECT kind, state::text FROM river_job").fetchall())


SETTINGS = {
    "ROUTES__OUTBOX__QUEUES": "outbox",
    "ROUTES__OUTBOX__MAX_AGE": "100d",
    "ROUTES__OUTBOX__RECEIPTS": "true",
    "ROUTES__SLOW__QUEUES": "slow",
    "ROUTES__SLOW__CLAIM": "lease",
}
DELIVERED = {
    "plain": "completed",
    "refused": "discarded",
    "failing": "discarded",
    "slow": "completed",
    "orphan": "completed",
    "holder": "available",
}
UNTOUCHED = {"due": "scheduled", "old": "completed", "twin": "scheduled"}
KEPT_UP = {"due": "cancelled", "twin": "discarded"}


@contextmanager
def bridge(role: Role, elections: bool = True) -> Iterator[None]:
    settings = SETTINGS | {"ELECTIONS": str(elections).lower()}
    with running_bridge(role.database, {"sink": ScriptedSink(answer)}, settings):
        yield


def test_the_grants_are_enough(role: Role, caplog: pytest.LogCaptureFixture) -> None:
    role.grant(BRIDGE + UPKEEP)
    fill(role.owner)
    with bridge(role):
        eventually(lambda: states(role.owner) == DELIVERED | KEPT_UP, within=60)
    assert DENIED not in caplog.text


def test_delivery_needs_no_rights_for_the_upkeep(
    role: Role, caplog: pytest.LogCaptureFixture
) -> None:
    role.grant(BRIDGE + FIGURES)
    fill(role.owner)
    with bridge(role, elections=False):
        eventually(lambda: states(role.owner) == DELIVERED | UNTOUCHED, within=60)
    assert DENIED not in caplog.text


@pytest.mark.parametrize("allowed", [True, False])
def test_what_sinks_did_is_recorded_where_that_is_allowed(
    role: Role, allowed: bool, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("riverbridge.service.running.INTERVAL", 0.2)
    role.grant(BRIDGE + (FIGURES if allowed else []))
    fill(role.owner)

    def recorded() -> list[tuple[str, int, int, int]]:
        with role.owner.connect() as connection:
            return connection.execute(
                "SELECT name, completed, failed, (SELECT sum(n)::int FROM unnest(run) AS n)"
                " FROM riverbridge_history WHERE facet = 'sink' AND step = 3600"
            ).fetchall()

    with bridge(role, elections=False):
        if allowed:
            eventually(lambda: recorded() == [("sink", 3, 2, 3)], within=60)
        else:
            eventually(lambda: f"{DENIED} for table riverbridge_history" in caplog.text, within=60)
            eventually(lambda: states(role.owner) == DELIVERED | UNTOUCHED, within=60)


@pytest.mark.parametrize("without", BRIDGE + UPKEEP)
def test_each_grant_of_the_bridge_is_needed(
    role: Role, without: str, caplog: pytest.LogCaptureFixture
) -> None:
    role.grant([statement for statement in BRIDGE + UPKEEP if statement != without])
    fill(role.owner)
    # Without USAGE the tables are as if they were not there, and so on: it may refuse to start.
    with suppress(ConfigurationError, errors.InsufficientPrivilege), bridge(role):
        eventually(lambda: DENIED in caplog.text, within=60)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE river_job SET args = '{}'",
        "UPDATE river_job SET queue = 'mine'",
        "INSERT INTO river_job (kind, max_attempts) VALUES ('mine', 1)",
        "TRUNCATE river_job",
        "DROP TABLE river_job",
        "DELETE FROM river_migration",
        "CREATE TABLE mine ()",
    ],
)
def test_the_bridge_may_not(role: Role, statement: str) -> None:
    role.grant(BRIDGE + UPKEEP)
    with role.database.connect() as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute(statement.encode())


def insert(role: Role) -> int:
    with Client(role.database.dsn) as client:
        assert client.insert_many_fast([RawArgs("plain", "{}")]) == 1
        return client.insert(RawArgs("plain", "{}"), InsertOpts(queue="outbox")).job.id


def insert_unique(role: Role) -> bool:
    with Client(role.database.dsn) as client:
        opts = InsertOpts(unique_opts=UniqueOpts(by_args=True))
        return client.insert(RawArgs("plain", "{}"), opts).unique_skipped_as_duplicate


def test_the_grants_for_inserting_are_enough(role: Role) -> None:
    role.grant(INSERT)
    assert insert(role) > 0
    with role.database.connect() as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("DELETE FROM river_job")


@pytest.mark.parametrize("without", INSERT)
def test_each_grant_for_inserting_is_needed(role: Role, without: str) -> None:
    role.grant([statement for statement in INSERT if statement != without])
    with pytest.raises((errors.InsufficientPrivilege, errors.UndefinedTable)):
        insert(role)


def test_the_grants_for_unique_jobs_are_enough(role: Role) -> None:
    role.grant(INSERT + UNIQUE)
    assert [insert_unique(role) for _ in range(2)] == [False, True]
    with role.database.connect() as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("UPDATE river_job SET state = 'available'")


@pytest.mark.parametrize("without", UNIQUE)
def test_each_grant_for_unique_jobs_is_needed(role: Role, without: str) -> None:
    role.grant(INSERT + [statement for statement in UNIQUE if statement != without])
    assert insert(role) > 0
    with pytest.raises(errors.InsufficientPrivilege):
        insert_unique(role)


def deliver(role: Role) -> set[type[Outcome]]:
    """What a River sink says of events, one of which it has delivered before."""
    sink = RiverSink(database_url=role.database.dsn)
    try:
        some = [Message(id_, b"{}", "plain") for id_ in "ab"]
        first = sink.deliver(some[:1], time.monotonic() + 10)
        return {type(outcome) for outcome in (*first, *sink.deliver(some, time.monotonic() + 10))}
    finally:
        sink.close()


def test_the_grants_for_a_river_sink_are_enough(role: Role) -> None:
    role.grant(RIVER_SINK)
    assert deliver(role) == {Delivered}


@pytest.mark.parametrize("without", RIVER_SINK)
def test_each_grant_for_a_river_sink_is_needed(role: Role, without: str) -> None:
    role.grant([statement for statement in RIVER_SINK if statement != without])
    assert deliver(role) == {Misconfigured}


def look_after(role: Role) -> None:
    """Every operation on jobs and queues."""
    put(role.owner, "k")
    with role.owner.connect() as connection:
        connection.execute(
            "INSERT INTO river_queue (name, created_at, metadata, updated_at)"
            " VALUES ('q', now(), '{}', now())"
        )
    with Client(role.database.dsn) as client:
        [job] = client.job_list().jobs
        client.job_get(job.id)
        client.job_cancel(job.id)
        client.job_retry(job.id)
        client.job_update(job.id, output=1)
        client.job_delete(job.id)
        client.job_delete_many(kinds=["k"])
        client.queue_list()
        client.queue_get("q")
        client.queue_pause("q")
        client.queue_resume("*")
        client.queue_update("q", metadata={"a": 1})


def test_the_grants_for_looking_after_jobs_are_enough(role: Role) -> None:
    role.grant(ADMINISTRATION)
    look_after(role)
    with role.database.connect() as connection, pytest.raises(errors.InsufficientPrivilege):
        connection.execute("UPDATE river_job SET args = '{}'")


@pytest.mark.parametrize("without", ADMINISTRATION)
def test_each_grant_for_looking_after_jobs_is_needed(role: Role, without: str) -> None:
    role.grant([statement for statement in ADMINISTRATION if statement != without])
    with pytest.raises((errors.InsufficientPrivilege, errors.UndefinedTable)):
        look_after(role)


def pause(role: Role) -> None:
    """Every operation on pauses."""
    with connect(role.database.dsn, application_name="pauses") as connection:
        database = OwnConnection(lambda: connection)
        for reason in ("one", "other"):
            database.perform(pauses.pause("sink", "a", by="me", reason=reason, schema=None), 1)
        [found] = database.perform(pauses.pauses(schema=None), 1)
        assert found.reason == "other"
        assert database.perform(pauses.resume("sink", "a", schema=None), 1)


def test_the_grants_for_pausing_are_enough(role: Role) -> None:
    role.grant(PAUSES)
    pause(role)


@pytest.mark.parametrize("without", PAUSES)
def test_each_grant_for_pausing_is_needed(role: Role, without: str) -> None:
    role.grant([statement for statement in PAUSES if statement != without])
    with pytest.raises((errors.InsufficientPrivilege, errors.UndefinedTable)):
        pause(role)


def replay(role: Role) -> None:
    """A replay from its start to its end, and one that is cancelled."""
    put(role.owner, "k", state="completed", finalized_at="2020-01-01Z")
    plan = plan_replay(ReplayFilter(), [ReplayRoute("r", ("outbox",), ("*",), ("s",))])
    with role.database.connect() as connection:
        replayer = Replayer(connection, None, name="me")
        preview = replayer.preview(plan)
        [step] = replayer.run(replayer.start(plan, preview).id, threading.Event())
        assert step.replay.done == 1
        assert step.skips == []
        replayer.cancel(replayer.start(plan, preview).id)
        assert len(replayer.list(10)) == 2


def test_the_grants_for_replaying_are_enough(role: Role) -> None:
    role.grant(REPLAY)
    replay(role)


@pytest.mark.parametrize("without", REPLAY)
def test_each_grant_for_replaying_is_needed(role: Role, without: str) -> None:
    role.grant([statement for statement in REPLAY if statement != without])
    denied = errors.InsufficientPrivilege, errors.UndefinedTable, AssertionError
    with pytest.raises(denied):
        replay(role)


def take_in(role: Role) -> None:
    """Every operation of a source and of the quarantine."""
    mapper = Mapper("shop", Plan(kind="{body.kind}"))
    events = [Event(str(n), body) for n, body in enumerate((b'{"kind": "k1"}', b"{}"))]
    depositor = Depositor(mapper, remember=timedelta(days=1))
    with role.database.connect() as connection:
        ingest.begin(connection, "shop", {"p": "0"})
        assert ingest.positions(connection, "shop") == {"p": "0"}
        batch = [one for event in events for one in mapper.map(event)]
        done = depositor.write(connection, batch, {"p": ("0", "2")})
        assert (done.jobs, done.quarantined) == (1, 1)
        QueueTable(None).depth(connection, "default")
        [row] = ingest.quarantined(connection)
        assert retry(connection, depositor, row.id)
        assert ingest.release_quarantined(connection, [row.id]) == 1


def test_the_grants_for_sources_are_enough(role: Role) -> None:
    role.grant(BRIDGE + INGEST)
    take_in(role)


@pytest.mark.parametrize("without", INGEST)
def test_each_grant_for_sources_is_needed(role: Role, without: str) -> None:
    role.grant([statement for statement in BRIDGE + INGEST if statement != without])
    with pytest.raises(errors.InsufficientPrivilege):
        take_in(role)
