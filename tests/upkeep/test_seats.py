"""The table `river_leader`: who may take, keep and give up the seat."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import psycopg
import pytest

from riverbridge.store import leader
from tests.support.database import Database

TTL = timedelta(seconds=15)
EXPIRE = "UPDATE river_leader SET expires_at = now() - interval '1 microsecond'"


@pytest.fixture
def conn(database: Database) -> Iterator[psycopg.Connection]:
    with database.connect() as connection:
        yield connection


def elected(conn: psycopg.Connection, leader_id: str = "a") -> leader.Seat:
    seat = leader.elect(conn, leader_id=leader_id, ttl=TTL)
    assert seat is not None
    return seat


def test_the_first_takes_it_and_nobody_else(conn: psycopg.Connection) -> None:
    seat = elected(conn)
    assert seat.leader_id == "a"
    assert seat.expires_at - seat.elected_at == TTL
    assert leader.elect(conn, leader_id="b", ttl=TTL) is None
    assert leader.elect(conn, leader_id="a", ttl=TTL) is None
    assert leader.get(conn) == seat


def test_an_expired_seat_is_free(conn: psycopg.Connection) -> None:
    first = elected(conn)
    conn.execute(EXPIRE)
    second = elected(conn, "b")
    assert second.elected_at > first.elected_at
    assert leader.get(conn) == second


def test_of_two_at_once_one_wins(database: Database, conn: psycopg.Connection) -> None:
    elected(conn)
    conn.execute(EXPIRE)
    with database.connect(autocommit=False) as first:
        assert leader.elect(first, leader_id="b", ttl=TTL) is not None
        conn.execute("SET lock_timeout = '50ms'")
        with pytest.raises(psycopg.errors.LockNotAvailable):  # it waits for the first
            leader.elect(conn, leader_id="c", ttl=TTL)
        first.commit()
    assert leader.elect(conn, leader_id="c", ttl=TTL) is None


def test_only_the_exact_term_is_prolonged(conn: psycopg.Connection) -> None:
    seat = elected(conn)
    term = {"leader_id": "a", "elected_at": seat.elected_at, "ttl": 2 * TTL}
    renewed = leader.reelect(conn, **term)  # type: ignore[arg-type]
    assert renewed is not None
    assert renewed.elected_at == seat.elected_at
    assert renewed.expires_at > seat.expires_at + TTL / 2
    off = seat.elected_at + timedelta(microseconds=1)
    assert leader.reelect(conn, leader_id="a", elected_at=off, ttl=TTL) is None
    assert leader.reelect(conn, leader_id="b", elected_at=seat.elected_at, ttl=TTL) is None
    conn.execute(EXPIRE)
    assert leader.reelect(conn, **term) is None  # type: ignore[arg-type]


def test_only_the_exact_term_is_resigned(database: Database, conn: psycopg.Connection) -> None:
    seat = elected(conn)
    off = seat.elected_at - timedelta(microseconds=1)
    with database.connect() as listener:
        listener.execute('LISTEN "public.river_leadership"')
        assert not leader.resign(conn, leader_id="a", elected_at=off)
        assert not leader.resign(conn, leader_id="b", elected_at=seat.elected_at)
        assert leader.get(conn) == seat
        assert leader.resign(conn, leader_id="a", elected_at=seat.elected_at)
        assert leader.get(conn) is None
        assert not leader.resign(conn, leader_id="a", elected_at=seat.elected_at)
        payloads = [n.payload for n in listener.notifies(timeout=0.2)]
    assert payloads == ['{"leader_id" : "a", "action" : "resigned"}']
