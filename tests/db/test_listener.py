"""Announcements heard on a real connection."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from riverbridge.engine.listener import Listener
from riverbridge.engine.waking import Waker
from riverbridge.store.database import connector
from tests.support.database import Database
from tests.support.wait import eventually


class Heard(Waker):
    """A waker that writes down what it is told."""

    def __init__(self) -> None:
        super().__init__([])
        self.calls: list[tuple[str, str]] = []

    def notify(self, queue: str) -> None:
        self.calls.append(("insert", queue))

    def pause(self, queue: str) -> None:
        self.calls.append(("pause", queue))

    def resume(self, queue: str) -> None:
        self.calls.append(("resume", queue))

    def look_now(self) -> None:
        self.calls.append(("look", "now"))


class Ear:
    def __init__(self, database: Database, schema: str | None = None) -> None:
        self.waker = Heard()
        self.leadership: list[str] = []
        self.listener = Listener(
            connect=connector(database.dsn, application_name="ear"),
            schema=schema,
            wakers=[self.waker],
            leadership=self.leadership.append,
        )
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.listener.run, args=(self.stop,), daemon=True)
        self.thread.start()

    def listening(self, times: int = 1) -> None:
        eventually(lambda: self.waker.calls.count(("look", "now")) == times)


@pytest.fixture
def ear(tables: Database) -> Iterator[Ear]:
    one = Ear(tables)
    one.listening()
    one.waker.calls.clear()
    yield one
    one.stop.set()
    one.thread.join(10)
    assert not one.thread.is_alive()


def tell(database: Database, topic: str, *payloads: str, schema: str = "public") -> None:
    with database.connect() as connection:
        for payload in payloads:
            connection.execute("SELECT pg_notify(%s, %s)", (f"{schema}.{topic}", payload))


def test_what_river_sends_is_heard(tables: Database, ear: Ear) -> None:
    tell(tables, "river_insert", '{"queue": "default"}')
    tell(
        tables,
        "river_control",
        '{"action" : "cancel", "job_id" : 12, "queue" : "default"}',
        '{"action":"pause","queue":"default"}',
        '{"action":"metadata_changed","metadata":{"a":1},"queue":"default"}',
        '{"action":"resume","queue":"*"}',
    )
    tell(tables, "river_leadership", '{"leader_id" : "client1", "action" : "resigned"}')
    eventually(lambda: ear.leadership)
    assert ear.waker.calls == [("insert", "default"), ("pause", "default"), ("resume", "*")]
    assert ear.leadership == ['{"leader_id" : "client1", "action" : "resigned"}']


def test_what_is_not_of_rivers_form_is_passed_over(tables: Database, ear: Ear) -> None:
    for topic in ("river_insert", "river_control"):
        tell(
            tables, topic, "", "x", "[]", "null", "1", '{"queue": 5}', "[" * 3000, '{"action": []}'
        )
    tell(tables, "river_insert", '{"queue": "other"}', schema="elsewhere")
    tell(tables, "river_insert", '{"queue": "q"}')
    eventually(lambda: ("insert", "q") in ear.waker.calls)
    assert ear.waker.calls == [("insert", "q")]


def test_a_lost_connection_is_replaced_and_what_was_missed_is_looked_for(
    tables: Database, ear: Ear
) -> None:
    with tables.connect() as look:
        cut = look.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'ear'"
        ).fetchall()
    assert cut == [(True,)]
    ear.listening()
    tell(tables, "river_insert", '{"queue": "q"}')
    eventually(lambda: ("insert", "q") in ear.waker.calls)


def test_a_listener_whose_server_hangs_is_cut_loose(tables: Database, ear: Ear) -> None:
    ear.listener.unstick()
    ear.listening()
    tell(tables, "river_insert", '{"queue": "q"}')
    eventually(lambda: ("insert", "q") in ear.waker.calls)


def test_another_schema_has_its_own_channels(tables: Database) -> None:
    one = Ear(tables, schema="My.Schema")
    try:
        one.listening()
        tell(tables, "river_insert", '{"queue": "wrong"}')
        tell(tables, "river_insert", '{"queue": "q"}', schema="My.Schema")
        eventually(lambda: ("insert", "q") in one.waker.calls)
        assert ("insert", "wrong") not in one.waker.calls
    finally:
        one.stop.set()
        one.thread.join(10)
