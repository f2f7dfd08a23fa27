"""The envelope `debezium` beside Debezium: the same rows of one outbox table go through both.

What docs/envelopes.md tells people who come from Debezium's outbox router is what is run here.
"""

from __future__ import annotations

import json
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID, uuid5

import psycopg
import pytest
from confluent_kafka import Message as Record

from riverbridge.embedded.broker import Broker
from tests.docs.pages import ROOT, blocks
from tests.support.bridge import BridgeProcess
from tests.support.database import Database, new_name
from tests.support.debezium import Debezium, Sent
from tests.support.given import GivenKafka
from tests.support.parts import part
from tests.support.records import read_until
from tests.support.wait import eventually

# As Debezium's documentation has it, but that `aggregateid` may be null.
TABLE = """
CREATE TABLE outbox (
    id uuid PRIMARY KEY,
    aggregatetype varchar(255) NOT NULL,
    aggregateid varchar(255),
    type varchar(255) NOT NULL,
    payload jsonb
)
"""
SAME = {
    "object": '{"b": 1, "a": {"z": [{"y": true}, {"y": false}], "aa": "x"}, "b": 2}',
    "empty object": "{}",
    "unicode": '{"ключ": "日本 🚢 \\u00e9 \\u0001 \\"q\\" \\\\ \\/ </p>", "\\u2028": "e\\u0301"}',
    "numbers": '{"a": 1.0, "b": 1e5, "c": -0.0, "d": 10.50, "e": 1E-7, "i": 9007199254740993}',
    "int64": '{"max": 9223372036854775807, "min": -9223372036854775808}',
    "large": json.dumps({"text": "äb" * 150_000, "list": list(range(10_000))}),
}
"""Payloads whose JSON expansion leaves as it is."""
DROPPED = {
    "null member": '{"a": null, "b": 1}',
    "empty array": '{"a": [], "b": {}}',
    "precise": '{"a": 12345678901234567.25, "b": 0.1000000000000000055511151231257827}',
}
AS_STRING = {
    "mixed array": '{"a": [1, "b"]}',
    "string": '"only"',
    "json null": "null",
}
STOPPED = {
    "array": "[1, 2]",
    "big integer": '{"a": 123456789012345678901234567890}',
}
PAYLOADS = SAME | DROPPED | AS_STRING | STOPPED

STRING = """\
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
transforms.outbox.table.fields.additional.placement=type:header:eventType
"""
EXPANDED = """\
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
transforms.outbox.table.expand.json.payload=true
transforms.outbox.route.tombstone.on.empty.payload=true
"""
JSON = """\
key.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=false
value.converter=org.apache.kafka.connect.json.JsonConverter
value.converter.schemas.enable=false
transforms.outbox.route.tombstone.on.empty.payload=true
"""
OF_DEBEZIUM = {
    f"__debezium.context.{name}"
    for name in ("connectorLogicalName", "connectorName", "taskId", "runId")
}


class Both(NamedTuple):
    """What was sent, by event id. names: the event ids of the rows."""

    names: dict[str, str]
    ours: dict[str, Sent]
    string: dict[str, Sent]
    expanded: dict[str, Sent]
    json: dict[str, Sent]
    discarded: dict[str, str]
    """The errors of jobs that were not sent."""


@pytest.fixture(scope="module")
def debezium() -> Debezium:
    with part("debezium"):
        return Debezium()


