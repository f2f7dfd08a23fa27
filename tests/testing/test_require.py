"""What was inserted, asked through every kind of connection; and what a failure says."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import ANY
from uuid import UUID

import psycopg
import pytest

from riverbridge import Client, InsertOpts, InvalidRequest, JobState, RawArgs
from riverbridge.testing import (
    ExpectedJob,
    require_inserted,
    require_many_inserted,
    require_not_inserted,
)
from tests.support.database import Database
from tests.testing.shop import Mail, Order, Ship

AT = datetime(2031, 5, 1, 12, tzinfo=UTC)


@pytest.fixture
def connection(tables: Database) -> Iterator[psycopg.Connection[Any]]:
    with tables.connect() as connection:
        yield connection


def test_every_expectation_counts(connection: psycopg.Connection[Any]) -> None:
    opts = InsertOpts(
        queue="letters",
        priority=3,
        tags=["one", "two"],
        scheduled_at=AT,
        max_attempts=7,
        metadata={"trace": {"id": "abc", "on": True}},
    )
    inserted = Client(connection).insert(Mail("ann"), opts).job
    right: dict[str, Any] = {
        "args": {"to": "ann"},
        "queue": "letters",
        "priority": 3,
        "tags": ["one", "two"],
        "scheduled_at": AT + timedelta(seconds=0.9),
        "max_attempts": 7,
        "state": JobState.SCHEDULED,
        "metadata": {"trace": {"id": "abc"}},
    }
    assert require_inserted(connection, Mail, **right) == inserted
    wrong: dict[str, Any] = {
        "args": {"to": "bob"},
        "queue": "default",
        "priority": 1,
        "tags": ["two", "one"],
        "scheduled_at": AT + timedelta(seconds=1.1),
        "max_attempts": 25,
        "state": "available",
        "metadata": {"trace": {"id": "abc", "on": 1}},
    }
    for name, value in wrong.items():
        with pytest.raises(AssertionError, match=rf"\n    {name}[.\w]*: expected .*, found "):
            require_inserted(connection, "mail", **{**right, name: value})
        require_not_inserted(connection, "mail", **{**right, name: value})
    with pytest.raises(AssertionError, match="a job 'mail' is there: args: "):
        require_not_inserted(connection, "mail", **right)


def test_args_given_as_such_count_whole(connection: psycopg.Connection[Any]) -> None:
    Client(connection).insert(Mail("ann", "hi"))
    require_inserted(connection, Mail("ann", "hi"))
    with pytest.raises(AssertionError, match=r"args\.subject: expected 'hello', found 'hi'"):
        require_inserted(connection, Mail("ann"))


def test_values_count_as_they_are_in_the_table(connection: psycopg.Connection[Any]) -> None:
    id = UUID(int=7)
    Client(connection).insert(RawArgs("visit", f'{{"id": "{id}", "at": [1, 2], "last": true}}'))
    require_inserted(connection, "visit", args={"id": id, "at": (1, 2), "last": ANY})
    for wrong in ({"last": 1}, {"at": [1]}, {"at": ANY, "none": ANY}, {"id": 7}):
        require_not_inserted(connection, "visit", args=wrong)


def test_a_failure_shows_the_nearest_rows(connection: psycopg.Connection[Any]) -> None:
    client = Client(connection)
    client.insert(Mail("bob"), InsertOpts(priority=4, queue="letters"))
    client.insert(Mail("ann"), InsertOpts(priority=4))
    client.insert(Order(1))
    with pytest.raises(AssertionError) as raised:
        require_inserted(connection, Mail, args={"to": "ann"}, queue="letters", priority=1)
    assert (
        str(raised.value)
        == """\
no job 'mail' is in the table with
  args: {'to': 'ann'} among them
  queue: 'letters'
  priority: 1
the nearest of 2:
  job 2
    queue: expected 'letters', found 'default'
    priority: expected 1, found 4
  job 1
    args.to: expected 'ann', found 'bob'
    priority: expected 1, found 4"""
    )
    with pytest.raises(AssertionError) as raised:
        require_inserted(connection, "ship")
    assert (
        str(raised.value)
        == """\
no job 'ship' is in the table
of other kinds, the last ones:
  job 3 'order', available, queue 'default', priority 1: {'id': 1}
  job 2 'mail', available, queue 'default', priority 4: {'to': 'ann', 'subject': 'hello'}
  job 1 'mail', available, queue 'letters', priority 4: {'to': 'bob', 'subject': 'hello'}"""
    )


def test_an_empty_table_says_so(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(AssertionError, match="another transaction or schema"):
        require_inserted(connection, Mail)
    require_not_inserted(connection, Mail)


def test_one_of_two_alike_is_not_one(connection: psycopg.Connection[Any]) -> None:
    Client(connection).insert_many([Mail("ann"), Mail("ann"), Mail("bob")])
    with pytest.raises(AssertionError, match="2 jobs 'mail' are as expected, not one"):
        require_inserted(connection, Mail, args={"to": "ann"})
    require_inserted(connection, Mail, args={"to": "bob"})


def test_many_are_all_and_in_order(connection: psycopg.Connection[Any]) -> None:
    Client(connection).insert_many([Order(1), Mail("ann"), Ship(9), Mail("bob")])
    bob = ExpectedJob(Mail, args={"to": "bob"}, queue="default")
    jobs = require_many_inserted(connection, [Order(1), Mail, bob])
    assert [job.id for job in jobs] == [1, 2, 4]
    with pytest.raises(AssertionError, match="in this order: mail, order, mail; found:\n  job 1"):
        require_many_inserted(connection, [Mail, Order, Mail])
    with pytest.raises(AssertionError, match="in this order: mail; found:"):
        require_many_inserted(connection, [Mail])
    with pytest.raises(AssertionError, match=r"(?s)job 2 of 2: .*args.to: expected 'ann', found"):
        require_many_inserted(connection, ["mail", Mail("ann")])


def test_what_cannot_be_expected(connection: psycopg.Connection[Any]) -> None:
    with pytest.raises(InvalidRequest, match="given twice"):
        require_inserted(connection, Mail("ann"), args={"to": "ann"})
    with pytest.raises(InvalidRequest, match="dict has no kind"):
        require_inserted(connection, dict)
    with pytest.raises(InvalidRequest, match="time zone"):
        require_inserted(connection, Mail, scheduled_at=datetime(2031, 5, 1))
    with pytest.raises(ValueError, match="one or more"):
        require_many_inserted(connection, [])
