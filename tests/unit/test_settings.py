"""Settings: what is read, what one value may be, and which names there are."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from riverbridge.settings import KafkaSink, KafkaSource, SqsSink, load
from riverbridge.settings.loading import OUTBOX
from tests.unit.settings_cases import (
    DSN,
    EXAMPLE,
    KAFKA,
    ROUTE,
    STANDARD,
    B,
    R,
    S,
    problems_of,
    read,
    refused,
)


def test_the_example_loads_as_written() -> None:
    s = load(EXAMPLE, None, None)
    events, billing = s.sinks["events"], s.sinks["billing"]
    assert isinstance(events, KafkaSink)
    assert isinstance(billing, SqsSink)
    assert events.topic == "jobs.{kind}"
    assert billing.fifo
    route = s.routes["orders"]
    assert (route.queues, route.kinds, route.sinks) == (
        ("orders",),
        ("order.*",),
        ("events", "billing"),
    )
    assert (route.key, route.ordered) == ("{args.customer_id}", False)
    assert isinstance(s.sources["signups"], KafkaSource)
    assert s.sources["signups"].topics == ("signups",)
    assert s.database_url is not None
    assert s.database_url.get_secret_value() == DSN
    assert (s.db_schema, s.http.port) == ("public", 8080)
    assert s.warnings == ()


def test_defaults() -> None:
    assert read({}).model_dump(exclude={"database_url"}) == {
        "db_schema": None,
        "name": None,
        "source_name": None,
        "lanes": 2,
        "hold": 1,
        "deadline": 10,
        "batch_size": 1000,
        "batch_bytes": 8 << 20,
        "poll_interval": 1,
        "listen": True,
        "listen_url": None,
        "pooler": False,
        "grace": 25,
        "elections": True,
        "retention": {
            "completed": 86400,
            "cancelled": 86400,
            "discarded": 7 * 86400,
            "receipts": 7 * 86400,
            "audit": 90 * 86400,
        },
        "log": {"format": "auto", "level": "info"},
        "http": {
            "console": True,
            "host": "127.0.0.1",
            "port": 8080,
            "prefix": None,
            "hosts": (),
            "forwarded_by": (),
            "label": None,
            "colour": "grey",
            "read_only": False,
            "redact": (),
            "users": {},
            "proxy": {
                "addresses": (),
                "secret": None,
                "user_header": "X-Auth-Request-Email",
                "groups_header": "X-Auth-Request-Groups",
                "viewers": (),
                "operators": (),
                "admins": (),
            },
            "databases": {},
        },
        "probes": {"host": "127.0.0.1", "port": 8080},
        "hooks": {
            "host": "127.0.0.1",
            "port": 8080,
            "max_body": 1 << 20,
            "memory": 64 << 20,
            "connections": 10_000,
            "timeout": 30,
        },
        "sinks": {},
        "routes": {},
        "sources": {},
    }
    assert read({}).warnings == read({}).ignored == ()


def test_settings_are_frozen() -> None:
    s = read(KAFKA)
    parts = (s, s.http, s.sinks["events"], s.routes[OUTBOX])
    for part, name in zip(parts, ("lanes", "port", "insecure", "lanes"), strict=True):
        with pytest.raises(ValueError, match="frozen"):
            setattr(part, name, 3)


def test_sinks_without_a_route_get_the_outbox() -> None:
    s = read({**KAFKA, **STANDARD})
    assert list(s.routes) == [OUTBOX]
    assert s.routes[OUTBOX].queues == ("outbox",)
    assert s.routes[OUTBOX].sinks == ("billing", "events")
    assert s.routes[OUTBOX].kinds == ("*",)


def test_what_follows_from_other_settings() -> None:
    s = read({**KAFKA, **ROUTE, "RIVERBRIDGE_DEADLINE": "7s", "RIVERBRIDGE_HTTP__PORT": "9"})
    assert s.sinks["events"].delivery_timeout == 7
    assert s.probes.port == 9
    assert s.routes["a"].sinks == ("events",)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("hold", "500ms", 0.5),
        ("hold", "0.25", 0.25),
        ("hold", "2 s", 2.0),
        ("grace", "2m", 120.0),
        ("grace", "0", 0.0),
        ("batch_bytes", "64KiB", 65536),
        ("batch_bytes", "1048576", 1 << 20),
        ("listen", "off", False),
        ("pooler", "TRUE", True),
        ("name", " pod-1 ", "pod-1"),
    ],
)
def test_values(name: str, text: str, expected: object) -> None:
    assert getattr(read({f"RIVERBRIDGE_{name.upper()}": text}), name) == expected


def test_retention_of_minus_one_keeps() -> None:
    s = read({"RIVERBRIDGE_RETENTION__COMPLETED": "-1", "RIVERBRIDGE_RETENTION__DISCARDED": "30d"})
    assert s.retention.completed is None
    assert s.retention.discarded == 30 * 86400


@pytest.mark.parametrize("text", ["a,b", " a , b ", '["a","b"]', '[\n"a", "b"]'])
def test_lists(text: str) -> None:
    assert read({**KAFKA, "RIVERBRIDGE_ROUTES__A__QUEUES": text}).routes["a"].queues == ("a", "b")


def test_config_in_one_and_in_parts_and_of_any_scalar() -> None:
    sink = read(
        {
            **KAFKA,
            "RIVERBRIDGE_SINKS__EVENTS__CONFIG": '{"linger.ms":5,"acks":"1","log.queue":true}',
            "RIVERBRIDGE_SINKS__EVENTS__CONFIG__ACKS": "all",
            "RIVERBRIDGE_SINKS__EVENTS__CONFIG__SASL_PASSWORD": "line\nbreak",
        }
    ).sinks["events"]
    assert isinstance(sink, KafkaSink)
    assert sink.config == {
        "linger.ms": "5",
        "acks": "all",
        "log.queue": "true",
        "sasl.password": "line\nbreak",
    }


BAD_VALUES = [
    ("RIVERBRIDGE_LANES", "0", "0 is outside of the limits, 1 to 32"),
    ("RIVERBRIDGE_LANES", "33", "33 is outside"),
    ("RIVERBRIDGE_LANES", "1e3", "not a whole number"),
    ("RIVERBRIDGE_LANES", "", "is empty; unset it"),
    ("RIVERBRIDGE_LANES", "9" * 5000, "not a whole number"),
    ("RIVERBRIDGE_BATCH_SIZE", "10001", "1 to 10000"),
    ("RIVERBRIDGE_HOLD", "-1s", "cannot be negative"),
    ("RIVERBRIDGE_HOLD", "nan", "not a duration"),
    ("RIVERBRIDGE_HOLD", "inf", "not a duration"),
    ("RIVERBRIDGE_HOLD", "1e308", "not a duration"),
    ("RIVERBRIDGE_HOLD", "P1D", "not a duration"),
    ("RIVERBRIDGE_HOLD", "10ms", "0.01 s is below the limit of 0.05 s"),
    ("RIVERBRIDGE_HOLD", "6s", "6 s is above the limit of 5 s"),
    ("RIVERBRIDGE_DEADLINE", "61", "61 s is above the limit of 60 s"),
    ("RIVERBRIDGE_GRACE", "-1", "cannot be negative"),
    ("RIVERBRIDGE_GRACE", "9" * 400, "not a duration"),
    ("RIVERBRIDGE_RETENTION__COMPLETED", "-2", "cannot be negative"),
    ("RIVERBRIDGE_RETENTION__COMPLETED", "9999d", "above the limit of 3650 d"),
    ("RIVERBRIDGE_BATCH_BYTES", "8MB", "not a size"),
    ("RIVERBRIDGE_BATCH_BYTES", "1", "64KiB to 256MiB"),
    ("RIVERBRIDGE_LISTEN", "maybe", "neither true nor false"),
    ("RIVERBRIDGE_LOG__LEVEL", "loud", "must be one of debug, info, warning, error"),
    ("RIVERBRIDGE_LOG", "json", "is not valid JSON"),
    ("RIVERBRIDGE_LOG", '{"level":"info","level":"info"}', "the key 'level' twice"),
    ("RIVERBRIDGE_LOG", "[" * 100_000, "too large"),
    ("RIVERBRIDGE_HTTP__PORT", "70000", "0 to 65535"),
    ("RIVERBRIDGE_HTTP__HOST", "a b", "neither a host name nor an IP address"),
    ("RIVERBRIDGE_SCHEMA", "x" * 47, "above the limit of 46 bytes"),
    ("RIVERBRIDGE_NAME", "a\nb", "line break"),
    ("RIVERBRIDGE_NAME", "${POD}", "the reference ${POD}, which nothing has replaced"),
    ("RIVERBRIDGE_NAME", "$(POD)", "the reference $(POD)"),
    ("RIVERBRIDGE_NAME", "\udcff", "not valid UTF-8"),
    (S + "TYPE", "carrier-pigeon", "must be one of kafka, sqs"),
    (S + "BOOTSTRAP_SERVERS", "user@host:1", "host:port"),
    (S + "CONFIG", "[]", "must be a table"),
    (S + "CONFIG", '{"a":null}', "the value of 'a' must be text"),
    (S + "HEADERS", '{"a":{"b":1}}', "the value of 'a' must be text"),
    (B + "QUEUE_URL", "ftp://x/y", "starts with https://"),
    (B + "QUEUE_URL", "https://user:pw@x/y", "must not hold a user"),
    (B + "QUEUE_URL", "http://[x", "starts with https://"),
    (B + "THREADS", "65", "1 to 64"),
    (R + "QUEUES", "Orders", "is no queue name"),
    (R + "QUEUES", "a__b", "is no queue name"),
    (R + "QUEUES", "q" * 65, "above the limit of 64 bytes"),
    (R + "QUEUES", "a" * 63 + "!", "is no queue name"),
    (R + "QUEUES", "a,,b", "item 2 of the list: is empty"),
    (R + "QUEUES", "a,a", "twice"),
    (R + "QUEUES", "[]", "empty list"),
    (R + "QUEUES", "[1]", "item 1 of the list: must be text"),
    (R + "MAX_ATTEMPTS", "32768", "1 to 32767"),
    (R + "CLAIM", "steal", "must be one of auto, lock, lease"),
]


@pytest.mark.parametrize(("name", "value", "text"), BAD_VALUES)
def test_a_bad_value_is_named_and_explained(name: str, value: str, text: str) -> None:
    problems = refused({**KAFKA, **STANDARD, **ROUTE, name: value})
    assert len(problems) == 1
    assert problems[0].startswith(name + ": ")
    assert text in problems[0]
    assert "\n" not in problems[0]


UNKNOWN = [
    ("RIVERBRIDGE_LANE", "; did you mean RIVERBRIDGE_LANES?"),
    ("RIVERBRIDGE_FOO", "unknown"),
    ("RIVERBRIDGE_PORTS", "unknown"),
    ("RIVERBRIDGE_SERVICE_HOSTS", "unknown"),
    ("RIVERBRIDGE_DATABASE_URL", "; did you mean DATABASE_URL?"),
    ("RIVERBRIDGE_HTTP__PROT", "; did you mean RIVERBRIDGE_HTTP__PORT?"),
    ("RIVERBRIDGE_HTTP_PORT", "; did you mean RIVERBRIDGE_HTTP__PORT?"),
    ("RIVERBRIDGE_SINKS_EVENTS_TOPIC", "; did you mean RIVERBRIDGE_SINKS__EVENTS__TOPIC?"),
    (S + "TOPICS", "; did you mean RIVERBRIDGE_SINKS__EVENTS__TOPIC?"),
    (S + "TYPE__X", "RIVERBRIDGE_SINKS__EVENTS__TYPE has no parts"),
    (S + "QUEUE_URL", "has no meaning for this type of sink"),
    (R + "QUEUE", "; did you mean RIVERBRIDGE_ROUTES__A__QUEUES?"),
    ("RIVERBRIDGE_LANES__X", "has no parts"),
    ("RIVERBRIDGE_SINKS__EV-IL__TYPE", "is no name"),
    ("RIVERBRIDGE_BLUE_SERVICE_HOST", "enableServiceLinks: false"),
    ("RIVERBRIDGE_BLUE_PORT_80_TCP_ADDR", "enableServiceLinks: false"),
]


@pytest.mark.parametrize(("name", "text"), UNKNOWN)
def test_unknown_names(name: str, text: str) -> None:
    problems = refused({**KAFKA, **ROUTE, name: "https://x/y"})
    assert len(problems) == 1
    assert problems[0].startswith(name + ": ")
    assert text in problems[0]


def test_names_others_set_are_left_alone() -> None:
    s = read(
        {
            "RIVERBRIDGE_SERVICE_HOST": "10.0.0.1",
            "RIVERBRIDGE_SERVICE_PORT": "80",
            "RIVERBRIDGE_SERVICE_PORT_HTTP": "80",
            "RIVERBRIDGE_PORT": "tcp://10.0.0.1:80",
            "RIVERBRIDGE_PORT_80_TCP_ADDR": "10.0.0.1",
            "RIVERBRIDGE_REQUIRE": "postgres",
            "RIVERBRIDGE_PG_BIN": "/x",
            "RIVERBRIDGE_MINISTACK_BIN": "/x",
            "RIVERBRIDGE_TEST_ANYTHING": "1",
            "PATH": "/bin",
        }
    )
    assert set(s.ignored) == {
        "RIVERBRIDGE_SERVICE_HOST",
        "RIVERBRIDGE_SERVICE_PORT",
        "RIVERBRIDGE_SERVICE_PORT_HTTP",
        "RIVERBRIDGE_PORT",
        "RIVERBRIDGE_PORT_80_TCP_ADDR",
    }


def test_names_in_both_cases_are_a_problem() -> None:
    (problem,) = refused({"RIVERBRIDGE_LANES": "2", "riverbridge_lanes": "3"})
    assert "given twice" in problem
    assert read({"riverbridge_lanes": "3"}).lanes == 3


NAMES = st.sampled_from(
    [line.variable for line in load(EXAMPLE, None, None).describe()]
    + [S + "CONFIG__X", "RIVERBRIDGE_SINKS", "RIVERBRIDGE_ROUTES", "RIVERBRIDGE_HTTP", S + "X"]
) | st.text(max_size=20).map(lambda text: "RIVERBRIDGE_" + text)
VALUES = (
    st.text(max_size=40)
    | st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=9),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(["events", "type", "config", "queues", "a", "port"]),
                inner,
                max_size=3,
            )
        ),
        max_leaves=8,
    ).map(json.dumps)
    | st.sampled_from(["kafka", "sqs", "-1", "1e999", "5s", "true", "postgresql://x:y@z/d", "[::]"])
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=6), st.booleans())
def test_any_environment_gives_settings_or_problems(env: dict[str, str], example: bool) -> None:
    problems = problems_of({**EXAMPLE, **env} if example else env)
    assert all(line and line.isprintable() for line in problems), problems
