"""A standby that is promoted: it is read on from, unless it lacks what was read of its primary."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from riverbridge.embedded.postgres import Postgres, unprivileged_account
from riverbridge.embedded.process import plain_environment
from tests.ingest.rows import positions
from tests.ingest.slots import Shop
from tests.support.database import Database
from tests.support.wait import eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def shop(own_postgres: Postgres, database: Database) -> Shop:
    shop = Shop(Database("shop", own_postgres.create_database("shop"), own_postgres), database)
    shop.run("CREATE TABLE orders (id int PRIMARY KEY)")
    shop.tables = ("orders",)
    return shop


@pytest.fixture
def standby(own_postgres: Postgres) -> Iterator[Postgres]:
    if own_postgres.major < 17:
        pytest.skip("standbys keep slots since Postgres 17")
    assert own_postgres.directory is not None
    home = own_postgres.directory / "standby"
    account = unprivileged_account()
    as_account = {} if account is None else {"user": account.uid, "group": account.gid}
    subprocess.run(["mkdir", home], check=True, **as_account)  # type: ignore[call-overload]
    subprocess.run(
        [own_postgres.bin_dir / "pg_basebackup", "-d", own_postgres.dsn("shop"), "-R", "-C",
         "-S", "standby", "-D", home / "data", "--no-sync", "-c", "fast"],
        check=True, timeout=60, cwd=home, env=plain_environment(), **as_account,
    )  # type: ignore[call-overload]  # fmt: skip
    server = Postgres(
        bin_dir=own_postgres.bin_dir,
        directory=Path(home),
        fsync=False,
        settings={"hot_standby_feedback": "on"},
    )
    with server:
        yield server


def follow(standby: Postgres, shop: Shop) -> None:
    """Have the standby keep the slot. Before it may, the source has to be ahead of the standby."""
    with shop.receiving(), psycopg.connect(standby.dsn("shop"), autocommit=True) as connection:

        def there() -> bool:
            shop.run("SELECT pg_log_standby_snapshot()")
            connection.execute("SELECT pg_sync_replication_slots()")
            query = "SELECT 1 FROM pg_replication_slots WHERE synced AND NOT temporary"
            return connection.execute(query).rowcount == 1

        eventually(there, within=30, every=0.2)


def caught_up(standby: Postgres, shop: Shop) -> bool:
    [(end,)] = shop.run("SELECT pg_current_wal_flush_lsn()::text")
    with psycopg.connect(standby.dsn("shop"), autocommit=True) as connection:
        query = "SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn"
        return connection.execute(query, (end,)).fetchone() == (True,)


def promote(standby: Postgres, shop: Shop) -> Shop:
    """Lose the primary; the shop as it is from now on."""
    shop.database.server.kill()  # type: ignore[attr-defined]
    with psycopg.connect(standby.dsn("shop"), autocommit=True) as connection:
        assert connection.execute("SELECT pg_promote()").fetchone() == (True,)
    moved = Shop(Database("shop", standby.dsn("shop"), standby), shop.jobs)
    moved.slot, moved.publication, moved.tables = shop.slot, shop.publication, shop.tables
    return moved


def ids(shop: Shop) -> list[int]:
    return [args["new"]["id"] for args in shop.args()]


def read(shop: Shop, *wanted: int) -> None:
    with shop.receiving() as receiver:
        eventually(lambda: ids(shop) == list(wanted), within=20)
        assert receiver.problem() is None


def test_a_promoted_standby_is_read_on_from(shop: Shop, standby: Postgres) -> None:
    shop.begin()
    shop.run("INSERT INTO orders VALUES (1)")
    read(shop, 1)
    follow(standby, shop)
    shop.run("INSERT INTO orders VALUES (2)")  # not read
    eventually(lambda: caught_up(standby, shop), within=20)
    promoted = promote(standby, shop)
    promoted.run("INSERT INTO orders VALUES (3)")
    read(promoted, 1, 2, 3)
    assert all(place.startswith("2:") for place in positions(shop.jobs).values())


def test_one_that_lacks_what_was_read_stops_the_source(shop: Shop, standby: Postgres) -> None:
    shop.begin()
    shop.run("INSERT INTO orders VALUES (1)")
    read(shop, 1)
    follow(standby, shop)
    with psycopg.connect(standby.dsn("shop"), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
        connection.execute("SELECT pg_reload_conf()")
        eventually(lambda: connection.execute("SELECT pid FROM pg_stat_wal_receiver").rowcount == 0)
    shop.run("INSERT INTO orders VALUES (2)")
    read(shop, 1, 2)
    promoted = promote(standby, shop)
    promoted.run("INSERT INTO orders VALUES (3)")
    with promoted.receiving() as receiver:
        eventually(lambda: "is not of this server's history" in (receiver.problem() or ""),
                   within=20)  # fmt: skip
        assert ids(promoted) == [1, 2]
        [_, way_out] = (receiver.problem() or "").split("To go on without it: ")
        with shop.jobs.connect() as connection:
            connection.execute(way_out.encode())
        eventually(lambda: 3 in ids(promoted), within=20)
