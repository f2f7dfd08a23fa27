"""`riverbridge quarantine` on events that a mapping could not make jobs of."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner, Result

from riverbridge.bridge.deposit import Depositor
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.cli import main
from riverbridge.sources.base import Event
from tests.ingest.rows import args_of, quarantined
from tests.support.database import Database

PLAN = Plan(kind="{body.type}")


@pytest.fixture(autouse=True)
def _events(tables: Database) -> None:
    """Two that have no type, and one that is no JSON."""
    mapper = Mapper("shop", PLAN)
    events = [
        Event("a", b'{"n": 1}', key=b"\xff\x00", headers=(("h\0", b"\xfe"), ("h", b"x"))),
        Event("b", b'{"n": 2}'),
        Event("c", b"\x00\xff\x00"),
    ]
    with tables.connect() as connection:
        Depositor(mapper).write(
            connection, [one for event in events for one in mapper.map(event)], {}
        )


def call(database: Database, *args: str, kind: str = "{body.type}", split: str = "false") -> Result:
    env = {
        "DATABASE_URL": database.dsn,
        "RIVERBRIDGE_SOURCES__SHOP__TYPE": "kafka",
        "RIVERBRIDGE_SOURCES__SHOP__BOOTSTRAP_SERVERS": "nowhere:1",
        "RIVERBRIDGE_SOURCES__SHOP__TOPICS": "shop",
        "RIVERBRIDGE_SOURCES__SHOP__KIND": kind,
        "RIVERBRIDGE_SOURCES__SHOP__SPLIT": split,
    }
    return CliRunner(env=env).invoke(main, ["quarantine", *args])


def test_list_and_show_say_what_lies_there_and_why(tables: Database) -> None:
    lines = [json.loads(line) for line in call(tables, "list", "--json").stdout.splitlines()]
    assert [line["event_id"] for line in lines] == ["a", "b", "c"]
    assert "{body.type}" in lines[0]["reason"]
    assert lines[0]["headers"] == [["h\0", "/g=="], ["h", "eA=="]]
    shown = call(tables, "show", "3")
    assert "not UTF-8" in shown.stdout
    assert call(tables, "show", "3", "--body").stdout_bytes == b"\x00\xff\x00"
    assert call(tables, "show", "4").exit_code == 1
    assert "not UTF-8" in call(tables, "list", "--source", "shop", "--after", "2").stdout


def test_retry_by_a_corrected_mapping_makes_each_a_job_once(tables: Database) -> None:
    assert call(tables, "retry", "--all").exit_code == 1
    assert args_of(tables) == []
    result = call(tables, "retry", "--source", "shop", kind="shop.event")
    assert result.exit_code == 1
    assert "3 stays: body: is not UTF-8" in result.stderr
    assert "2 taken out, 1 stay" in result.stdout
    assert args_of(tables) == [{"n": 1}, {"n": 2}]
    assert call(tables, "retry", "1", "2", kind="shop.event").exit_code == 0
    assert len(args_of(tables)) == 2
    assert [row.id for row in quarantined(tables)] == [3]


def test_one_that_holds_several_becomes_theirs_and_each_that_is_none_lies_there_alone(
    tables: Database,
) -> None:
    mapper = Mapper("shop", PLAN)
    event = Event("d", b'[{"type": "shop.a"}, {"n": 4}, {"type": "shop.b"}]')
    with tables.connect() as connection:
        Depositor(mapper).write(connection, mapper.map(event), {})
    assert [row.event_id for row in quarantined(tables)] == ["a", "b", "c", "d"]
    assert call(tables, "retry", "4", split="true").exit_code == 0
    assert args_of(tables) == [{"type": "shop.a"}, {"type": "shop.b"}]
    *_, left = quarantined(tables)
    assert (left.event_id, left.body) == ("d#1", b'{"n": 4}')
    assert call(tables, "retry", str(left.id), kind="shop.event", split="true").exit_code == 0
    assert args_of(tables)[2:] == [{"n": 4}]


def test_drop_asks_and_then_forgets(tables: Database) -> None:
    assert call(tables, "drop", "3").exit_code == 1  # nobody said yes
    assert len(quarantined(tables)) == 3
    assert call(tables, "drop", "3", "--yes").exit_code == 0
    assert [row.id for row in quarantined(tables)] == [1, 2]


def test_what_is_meant_has_to_be_said(tables: Database) -> None:
    assert call(tables, "retry").exit_code == 2
    assert call(tables, "drop", "--yes", "1", "--all").exit_code == 2
