"""The Postgres source on Postgres: what is sent, what is not, and when it has to stand."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import psycopg
import pytest

from riverbridge.bridge.intake import Intake
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.embedded.postgres import Postgres
from riverbridge.sources.base import Bounds
from tests.ingest.rows import numbers, positions, quarantined
from tests.ingest.slots import SOURCE, Shop
from tests.support.database import Database, migrate, new_name
from tests.support.wait import eventually


@pytest.fixture
def shop(tables: Database) -> Iterator[Shop]:
    shop = Shop(tables)
    shop.run(
        "DROP SCHEMA IF EXISTS shop CASCADE",
        "CREATE SCHEMA shop",
        "CREATE TABLE shop.orders (id int PRIMARY KEY, n int, note text)",
    )
    shop.tables = ("shop.orders",)
    try:
        yield shop
    finally:
        shop.drop_slot()
        shop.run(f"DROP PUBLICATION IF EXISTS {shop.publication}")


def insert(first: int, count: int) -> str:
    last = first + count - 1
    return f"INSERT INTO shop.orders SELECT n, n FROM generate_series({first}, {last}) AS n"


def ids(shop: Shop) -> list[int]:
    return [args["new"]["id"] for args in shop.args()]


def test_changes_come_in_their_order_with_the_values_that_postgres_keeps(shop: Shop) -> None:
    shop.begin()
    shop.run(
        "INSERT INTO shop.orders VALUES (1, 10, 'a')",
        "UPDATE shop.orders SET n = 11",
        "UPDATE shop.orders SET id = 2",
        "DELETE FROM shop.orders",
        "ALTER TABLE shop.orders REPLICA IDENTITY FULL",
        "INSERT INTO shop.orders VALUES (3, NULL, 'b')",
        "UPDATE shop.orders SET n = 4",
        "DELETE FROM shop.orders",
        "TRUNCATE shop.orders",
    )
    plan = Plan(kind="{body.table}.{body.op}", metadata={"key": "{key}", "topic": "{topic}"})
    with shop.receiving(Intake(Mapper(SOURCE, plan))):
        eventually(lambda: len(shop.args()) == 9 or quarantined(shop.database), within=20)
    # A TRUNCATE has no key, and this mapping asks for one.
    [lying] = quarantined(shop.database)
    assert json.loads(lying.body or b"")["op"] == "truncate"
    assert "key" in lying.reason
    kept = [(args["op"], args["new"], args["old"]) for args in shop.args()]
    assert kept == [
        ("insert", {"id": 1, "n": 10, "note": "a"}, None),
        ("update", {"id": 1, "n": 11, "note": "a"}, None),
        ("update", {"id": 2, "n": 11, "note": "a"}, {"id": 1}),
        ("delete", None, {"id": 2}),
        ("insert", {"id": 3, "n": None, "note": "b"}, None),
        ("update", {"id": 3, "n": 4, "note": "b"}, {"id": 3, "n": None, "note": "b"}),
        ("delete", None, {"id": 3, "n": 4, "note": "b"}),
    ]
    first = shop.args()[0]
    assert (first["schema"], first["table"], first["xid"] > 0) == ("shop", "orders", True)
    rows = shop.run("SELECT kind, metadata->>'key', metadata->>'topic' FROM river_job ORDER BY id")
    assert rows[0] == ("orders.insert", "1", "shop.orders")
    assert [key for _, key, _ in rows] == ["1", "1", "2", "2", "3", "3", "3"]


VALUES = (
    "int2 '-7'", "int8 '9223372036854775807'", "numeric '1.100'", "numeric 'NaN'",
    "numeric '-Infinity'", "numeric '9e400'", "float8 '0.1'", "float8 'Infinity'",
    "float4 '1e-10'", "true", "NULL::bool", "E'a \"b\" \\\\ \\n \u20ac'", "bytea '\\x00ff'",
    "uuid 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "timestamptz '2026-01-02 03:04:05.678901+05'",
    "timestamptz 'infinity'", "timestamp '-infinity'", "timestamp '0044-03-15 12:00 BC'",
    "date '2026-02-28'", "date 'infinity'", "time '23:59:60'", "interval '1 year 2 days -3 hours'",
    "json '{\"b\": 1,  \"a\": [1, null]}'", "jsonb '{\"b\": 1.50}'", "ARRAY[1, NULL, 3]",
    "ARRAY['a', NULL, 'NULL', '', '{\"}', 'x,y']", "'[2:3]={t,f}'::bool[]",
    "ARRAY[ARRAY[1.10, 2], ARRAY['NaN'::numeric, 3]]", "ARRAY[now()]", "ARRAY[]::int[]",
    "ARRAY['{\"a\": \"\\\"b\\\"\"}'::jsonb]", "int4range '[1,5)'", "inet '10.0.0.1/8'", "xid '7'",
    "'two'::shop.word", "ARRAY['one']::shop.word[]", "3.50::shop.price", "ARRAY[4]::shop.price[]",
    "ROW (1, 'a \"b\", (c)', NULL, ARRAY['x', 'y z'])::shop.thing",
    "ARRAY[ROW (2, '', 5.0, '{}')::shop.thing, NULL]",
)  # fmt: skip


def test_values_become_what_to_jsonb_makes_of_them(shop: Shop) -> None:
    columns = ", ".join(f"{value} AS c{number}" for number, value in enumerate(VALUES))
    shop.run(
        "CREATE TYPE shop.word AS ENUM ('one', 'two')",
        "CREATE DOMAIN shop.price AS numeric(10, 2)",
        "CREATE TYPE shop.thing AS (n int, name text, price shop.price, parts text[])",
        f"CREATE TABLE shop.wide AS SELECT {columns} LIMIT 0",
        "ALTER TABLE shop.wide ADD id int PRIMARY KEY DEFAULT 1",
    )
    shop.tables = ("shop.wide",)
    shop.begin()
    with shop.database.connect(options="-c timezone=UTC") as connection:
        connection.execute(f"INSERT INTO shop.wide SELECT {columns}".encode())
        with shop.receiving():
            eventually(lambda: shop.args() or quarantined(shop.database), within=20)
        assert quarantined(shop.database) == []
        differing = connection.execute(
            "SELECT o.key, o.value, j.args->'new'->o.key FROM shop.wide AS w, river_job AS j,"
            " LATERAL jsonb_each(to_jsonb(w)) AS o"
            " WHERE o.value::text IS DISTINCT FROM (j.args->'new'->o.key)::text"
        ).fetchall()
    assert differing == []


def test_a_value_that_was_not_touched_is_marked_or_taken_from_the_old_row(shop: Shop) -> None:
    shop.run("ALTER TABLE shop.orders ALTER note SET STORAGE EXTERNAL")
    shop.begin()
    shop.run(
        "INSERT INTO shop.orders VALUES (1, 1, repeat('x', 10000))",
        "UPDATE shop.orders SET n = 2",
        "ALTER TABLE shop.orders REPLICA IDENTITY FULL",
        "UPDATE shop.orders SET n = 3",
    )
    with shop.receiving():
        eventually(lambda: len(shop.args()) == 3, within=20)
    first, second, third = shop.args()
    assert len(first["new"]["note"]) == 10000
    assert (second["new"], second["unchanged"]) == ({"id": 1, "n": 2}, ["note"])
    assert (third["new"], "unchanged" in third) == (first["new"] | {"n": 3}, False)


def test_tables_are_altered_and_published_while_it_reads(shop: Shop) -> None:
    with shop.receiving():
        eventually(lambda: positions(shop.database), within=20)
        shop.run(
            insert(1, 1),
            "ALTER TABLE shop.orders ADD more int[], DROP note",
            "INSERT INTO shop.orders VALUES (2, 2, '{1}')",
            "CREATE TABLE shop.late (id int PRIMARY KEY)",
            "INSERT INTO shop.late VALUES (1)",
            f"ALTER PUBLICATION {shop.publication} ADD TABLE shop.late",
            "INSERT INTO shop.late VALUES (2)",
            "TRUNCATE shop.orders, shop.late",
        )
        eventually(lambda: len(shop.args()) == 5, within=20)
    news = [args["new"] for args in shop.args()]
    assert news[:3] == [
        {"id": 1, "n": 1, "note": None},
        {"id": 2, "n": 2, "more": [1]},
        {"id": 2},
    ]
    assert sorted(args["table"] for args in shop.args()[3:]) == ["late", "orders"]


def test_messages_are_an_outbox_without_a_table(shop: Shop) -> None:
    shop.tables, shop.prefixes = (), ("letters",)
    with shop.receiving():
        eventually(lambda: positions(shop.database), within=20)
        with shop.database.connect(autocommit=False) as connection:
            for number, transactional in enumerate((True, False, True)):
                connection.execute(
                    "SELECT pg_logical_emit_message(%s, 'letters', %s)",
                    (transactional, json.dumps({"n": number})),
                )
            connection.rollback()  # the one that is of no transaction stays
            connection.execute("SELECT pg_logical_emit_message(true, 'letters', '{\"n\": 3}')")
            connection.execute("SELECT pg_logical_emit_message(true, 'others', '{\"n\": 4}')")
            connection.commit()
        eventually(lambda: numbers(shop.database) == {1: 1, 3: 1}, within=20)


def test_a_large_transaction_is_taken_in_in_parts_and_gone_on_with_in_its_middle(
    shop: Shop,
) -> None:
    shop.begin()
    shop.run(insert(1, 5000))
    intake = Intake(Mapper(SOURCE, Plan(kind="event")), Bounds(count=100, seconds=0.05))
    seen = 0
    for _ in range(3):
        with shop.receiving(intake):
            eventually(lambda: len(shop.args()) > seen, within=20)  # noqa: B023
        seen = len(shop.args())
        assert seen < 5000, "it was stopped in the middle"
        [place] = positions(shop.database).values()
        assert place.endswith(f"+{seen}")
    with shop.receiving(intake):
        eventually(lambda: len(shop.args()) == 5000, within=30)
        eventually(lambda: next(iter(positions(shop.database).values())).endswith("+0"), within=10)
    assert ids(shop) == list(range(1, 5001))


def test_values_that_no_json_has_go_into_quarantine_and_the_others_on(shop: Shop) -> None:
    shop.run("ALTER TABLE shop.orders ADD doc json")
    shop.begin()
    deep = "repeat('[', 1000) || repeat(']', 1000)"
    shop.run(
        insert(1, 2),
        """INSERT INTO shop.orders VALUES (3, 3, NULL, '{"a": "\\u0000"}')""",
        f"INSERT INTO shop.orders SELECT 4, 4, NULL, ({deep})::json",
        "INSERT INTO shop.orders SELECT 5, 5, NULL, repeat('9', 200000)::json",
        insert(6, 2),
    )
    with shop.receiving():
        eventually(lambda: len(quarantined(shop.database)) == 3, within=20)
        eventually(lambda: ids(shop) == [1, 2, 6, 7], within=20)
    reasons = " ".join(row.reason for row in quarantined(shop.database))
    assert "NUL" in reasons
    assert "nested" in reasons
    assert all(b'"id":%d' % n in (row.body or b"") for n, row in
               zip((3, 4, 5), quarantined(shop.database), strict=True))  # fmt: skip


def test_nothing_is_kept_for_a_source_whose_tables_are_idle(shop: Shop) -> None:
    with shop.receiving():
        eventually(lambda: positions(shop.database), within=20)
        [first] = positions(shop.database).values()
        shop.run(
            "CREATE TABLE shop.busy AS SELECT n, repeat('x', 500) "
            "FROM generate_series(1, 20000) AS n"
        )
        before = shop.held()
        assert before > 10_000_000
        shop.run("CHECKPOINT")  # Postgres notes what is under way, from which decoding may begin

        def let_go() -> bool:
            shop.run(
                "SELECT pg_log_standby_snapshot()"
                if shop.database.server.major > 15
                else "CHECKPOINT"
            )
            return shop.held() < before / 4

        eventually(let_go, within=30, every=0.2)
        assert list(positions(shop.database).values()) != [first]
        assert shop.args() == []


def said(receiver: Any, text: str) -> None:
    eventually(lambda: text in (receiver.problem() or ""), within=20)


def test_a_database_of_another_encoding_is_read_as_well(shop: Shop) -> None:
    server, name = shop.database.server, new_name("latin")
    with shop.database.connect() as connection:
        connection.execute(
            f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0".encode()
        )
    latin = Shop(Database(name, server.dsn(name), server), shop.database)
    latin.tables = ("letters",)
    try:
        latin.run('CREATE TABLE letters (id int PRIMARY KEY, "größe" text)')
        latin.begin()
        latin.run("INSERT INTO letters VALUES (1, 'größer als ß')")
        with latin.receiving():
            eventually(lambda: latin.args(), within=20)
        assert latin.args()[0]["new"] == {"id": 1, "größe": "größer als ß"}
    finally:
        latin.drop_slot()
        server.drop_database(name)


def test_a_slot_that_is_gone_stops_it_until_somebody_decides(shop: Shop) -> None:
    with shop.receiving():
        eventually(lambda: positions(shop.database), within=20)
        shop.run(insert(1, 3))
        eventually(lambda: len(shop.args()) == 3, within=20)
    shop.drop_slot()
    shop.run(insert(4, 3))
    with shop.receiving() as receiver:
        said(receiver, "is not there any more")
        assert f"DELETE FROM riverbridge_position WHERE source = '{SOURCE}'" in (
            receiver.problem() or ""
        )
        # Made anew by hand: what is between is gone all the same.
        shop.run(f"SELECT pg_create_logical_replication_slot('{shop.slot}', 'pgoutput')")
        said(receiver, "goes on at")
        shop.run(insert(7, 3))
        [way_out] = (receiver.problem() or "").split("To go on without it: ")[1:]
        shop.run(way_out)
        eventually(lambda: ids(shop) == [1, 2, 3, 7, 8, 9], within=20)
        eventually(lambda: receiver.problem() is None, within=10)


def test_what_is_read_again_by_a_copy_of_the_slot_makes_no_second_job(shop: Shop) -> None:
    """A slot does not go back by itself. Finished jobs are gone; the inbox knows their events."""
    shop.begin()
    [place] = positions(shop.database).values()
    kept = f"{shop.slot}_kept"
    shop.run(f"SELECT pg_copy_logical_replication_slot('{shop.slot}', '{kept}')")
    intake = Intake(
        Mapper(SOURCE, Plan(kind="event")), Bounds(seconds=0.05), remember=timedelta(days=1)
    )
    with shop.receiving(intake):
        shop.run(insert(1, 500))
        eventually(lambda: len(shop.args()) == 500, within=20)
    shop.drop_slot()
    shop.run(
        f"SELECT pg_copy_logical_replication_slot('{kept}', '{shop.slot}')",
        f"SELECT pg_drop_replication_slot('{kept}')",
        f"UPDATE riverbridge_position SET position = '{place}'",
        "DELETE FROM river_job",
        insert(501, 3),
    )
    with shop.receiving(intake) as receiver:
        eventually(lambda: ids(shop) == [501, 502, 503], within=20)
        assert receiver.problem() is None


def test_a_position_of_another_server_or_behind_its_end_stops_it(shop: Shop) -> None:
    shop.begin()
    kept = positions(shop.database)
    shop.run("UPDATE riverbridge_position SET partition = '17/' || partition")
    with shop.receiving() as receiver:
        said(receiver, "another server")
        shop.run(
            "UPDATE riverbridge_position SET partition = substr(partition, 4),"
            " position = '1:FFFF/0+0'"
        )
        said(receiver, "behind the end of the server's log")
        shop.run("UPDATE riverbridge_position SET position = '9:0/0+0'")
        said(receiver, "is not of this server's history")
        shop.run("UPDATE riverbridge_position SET position = 'x'")
        said(receiver, "has to look like")
        [(partition, place)] = kept.items()
        shop.run(f"UPDATE riverbridge_position SET position = '{place}'", insert(1, 3))
        eventually(lambda: ids(shop) == [1, 2, 3], within=20)
        assert list(positions(shop.database)) == [partition]


def test_of_two_processes_one_reads_and_the_other_takes_over(shop: Shop) -> None:
    with shop.receiving() as first:
        eventually(lambda: positions(shop.database), within=20)
        with shop.receiving() as second:
            shop.run(insert(1, 100))
            eventually(lambda: len(shop.args()) == 100, within=20)
            assert (first.problem(), second.problem()) == (None, None)
            shop.run(
                "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
                f" WHERE slot_name = '{shop.slot}'",
                insert(101, 100),
            )
            eventually(lambda: len(shop.args()) == 200, within=20)
    assert ids(shop) == list(range(1, 201))


def test_above_its_budget_of_wal_it_says_so_or_drops_the_slot(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    shop.begin()
    intake = Intake(Mapper(SOURCE, Plan(kind="event")), pause_above=1)
    shop.run(insert(1, 5))
    with shop.receiving(intake, max_wal=1 << 20) as receiver:
        eventually(lambda: receiver._full, within=20)
        shop.run(insert(6, 50_000))
        said(receiver, "above MAX_WAL")
        assert caplog.text.count("above MAX_WAL") == 1
        assert shop.held() > 1 << 20
    with shop.receiving(intake, max_wal=1 << 20, on_max_wal="drop") as receiver:
        said(receiver, "was dropped")
        assert shop.run(f"SELECT 1 FROM pg_replication_slots WHERE slot_name = '{shop.slot}'") == []
    assert len(shop.args()) == 5


def test_what_is_missing_is_named_with_what_to_run(
    shop: Shop, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    shop.tables = ("shop.nothing",)
    with shop.receiving() as receiver:
        said(receiver, "there is no table shop.nothing")
    shop.run("CREATE TABLE shop.keyless (id int)")
    shop.tables = ("shop.keyless",)
    with shop.receiving() as receiver:
        said(receiver, "add one, or run ALTER TABLE")
        assert shop.run(f"SELECT 1 FROM pg_publication WHERE pubname = '{shop.publication}'") == []
    shop.run(f"CREATE PUBLICATION {shop.publication} FOR TABLE shop.keyless")
    shop.tables = ("shop.orders",)
    with shop.receiving() as receiver:
        said(receiver, f'run ALTER PUBLICATION "{shop.publication}" ADD TABLE "shop"."orders"')
        [_, command] = (receiver.problem() or "").split("run ")
        shop.run(command)
        eventually(lambda: receiver.problem() is None and positions(shop.database), within=20)
        shop.run(insert(1, 1))
        eventually(lambda: ids(shop) == [1], within=20)
    assert "UPDATE and DELETE fail on shop.keyless" in caplog.text


@pytest.fixture
def own(own_postgres: Postgres) -> Shop:
    dsn = own_postgres.create_database("shop")
    migrate(dsn)
    shop = Shop(Database("shop", dsn, own_postgres))
    shop.run(
        "CREATE SCHEMA shop", "CREATE TABLE shop.orders (id int PRIMARY KEY, n int, note text)"
    )
    shop.tables = ("shop.orders",)
    return shop


def test_a_server_that_restarts_or_crashes_is_read_on(own: Shop, own_postgres: Postgres) -> None:
    intake = Intake(Mapper(SOURCE, Plan(kind="event")), Bounds(count=50, seconds=0.05))
    with own.receiving(intake) as receiver:
        eventually(lambda: positions(own.database), within=20)
        own.run(insert(1, 3000))
        own_postgres.restart(within=20)  # though a source reads
        own.run(insert(3001, 3000))
        own_postgres.kill()
        own_postgres.start()
        own.run(insert(6001, 10))
        eventually(lambda: len(own.args()) == 6010, within=40)
        eventually(lambda: receiver.problem() is None, within=10)
    assert ids(own) == list(range(1, 6011))


def test_a_server_that_is_shut_down_is_not_kept_waiting(
    own: Shop, own_postgres: Postgres, tables: Database
) -> None:
    """It waits for confirmations of all that it sent, and an idle source has none to give."""
    own.jobs = tables
    with own.receiving(mark_after=120.0) as receiver:
        eventually(lambda: positions(tables), within=20)
        own.run(insert(1, 1))
        eventually(lambda: len(own.args()) == 1, within=20)
        own.run("CREATE TABLE shop.other AS SELECT 1", "SELECT pg_switch_wal()")
        began = time.monotonic()
        own_postgres.restart(within=30)
        assert time.monotonic() - began < 20
        assert "database system is shut down" in own_postgres.log.read_text()
        own.run(insert(2, 1))
        eventually(lambda: len(own.args()) == 2, within=20)
        assert receiver.problem() is None


def test_a_slot_that_the_server_invalidated_stops_it(own: Shop) -> None:
    own.begin()
    own.run(
        "ALTER SYSTEM SET max_slot_wal_keep_size = '1MB'",
        "SELECT pg_reload_conf()",
        insert(1, 1),
    )
    for number in range(4):
        own.run(insert(2 + number, 1), "SELECT pg_switch_wal()")
    own.run("CHECKPOINT")
    with own.receiving() as receiver:
        said(receiver, "was invalidated")
    assert own.args() == []


def test_without_rights_it_says_which(own: Shop) -> None:
    own.run("CREATE ROLE reader LOGIN", "GRANT USAGE ON SCHEMA shop TO reader")
    dsn = psycopg.conninfo.make_conninfo(own.database.dsn, user="reader")
    with own.receiving(url=dsn) as receiver:
        said(receiver, "run CREATE PUBLICATION")
        [(_, _, command)] = [(receiver.problem() or "").partition(": run ")]
        own.run(command.partition(" as the owner")[0])
        said(receiver, "run ALTER ROLE")
        own.run("ALTER ROLE reader REPLICATION")
        eventually(lambda: receiver.problem() is None and positions(own.database), within=20)
        own.run(insert(1, 3))
        eventually(lambda: ids(own) == [1, 2, 3], within=20)