@pytest.fixture(scope="module")
def both(
    module_database: Database,
    debezium: Debezium,
    kafka: Broker | GivenKafka,
    tmp_path_factory: pytest.TempPathFactory,
) -> Both:
    database = module_database
    settings, trigger = page()
    aggregates = [new_name("order"), new_name("Kunde.B")]
    with database.connect() as connection:
        connection.execute(TABLE)
        connection.execute(trigger.encode())
        with part("debezium"):
            slot = debezium.watch(database)
        names = fill(connection, aggregates)
        read = debezium.read(
            database, slot, len(names), {"string": STRING, "expanded": EXPANDED, "json": JSON},
            tmp_path_factory.mktemp("debezium"),
        )  # fmt: skip
        for aggregate in aggregates:
            kafka.create_topic(f"outbox.event.{aggregate}")
        env = settings | {
            "SINKS__EVENTS__TYPE": "kafka",
            "SINKS__EVENTS__BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
            "SINKS__EVENTS__HEADERS": '{"eventType": "{kind}"}',
        }
        with BridgeProcess(database, env):
            eventually(lambda: unfinished(connection) == 0, 30)
        discarded = connection.execute(
            "SELECT metadata->>'event_id', errors[1]->>'error' FROM river_job"
            " WHERE state = 'discarded'"
        ).fetchall()
        completed = connection.execute(
            "SELECT 'outbox.event.' || (metadata->>'aggregatetype'), count(*) FROM river_job"
            " WHERE state = 'completed' GROUP BY 1"
        ).fetchall()
    ours = [
        record
        for topic, count in completed
        for record in sent_to(kafka.bootstrap_servers, topic, count)
    ]
    return Both(
        names=names,
        ours=by_event(ours),
        **{name: by_event(found) for name, found in read.items()},
        discarded=dict(discarded),
    )


def page() -> tuple[dict[str, str], str]:
    """The settings and the SQL that docs/envelopes.md gives."""
    found = blocks(ROOT / "docs/envelopes.md")
    [place] = [place for place, block in enumerate(found) if block.language == "sql"]
    settings, sql = found[place - 1], found[place]
    lines = [line.partition("=") for line in settings.text.splitlines()]
    return {name.removeprefix("RIVERBRIDGE_"): value for name, _, value in lines}, sql.text


def fill(
    connection: psycopg.Connection[tuple[object, ...]], aggregates: list[str]
) -> dict[str, str]:
    """Insert the rows; the event id of each by its name."""
    order, customer = aggregates
    rows: list[tuple[str, str, str | None, str | None]] = [
        (name, order, f"id of {name} é", payload) for name, payload in PAYLOADS.items()
    ]
    rows += [
        ("no payload", order, "7", None),
        ("no aggregateid", order, None, "{}"),
        ("empty aggregateid", order, "", "{}"),
        ("key like JSON", customer, '{"id": "🚢"}', "{}"),
        ("deleted", customer, "1", '{"n": 1}'),
    ]
    names = {name: str(uuid5(UUID(int=0), name)) for name, *_ in rows}
    with connection.transaction():
        for name, aggregate, key, payload in rows:
            connection.execute(
                "INSERT INTO outbox VALUES (%s, %s, %s, %s, %s)",
                (names[name], aggregate, key, f"type.of {name}", payload),
            )
        connection.execute("DELETE FROM outbox WHERE id = %s", (names["deleted"],))
    return names


def unfinished(connection: psycopg.Connection[tuple[object, ...]]) -> object:
    row = connection.execute("SELECT count(*) FROM river_job WHERE finalized_at IS NULL").fetchone()
    assert row is not None
    return row[0]


def sent_to(bootstrap_servers: str, topic: str, count: int) -> list[Sent]:
    """The records of the topic, of which there must be `count`."""
    records = read_until(bootstrap_servers, topic, lambda so_far: len(so_far) >= count)
    assert len(records) == count
    return [Sent(topic, one.key(), one.value(), carried(one)) for one in records]


def carried(record: Record) -> list[tuple[str, bytes | None]]:
    headers = record.headers()
    assert isinstance(headers, list)
    return [(name, value.encode() if isinstance(value, str) else value) for name, value in headers]


def by_event(sent: list[Sent]) -> dict[str, Sent]:
    """By the header `id`, which each has once and no two share."""
    found = {}
    for record in sent:
        [id_] = [value for name, value in record.headers if name == "id"]
        assert id_ is not None
        found[id_.decode()] = record
    assert len(found) == len(sent)
    return found


