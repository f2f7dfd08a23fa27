"""Args reach a broker byte for byte as Postgres shows them, however awkward the JSON is."""

from __future__ import annotations

from riverbridge.embedded.broker import Broker
from riverbridge.sinks.kafka import KafkaSink
from tests.support.bridge import running_bridge
from tests.support.database import Database, new_name
from tests.support.given import GivenKafka
from tests.support.records import read_until

AWKWARD = [
    r'{"big": 123456789012345678901234567890, "small": 1e-400, "huge": 1e400}',
    r'{"one": 1.0, "more": 1.10, "zero": -0.0, "exp": 1.5E+3, "digits": 0.1000000000000000055511}',
    r'{"twice": 1, "twice": 2, "b": 3, "aa": 4}',
    r'{"a": "tab\tnew\nline \"quoted\" back\\slash \/ \u00e9 \ud83d\ude00 \u0001 \u2028 <>&"}',
    r'{"": "", " ": null, "é語": {"{kind}": "{{args}}"}}',
    r'{"deep": ' + "[" * 200 + "1.50" + "]" * 200 + "}",
    r'{"empty": {}, "list": [], "mixed": [1, "1", 1.0, true, null, {"a": [{}]}]}',
    "{}",
]


AROUND = {
    "raw": b"%b",
    "debezium": b"%b",
    "cloudevents": b"%b",
    "cloudevents-structured": b',"data":%b}',
    "job": b',"args":%b,"metadata":{}}',
    "template": b'{"data":%b,"kind":"k"}',
}
"""By envelope, what stands around the args, or at least after them."""


def test_args_arrive_as_postgres_shows_them(database: Database, kafka: Broker | GivenKafka) -> None:
    topics = {f"s{n}": (new_name("fidelity"), envelope) for n, envelope in enumerate(AROUND)}
    env = {"SINKS__S5__BODY": '{"data":{args},"kind":{kind}}'}
    for name, (topic, envelope) in topics.items():
        kafka.create_topic(topic)
        env |= {
            f"SINKS__{name.upper()}__TOPIC": topic,
            f"SINKS__{name.upper()}__ENVELOPE": envelope,
        }
    with database.connect() as connection:
        rows = [
            connection.execute(
                "INSERT INTO river_job (args, kind, max_attempts, queue)"
                " VALUES (%s, 'k', 25, 'outbox') RETURNING args::text",
                (args,),
            ).fetchone()
            for args in AWKWARD
        ]
    shown = [text.encode() for (text,) in filter(None, rows)]
    sinks = {name: KafkaSink(bootstrap_servers=kafka.bootstrap_servers) for name in topics}
    with running_bridge(database, sinks, env):
        for topic, envelope in topics.values():
            records = read_until(kafka.bootstrap_servers, topic, lambda got: len(got) >= len(shown))
            values = [record.value() or b"" for record in records]
            assert len(values) == len(shown) == len(AWKWARD)
            for wanted in [AROUND[envelope] % text for text in shown]:
                [found] = [value for value in values if value.endswith(wanted)]
                assert found == wanted or AROUND[envelope].startswith(b",")
    # What Postgres itself makes of them: nothing is rounded, of equal keys the last one stays.
    assert any(b'"one": 1.0' in text and b'"more": 1.10' in text for text in shown)
    assert b'{"b": 3, "aa": 4, "twice": 2}' in shown
    assert any(b'"big": 123456789012345678901234567890' in text for text in shown)
