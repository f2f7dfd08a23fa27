"""Sources: positions, and the quarantine."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from riverbridge.bridge.deposit import Depositor
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.console.frame import Role
from riverbridge.console.known import KNOWN, Known, SourceNow
from riverbridge.console.octets import TEXT_MAX, readable
from riverbridge.console.redaction import MASK, Redaction, Rule
from riverbridge.service.knowing import make_known
from riverbridge.settings import load
from riverbridge.sources.base import Event
from tests.ingest.rows import args_of, quarantined
from tests.support.console import Desk, Markup, desk
from tests.support.database import Database

CARD = b'{"n": 1, "data": {"card": {"number": "4111"}}, "inner": "{\\"card\\": 4111}"}'


@pytest.fixture(autouse=True)
def _events(tables: Database) -> None:
    """One that has no type, one that is no JSON, one of a source that is not set here."""
    events = [
        Event("a", CARD, key=b"\xff\x004111", headers=(("h", b"4111 of the header"),)),
        Event("b", b"\x00\xff<b>\x00"),
    ]
    with tables.connect() as connection:
        for source, some in (("shop", events), ("other", [Event("c", b"{}")])):
            mapper = Mapper(source, Plan(kind="{body.type}"))
            Depositor(mapper).write(connection, [m for e in some for m in mapper.map(e)], {})
        connection.execute(
            "INSERT INTO riverbridge_position"
            " VALUES ('shop', 'shop/0', '42', now() - '1 h'::interval)"
        )


def shop(tables: Database, kind: str = "shop.event", **ground: Any) -> Desk:
    """The console of a process with the source `shop`."""
    env = {
        "DATABASE_URL": tables.dsn,
        "RIVERBRIDGE_SOURCES__SHOP__TYPE": "kafka",
        "RIVERBRIDGE_SOURCES__SHOP__BOOTSTRAP_SERVERS": "nowhere:1",
        "RIVERBRIDGE_SOURCES__SHOP__TOPICS": "shop",
        "RIVERBRIDGE_SOURCES__SHOP__KIND": kind,
    }
    return desk(tables, extra={KNOWN: make_known(load(env, None, None))}, **ground)


def test_positions_and_reasons(tables: Database) -> None:
    page = Markup(shop(tables).get("/sources").text).text
    assert "Set in this process: shop kafka" in page
    assert "shop shop/0 42 1 h ago" in page
    assert "not UTF-*" in page
    assert "has no source set" in Markup(desk(tables).get("/sources").text).text


def test_how_far_the_sources_in_service_are_behind(tables: Database) -> None:
    serving = {"a": SourceNow(None, 1234), "b": SourceNow("no <brokers>", None)}
    office = desk(tables, extra={KNOWN: Known(sources_now=lambda: serving)})
    page = Markup(office.get("/sources").text).text
    assert "a reads 1 234" in page
    assert "b no <brokers>" in page


def test_the_list_by_source_and_reason(tables: Database) -> None:
    office = shop(tables)
    for query, found in (
        ({}, ["3", "2", "1"]),
        ({"source": "shop"}, ["2", "1"]),
        ({"reason": "not UTF-*"}, ["2"]),
        ({"reason": "not%UTF"}, []),
        ({"before": "3"}, ["2", "1"]),
    ):
        page = Markup(office.get("/quarantine", **query).text)
        assert page.all("input", "value")[-len(found) or None :] == found or not found, query
        assert ("Nothing lies here" in page.text) == (not found)


def test_an_event_is_shown_as_text_or_in_hexadecimal(tables: Database) -> None:
    office = shop(tables)
    first = Markup(office.get("/quarantine/1").text).text
    assert '"number": "4111"' in first
    assert "ff 00 34 31 31 31" in first
    assert "4111 of the header" in first
    second = Markup(office.get("/quarantine/2").text)
    assert "00 ff 3c 62 3e 00" in second.text
    assert "b" not in [tag for tag, _ in second.elements]
    assert office.get("/quarantine/9").status_code == 404


def test_what_is_redacted_in_args_is_not_told_of_events(tables: Database) -> None:
    hide = Redaction([Rule.parse("payment.*:card.number")])
    office = shop(tables, redaction=hide)
    page = office.get("/quarantine/1").text
    assert "4111" not in page
    assert MASK in page
    assert "not shown" in office.get("/quarantine/2").text


@pytest.mark.parametrize(
    ("data", "form", "part"),
    [
        (b"plain \xc3\xa9\n", "text", "plain é"),
        (b"", "text", ""),
        ("\u202eevil".encode(), "hexadecimal", "e2 80 ae 65"),
        (b"\x1b[2J", "hexadecimal", "1b 5b 32 4a"),
        (b"x" * (TEXT_MAX + 1), "text", "xx"),
    ],
)
def test_bytes_as_people_read_them(data: bytes, form: str, part: str) -> None:
    shown = readable(data, Redaction())
    assert shown.form == form
    assert part in shown.text
    assert shown.cut == (len(data) > TEXT_MAX)
    assert readable("né".encode()[:-1], Redaction(), whole=False) == ("text", "n", True)


@pytest.mark.parametrize("data", [b"4111", b'"4111"', b"[" * 5000, b"card.number=4111", b"\xff"])
def test_what_is_no_object_is_hidden_where_anything_is(data: bytes) -> None:
    assert readable(data, Redaction([Rule.parse("card")])).form == "hidden"
    whole = readable(CARD, Redaction([Rule.parse("card")]), whole=False)
    assert whole.form == "hidden"


def test_retry_makes_jobs_where_the_source_is_set(tables: Database) -> None:
    office = shop(tables)
    assert office.post("/quarantine/retry", Role.VIEWER, id=[1]).status_code == 403
    went = office.client().post("/quarantine/retry", data={"id": ["1", "2", "3"], "source": "shop"})
    assert went.headers["location"] == "/quarantine?source=shop"
    said = office.client()
    said.cookies.set("riverbridge_said", went.cookies["riverbridge_said"])
    assert "1 taken out, 1 stay; 1 not tried" in said.get("/quarantine").text
    assert [args["n"] for args in args_of(tables)] == [1]
    assert [row.id for row in quarantined(tables)] == [2, 3]
    assert office.audit() == [("admin", "retry", "event 1"), ("admin", "retry", "event 2")]
    for other in (office, desk(tables)):  # not set here; nothing set here
        assert other.post("/quarantine/retry", id=[3]).status_code == 409
    assert [row.id for row in quarantined(tables)] == [2, 3]


def test_a_retry_whose_audit_fails_is_none(tables: Database, look: psycopg.Connection[Any]) -> None:
    look.execute("ALTER TABLE riverbridge_audit RENAME TO hidden")
    try:
        assert shop(tables).post("/quarantine/retry", id=[1]).status_code == 503
    finally:
        look.execute("ALTER TABLE hidden RENAME TO riverbridge_audit")
    assert args_of(tables) == []
    assert len(quarantined(tables)) == 3


def test_drop_is_for_good_and_audited(tables: Database) -> None:
    office = desk(tables)
    assert office.post("/quarantine/drop", id=["2", "77"]).status_code == 303
    assert [row.id for row in quarantined(tables)] == [1, 3]
    assert office.audit() == [("admin", "drop", "event 2")]
    assert office.post("/quarantine/drop").status_code == 400