def without_its_own(record: Sent) -> Sent:
    headers = [(name, value) for name, value in record.headers if name not in OF_DEBEZIUM]
    return record._replace(headers=headers)


def test_what_string_converters_send_is_sent_byte_for_byte(both: Both) -> None:
    theirs = {id_: without_its_own(record) for id_, record in both.string.items()}
    del theirs[both.names["no aggregateid"]]
    assert theirs.keys() == both.ours.keys()
    for name, id_ in both.names.items():
        if name != "no aggregateid":
            assert both.ours[id_] == theirs[id_], name


def test_the_comparison_is_about_what_it_says(both: Both) -> None:
    """So that two empty answers are not taken for equal ones."""
    ours = {name: both.ours[id_] for name, id_ in both.names.items() if id_ in both.ours}
    assert len(ours) == len(PAYLOADS) + 4
    assert ours["numbers"].value == (
        b'{"a": 1.0, "b": 100000, "c": 0.0, "d": 10.50, "e": 0.0000001, "i": 9007199254740993}'
    )
    assert ours["key like JSON"].key == '{"id": "🚢"}'.encode()
    assert ours["empty aggregateid"].key == b""
    assert ours["no payload"].value is None
    assert len(ours["large"].value or b"") > 500_000
    assert ours["object"].headers == [
        ("id", both.names["object"].encode()),
        ("eventType", b"type.of object"),
    ]


def test_debezium_adds_these_headers_and_no_others(both: Both) -> None:
    for record in both.string.values():
        assert {name for name, _ in record.headers} == OF_DEBEZIUM | {"id", "eventType"}
    for record in both.expanded.values():
        assert {name for name, _ in record.headers} == OF_DEBEZIUM | {"id"}


def test_expanded_json_is_the_same_json_but_where_the_page_says(both: Both) -> None:
    found: dict[str, set[str]] = {"same": set(), "dropped": set(), "as string": set(), "": set()}
    for name in PAYLOADS:
        ours, theirs = both.ours[both.names[name]], both.expanded[both.names[name]]
        assert (ours.topic, ours.key) == (theirs.topic, theirs.key)
        found[expansion(ours, theirs)].add(name)
    assert found == {
        "same": {*SAME}, "dropped": {*DROPPED}, "as string": {*AS_STRING}, "": {*STOPPED}
    }  # fmt: skip


def expansion(ours: Sent, theirs: Sent) -> str:
    """What became of a payload; nothing if the connector would have stopped there."""
    if theirs.error is not None:
        return ""
    assert ours.value is not None
    assert theirs.value is not None
    exact, expanded = (
        json.loads(value, parse_float=Decimal, parse_int=Decimal)
        for value in (ours.value, theirs.value)
    )
    if expanded == ours.value.decode():
        return "as string"
    return "same" if expanded == exact else "dropped"


def test_json_converters_put_the_same_into_strings(both: Both) -> None:
    for name, id_ in both.names.items():
        if name in ("no aggregateid", "no payload"):
            continue
        ours, theirs = both.ours[id_], both.json[id_]
        assert ours.topic == theirs.topic
        assert json.loads(theirs.key or b"") == (ours.key or b"").decode()
        assert json.loads(theirs.value or b"") == (ours.value or b"").decode()


def test_a_row_without_a_payload_is_a_tombstone(both: Both) -> None:
    id_ = both.names["no payload"]
    assert [sent[id_].value for sent in (both.ours, both.string, both.expanded, both.json)] == (
        [None] * 4
    )


def test_a_row_without_an_aggregateid_is_discarded_with_that_reason(both: Both) -> None:
    """Here they differ: Debezium sends it without a key."""
    id_ = both.names["no aggregateid"]
    assert both.string[id_].key is None
    assert both.discarded.keys() == {id_}
    assert "metadata.aggregateid" in both.discarded[id_]
