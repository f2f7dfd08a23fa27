"""The River sink on Postgres: one job for each event, whatever is refused, cut off or repeated."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from riverbridge import Client, InsertOpts, RawArgs
from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Unreachable,
)
from riverbridge.sinks import river
from riverbridge.sinks.base import Message
from riverbridge.sinks.river import RiverSink
from riverbridge.testing.proxy import Proxy
from tests.support.bridge import BridgeProcess
from tests.support.database import Database, Server, new_name
from tests.support.wait import eventually

NAME = "sink under test"


@pytest.fixture
def connection(tables: Database) -> Iterator[psycopg.Connection[Any]]:
    with tables.connect() as connection:
        yield connection


@pytest.fixture
def make(tables: Database) -> Iterator[Callable[..., RiverSink]]:
    opened: list[RiverSink] = []

    def make(dsn: str = tables.dsn, **more: Any) -> RiverSink:
        opened.append(RiverSink(database_url=dsn, name=NAME, **more))
        return opened[-1]

    yield make
    for sink in opened:
        sink.close()


def messages(count: int, **more: Any) -> list[Message]:
    return [Message(f"e:{n}", b'{"n": %d}' % n, "moved", **more) for n in range(count)]


def send(sink: RiverSink, some: Sequence[Message], seconds: float = 10.0) -> list[Outcome]:
    return list(sink.deliver(some, time.monotonic() + seconds))


def ids(connection: psycopg.Connection[Any]) -> list[str]:
    found = connection.execute("SELECT metadata ->> 'event_id' FROM river_job ORDER BY id")
    return [id_ for (id_,) in found]


def sessions(connection: psycopg.Connection[Any]) -> int:
    [[count]] = connection.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s"
        " AND datname = current_database()",
        (NAME,),
    ).fetchall()
    return int(count)


def behind(database: Database, proxy: Callable[[int], Proxy]) -> tuple[str, Proxy]:
    """The database as it is reached through a proxy."""
    at = conninfo_to_dict(database.dsn)
    between = proxy(int(at["port"] or 5432))
    return make_conninfo(database.dsn, host="127.0.0.1", port=between.port), between


def test_a_batch_is_in_its_order_and_is_announced_once(
    make: Callable[..., RiverSink], connection: psycopg.Connection[Any]
) -> None:
    connection.execute('LISTEN "public.river_insert"')
    sent = messages(2500, headers=(("river-queue", "q"), ("river-tags", "abc,def")))
    assert send(make(), sent) == [Delivered()] * 2500
    assert ids(connection) == [message.id for message in sent]
    rows = connection.execute(
        "SELECT DISTINCT kind, queue, tags, state::text, attempt, unique_states::text,"
        " octet_length(unique_key), created_at = scheduled_at FROM river_job"
    ).fetchall()
    assert rows == [("moved", "q", ["abc", "def"], "available", 0, "1" * 8, 32, True)]
    heard = [notified.payload for notified in connection.notifies(timeout=1, stop_after=2)]
    assert heard == ['{"queue": "q"}']


def test_what_is_sent_again_finds_its_job_in_whatever_state(
    make: Callable[..., RiverSink], connection: psycopg.Connection[Any]
) -> None:
    sink, sent = make(), messages(8)
    send(sink, sent)
    connection.execute(
        "UPDATE river_job SET state = s.state, finalized_at ="
        " CASE WHEN s.state IN ('cancelled', 'completed', 'discarded') THEN now() END"
        " FROM unnest(enum_range(NULL::river_job_state)) WITH ORDINALITY AS s (state, number)"
        " WHERE id = (SELECT min(id) FROM river_job) + s.number - 1"
    )
    assert send(sink, [*sent, *sent]) == [Delivered()] * 16
    assert ids(connection) == [message.id for message in sent]
    connection.execute("DELETE FROM river_job WHERE state = 'completed'")  # River's cleaner
    assert send(make(), sent) == [Delivered()] * 8
    assert Counter(ids(connection)) == Counter(message.id for message in sent)


def test_a_lost_answer_to_the_commit_is_ambiguous_and_safe_to_repeat(
    make: Callable[..., RiverSink], tables: Database, proxy: Callable[[int], Proxy],
    connection: psycopg.Connection[Any],
) -> None:  # fmt: skip
    dsn, between = behind(tables, proxy)
    sink, sent = make(dsn), messages(3)
    between.cut_on(b"COMMIT", forward=True)
    for outcome in send(sink, sent):
        assert isinstance(outcome, Retry)
        assert outcome.ambiguous
    eventually(lambda: len(ids(connection)) == 3)
    assert send(sink, sent) == [Delivered()] * 3
    assert ids(connection) == [message.id for message in sent]


def test_what_is_cut_off_before_the_commit_costs_no_attempt(
    make: Callable[..., RiverSink], tables: Database, proxy: Callable[[int], Proxy],
    connection: psycopg.Connection[Any],
) -> None:  # fmt: skip
    dsn, between = behind(tables, proxy)
    sink = make(dsn)
    between.cut_on(b"INSERT INTO")
    assert {type(outcome).__name__ for outcome in send(sink, messages(3))} == {"Unreachable"}
    assert ids(connection) == []
    assert send(sink, messages(3)) == [Delivered()] * 3


def test_a_connection_that_the_server_ended_is_made_anew(
    make: Callable[..., RiverSink], connection: psycopg.Connection[Any]
) -> None:
    sink = make()
    send(sink, messages(1))
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s",
        (NAME,),
    )
    eventually(lambda: sessions(connection) == 0)
    assert send(sink, messages(2)) == [Delivered()] * 2


def test_bad_rows_hold_no_other_and_say_why(
    make: Callable[..., RiverSink], connection: psycopg.Connection[Any]
) -> None:
    connection.execute(
        "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.args ->> 'n' = '3' THEN RAISE check_violation USING MESSAGE = 'three';"
        " ELSIF NEW.args ->> 'n' = '70' THEN RAISE 'not today';"
        " ELSIF NEW.args ->> 'n' = '71' THEN RETURN NULL; END IF; RETURN NEW; END $$;"
        " CREATE TRIGGER guard BEFORE INSERT ON river_job FOR EACH ROW EXECUTE FUNCTION guard()"
    )
    sent = messages(100)
    sent[5] = Message("e:5", b"[]", "moved")
    outcomes = send(make(), sent)
    assert outcomes[3] == Permanent("not inserted: three")
    assert isinstance(outcomes[5], Permanent)
    assert outcomes[70] == Retry("not inserted: not today")
    assert outcomes[71] == Retry("not inserted: a trigger on river_job left the row out")
    left = [n for n, outcome in enumerate(outcomes) if outcome != Delivered()]
    assert left == [3, 5, 70, 71]
    assert len(ids(connection)) == 96


def test_what_was_decided_by_the_deadline_is_told(
    make: Callable[..., RiverSink], connection: psycopg.Connection[Any]
) -> None:
    """Else a batch with many rows to refuse would begin from the start each time."""
    connection.execute(
        "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.args ->> 'n' = '0' THEN RAISE check_violation; END IF;"
        " PERFORM pg_sleep(60); RETURN NEW; END $$;"
        " CREATE TRIGGER guard BEFORE INSERT ON river_job FOR EACH ROW EXECUTE FUNCTION guard()"
    )
    refused, unanswered = send(make(), messages(2), 2.0)
    assert isinstance(refused, Permanent)
    assert isinstance(unanswered, Unreachable)


def test_the_same_events_at_once_from_several_make_one_job_each(
    make: Callable[..., RiverSink], connection: psycopg.Connection[Any]
) -> None:
    first, second = make(), make()
    sent = messages(300)
    with ThreadPoolExecutor(4) as pool:
        orders = [(first, sent), (second, sent[::-1]), (first, sent[100:]), (second, sent[::2])]
        outcomes = list(pool.map(lambda each: send(*each), orders))
    for given, (_sink, some) in zip(outcomes, orders, strict=True):
        assert given == [Delivered()] * len(some)
    assert sorted(ids(connection)) == sorted(message.id for message in sent)


def test_a_key_that_another_transaction_holds_is_waited_for_no_longer_than_the_deadline(
    make: Callable[..., RiverSink], tables: Database, connection: psycopg.Connection[Any]
) -> None:
    sink, sent = make(threads=2), messages(2)
    send(sink, sent)
    with tables.connect(autocommit=False) as other:
        other.execute("DELETE FROM river_job")
        began = time.monotonic()
        outcomes = send(sink, sent, 0.5)
        assert time.monotonic() - began < 1.5
        assert {type(outcome).__name__ for outcome in outcomes} == {"Unreachable"}
        other.commit()
    assert send(sink, sent) == [Delivered()] * 2
    assert len(ids(connection)) == 2


def test_connections_are_as_many_as_threads_and_end_when_idle(
    make: Callable[..., RiverSink], connection: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(river, "IDLE", 0.3)
    sink = make(threads=2)
    with ThreadPoolExecutor(6) as pool:
        batches = [[Message(f"{n}:{m}", b"{}", "moved") for m in range(50)] for n in range(12)]
        given = list(pool.map(lambda some: send(sink, some), batches))
        assert all(outcomes == [Delivered()] * 50 for outcomes in given)
    assert sessions(connection) <= 2
    eventually(lambda: sessions(connection) == 0)
    assert send(sink, messages(1)) == [Delivered()]
    assert sessions(connection) == 1
    sink.close()
    eventually(lambda: sessions(connection) == 0)


def test_an_event_that_is_led_back_to_its_queue_takes_one_turn_more(
    database: Database,
) -> None:
    twin = make_conninfo(database.dsn, hostaddr="127.0.0.1", host="spelt.otherwise")
    settings = {
        "SINKS__SELF__TYPE": "river",
        "SINKS__SELF__DATABASE_URL": twin,
        "SINKS__SELF__QUEUE": "outbox",
    }
    with Client(database.dsn) as client:
        first = client.insert(RawArgs("moved", "{}"), InsertOpts(queue="outbox")).job
        with BridgeProcess(database, settings):
            eventually(
                lambda: [job.state for job in client.job_list().jobs] == ["completed"] * 2, 30
            )
        jobs = client.job_list().jobs
        assert [job.attempt for job in jobs] == [1, 1]
        assert jobs[0].id == first.id
        assert jobs[1].metadata["event_id"].endswith(f":{first.id}")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("ALTER TABLE river_job RENAME TO elsewhere", "river_job"),
        ("ALTER TABLE river_job DROP COLUMN unique_states CASCADE", "unique_states"),
        ("DROP INDEX river_job_unique_idx", "ON CONFLICT"),
        ("ALTER DATABASE {} SET default_transaction_read_only TO on", "read-only"),
    ],
)
def test_a_database_that_is_not_as_it_must_be_is_misconfigured(
    postgres: Server, template: str, make: Callable[..., RiverSink], change: str, says: str
) -> None:
    name = new_name()
    dsn = postgres.create_database(name, template)
    try:
        with psycopg.connect(postgres.dsn("postgres" if "{}" in change else name)) as owner:
            owner.autocommit = True
            owner.execute(change.format(name).encode())
        for outcome in send(make(dsn), messages(2)):
            assert isinstance(outcome, Misconfigured)
            assert says in outcome.error
    finally:
        postgres.drop_database(name)
