"""Settings that cannot work together, and what must be said twice to be meant."""

from __future__ import annotations

import pytest

from riverbridge.bridge.body import Body
from riverbridge.bridge.template import Template
from riverbridge.errors import ConditionError, ConfigurationError, TemplateError
from riverbridge.settings import Settings, load
from riverbridge.settings.sharing import routes_of
from tests.unit.settings_cases import (
    CANARY,
    DSN,
    KAFKA,
    ROUTE,
    SQS,
    STANDARD,
    B,
    R,
    S,
    problems_of,
    read,
    refused,
)

D = "RIVERBRIDGE_SINKS__DEAD__"
DEAD = {
    **KAFKA,
    **ROUTE,
    **{key.replace("EVENTS", "DEAD"): value for key, value in KAFKA.items()},
    R + "DEAD_LETTERS": "dead",
}
OTHER = "RIVERBRIDGE_ROUTES__B__"
UNORDERED = {R + "ORDERED": "false"}
KEYED = {R + "KEY": "{args.id}"}
COMBINATIONS: list[tuple[dict[str, str], str, str]] = [
    (
        {**KAFKA, S + "DELIVERY_TIMEOUT": "30s"},
        S + "DELIVERY_TIMEOUT",
        "30 s is longer than the deadline of 10 s (RIVERBRIDGE_DEADLINE); lower it or raise the",
    ),
    (
        {"RIVERBRIDGE_DEADLINE": "500ms"},
        "RIVERBRIDGE_DEADLINE",
        "0.5 s is shorter than the hold of 1 s (RIVERBRIDGE_HOLD)",
    ),
    ({"RIVERBRIDGE_HTTP__HOST": "0.0.0.0"}, "RIVERBRIDGE_HTTP__HOST", "ask for a login"),
    ({"RIVERBRIDGE_HTTP__HOST": "db.internal"}, "RIVERBRIDGE_HTTP__HOST", "is not loopback"),
    (
        {"RIVERBRIDGE_PROBES__HOST": "0.0.0.0"},
        "RIVERBRIDGE_PROBES__PORT",
        "8080 is also the port of HTTP",
    ),
    (
        {"RIVERBRIDGE_LISTEN": "false", "RIVERBRIDGE_LISTEN_URL": DSN},
        "RIVERBRIDGE_LISTEN_URL",
        "has no effect with RIVERBRIDGE_LISTEN=false",
    ),
    (ROUTE, R + "SINKS", "no sink is configured"),
    ({**KAFKA, **ROUTE, R + "SINKS": "event"}, R + "SINKS", "there is no sink event; did you mean"),
    ({**KAFKA, **ROUTE, R + "SINKS": "x"}, R + "SINKS", "there is no sink x; known: events"),
    (
        {**KAFKA, **ROUTE, "RIVERBRIDGE_ROUTES__B__QUEUES": "other,orders"},
        "RIVERBRIDGE_ROUTES__B__QUEUES",
        "takes the same jobs as route a: in queue orders",
    ),
    (
        {
            **KAFKA,
            **ROUTE,
            R + "KINDS": "order.*",
            "RIVERBRIDGE_ROUTES__B__QUEUES": "orders",
            "RIVERBRIDGE_ROUTES__B__KINDS": "x,*.placed",
        },
        "RIVERBRIDGE_ROUTES__B__KINDS",
        "a kind can match both *.placed and, there, order.*",
    ),
    (
        {
            **KAFKA,
            **ROUTE,
            R + "KINDS": "a.*",
            "RIVERBRIDGE_ROUTES__B__QUEUES": "orders",
            "RIVERBRIDGE_ROUTES__B__KINDS": "b.*",
            "RIVERBRIDGE_ROUTES__B__UNMATCHED": "fail",
        },
        "RIVERBRIDGE_ROUTES__B__UNMATCHED",
        "contradicts route a",
    ),
    ({**SQS, **ROUTE, **UNORDERED}, R + "KEY", "not set, but sink billing is a FIFO queue"),
    ({**SQS, **ROUTE, **KEYED}, R + "ORDERED", "not set, but sink billing is a FIFO queue"),
    ({**KAFKA, **ROUTE, **KEYED}, R + "ORDERED", "not set, but sink events is Kafka"),
    (
        {**KAFKA, **ROUTE, R + "ORDERED": "true"},
        R + "KEY",
        "not set, but ORDERED=true: order is that of the jobs of a key",
    ),
    (
        {**KAFKA, **ROUTE, **KEYED, R + "ORDERED": "true", R + "QUEUES": "a,b"},
        R + "QUEUES",
        "are 2, but an ordered route (ORDERED=true) has one queue",
    ),
    (
        {**KAFKA, **ROUTE, **KEYED, R + "ORDERED": "true", R + "LANES": "3"},
        R + "LANES",
        "3 are more than the two that can serve an ordered route",
    ),
    (
        {**KAFKA, **ROUTE, **KEYED, **UNORDERED, R + "HOLD_BACK_FOR": "1h"},
        R + "HOLD_BACK_FOR",
        "has no effect without ORDERED=true",
    ),
    (
        {**SQS, **ROUTE, **KEYED, **UNORDERED, B + "FAIR_QUEUE": "true"},
        B + "FAIR_QUEUE",
        "is for standard queues",
    ),
    ({**STANDARD, **ROUTE, B + "FAIR_QUEUE": "true"}, R + "KEY", "is used as a fair queue"),
    ({**KAFKA, **ROUTE, R + "RETRY_DELAY": "1s"}, R + "RETRY_DELAY", "no effect with RETRY=river"),
    (
        {**KAFKA, **ROUTE, R + "RETRY": "fixed", R + "RETRY_MAX_DELAY": "1h"},
        R + "RETRY_MAX_DELAY",
        "no effect with RETRY=fixed",
    ),
    (
        {**KAFKA, **ROUTE, R + "RETRY": "exponential", R + "RETRY_MAX_DELAY": "1s"},
        R + "RETRY_MAX_DELAY",
        "1 s is shorter than RETRY_DELAY of 5 s",
    ),
    ({**KAFKA, **ROUTE, R + "PATIENCE": "1s"}, R + "PATIENCE", "has no effect, as the route has"),
    ({**KAFKA, **ROUTE, R + "DEAD_LETTERS": "event"}, R + "DEAD_LETTERS", "there is no sink event"),
    (
        {**DEAD, R + "SINKS": "events,dead"},
        R + "DEAD_LETTERS",
        "dead is one of the route's own sinks",
    ),
    (
        {**DEAD, R + "SINKS": "events", D + "TOPIC": "dead.{args.tenant}"},
        R + "DEAD_LETTERS",
        "the destination of sink dead is made of a job's args or metadata",
    ),
    (
        {**KAFKA, **SQS, **ROUTE, R + "SINKS": "events", R + "DEAD_LETTERS": "billing"},
        R + "DEAD_LETTERS",
        "and this route has no key",
    ),
    (
        {**STANDARD, **ROUTE, R + "DEAD_LETTERS": "billing"},
        R + "SINKS",
        "no sink is configured",
    ),
    (
        {**KAFKA, R + "QUEUES": "orders-*", OTHER + "QUEUES": "*-orders"},
        OTHER + "QUEUES",
        "in queue *-orders a kind can match both",
    ),
    ({**KAFKA, R + "QUEUES": "orders-*!"}, R + "QUEUES", "matches no queue"),
    (
        {**KAFKA, **ROUTE, R + "WHEN": "true", OTHER + "QUEUES": "orders", OTHER + "LANES": "2"},
        OTHER + "LANES",
        "2 contradicts route a, which says None",
    ),
    (
        {
            **KAFKA,
            **ROUTE,
            R + "WHEN": "true",
            OTHER + "QUEUES": "orders",
            OTHER + "UNMATCHED": "fail",
        },
        OTHER + "UNMATCHED",
        "fail contradicts route a, which says leave",
    ),
    (
        {**KAFKA, **ROUTE, R + "OVERRIDES__BILLING__KEY": "k"},
        R + "OVERRIDES__BILLING",
        "the route has no sink billing; its sinks: events",
    ),
    (
        {**KAFKA, **ROUTE, R + "OVERRIDES__EVENTS__URL": "https://a/b"},
        R + "OVERRIDES__EVENTS__URL",
        "no meaning for the sink events, which is of type kafka",
    ),
    (
        {**KAFKA, **ROUTE, R + "OVERRIDES__EVENTS__TOPICS": "t"},
        R + "OVERRIDES__EVENTS__TOPICS",
        f"unknown; did you mean {R}OVERRIDES__EVENTS__TOPIC?",
    ),
    (
        {**KAFKA, **ROUTE, R + "OVERRIDES__EVENTS__KEY": "{id}"},
        R + "ORDERED",
        "not set, but sink events is Kafka and the route has a key",
    ),
    (
        {
            "RIVERBRIDGE_SINKS__HOOK__TYPE": "webhook",
            "RIVERBRIDGE_SINKS__HOOK__URL": "https://example.com/a",
            "RIVERBRIDGE_SINKS__HOOK__SECRETS": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
            **ROUTE,
            R + "OVERRIDES__HOOK__URL": "http://example.com/b",
        },
        R + "OVERRIDES__HOOK__URL",
        "unencrypted",
    ),
    ({**KAFKA, S + "TOPIC": " "}, S + "TOPIC", "is empty"),
    ({S + "TYPE": "kafka", S + "TOPIC": "t"}, S + "BOOTSTRAP_SERVERS", "not set"),
    ({S + "TOPIC": "t"}, S + "TYPE", "not set, and it is required: one of kafka, sqs"),
    ({**KAFKA, R + "KINDS": "*"}, R + "QUEUES", "not set, and it is required"),
]


def test_what_a_route_says_of_its_sink_stands_before_what_the_sink_says() -> None:
    own = {"TOPIC": "t", "ENVELOPE": "raw", "HEADERS": '{"b":"2","c":"3"}', "KEY": "{id}"}
    settings = read(
        {
            **KAFKA,
            **ROUTE,
            **UNORDERED,
            S + "HEADERS": '{"a":"1","b":"1"}',
            **{R + "OVERRIDES__EVENTS__" + name: value for name, value in own.items()},
            OTHER + "QUEUES": "others",
        }
    )
    sink = settings.sinks["events"]
    one, key = settings.routes["a"].at("events", sink)
    assert (one.destination, one.envelope, key) == (("topic", "t"), "raw", "{id}")
    assert one.headers == {"a": "1", "b": "2", "c": "3"}
    assert settings.routes["b"].at("events", sink) == (sink, None)
    shown = {line.variable: line.value for line in settings.describe()}
    assert shown[R + "OVERRIDES__EVENTS__TOPIC"] == "t"


@pytest.mark.parametrize(
    ("queue", "names"),
    [
        ("orders", ["exact"]),
        ("orders-eu", ["long_when", "long"]),
        ("orders2", ["short"]),
        ("x", ["all"]),
    ],
)
def test_the_pattern_that_says_most_decides_which_routes_serve_a_queue(
    queue: str, names: list[str]
) -> None:
    route = "RIVERBRIDGE_ROUTES__"
    settings = read(
        {
            **KAFKA,
            route + "ALL__QUEUES": "*",
            route + "EXACT__QUEUES": "orders",
            route + "LONG__QUEUES": "orders-*",
            route + "LONG_WHEN__QUEUES": "a,orders-*",
            route + "LONG_WHEN__WHEN": "true",
            route + "SHORT__QUEUES": "orders*",
        }
    )
    assert routes_of(settings.routes, queue) == names


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (ConditionError("'args.x =' is wrong"), "'args.x =' is wrong"),
        (ConfigurationError("install it"), "install it"),
    ],
)
def test_conditions_are_asked(error: Exception, text: str) -> None:
    def check_condition(_: str) -> None:
        raise error

    env = {**KAFKA, **ROUTE, R + "WHEN": "args.x ="}
    assert refused(env, check_condition=check_condition) == (f"{R}WHEN: {text}",)


@pytest.mark.parametrize(("env", "name", "text"), COMBINATIONS)
def test_what_cannot_work_together(env: dict[str, str], name: str, text: str) -> None:
    problems = refused(env)
    assert len(problems) == 1
    assert problems[0].startswith(name + ": ")
    assert text in problems[0]


@pytest.mark.parametrize(
    "env",
    [
        {"RIVERBRIDGE_PROBES__HOST": "0.0.0.0", "RIVERBRIDGE_PROBES__PORT": "8081"},
        {"RIVERBRIDGE_HTTP__HOST": "localhost"},
        {"RIVERBRIDGE_HTTP__HOST": "::1"},
        {**STANDARD, **ROUTE},
        {**STANDARD, **ROUTE, **KEYED},
        {**KAFKA, **ROUTE},
        {**KAFKA, **ROUTE, **KEYED, **UNORDERED},
        {**SQS, **ROUTE, **KEYED, **UNORDERED},
        {**KAFKA, **ROUTE, R + "RETRY": "fixed", R + "RETRY_DELAY": "1s"},
        {**KAFKA, **ROUTE, OTHER + "QUEUES": "orders*"},
        {**KAFKA, R + "QUEUES": "orders-*", OTHER + "QUEUES": "*"},
        {**KAFKA, **ROUTE, R + "WHEN": "true", OTHER + "QUEUES": "orders"},
        {**KAFKA, **ROUTE, R + "OVERRIDES__EVENTS__TOPIC": "t.{kind}"},
        {
            **KAFKA,
            **ROUTE,
            R + "KINDS": "a.*",
            "RIVERBRIDGE_ROUTES__B__QUEUES": "orders",
            "RIVERBRIDGE_ROUTES__B__KINDS": "b.*",
        },
    ],
)
def test_what_works_together(env: dict[str, str]) -> None:
    assert isinstance(read(env), Settings)


def test_a_sink_for_dead_letters_gets_nothing_else_unasked() -> None:
    settings = read({**DEAD, **STANDARD, "RIVERBRIDGE_ROUTES__B__QUEUES": "other"})
    assert {name: route.sinks for name, route in settings.routes.items()} == {
        "a": ("billing", "events"),
        "b": ("billing", "events"),
    }


INSECURE = [
    (KAFKA, S, "CONFIG", '{"enable.ssl.certificate.verification":"False"}'),
    (KAFKA, S, "CONFIG", '{"enable.ssl.certificate.verification":false}'),
    (KAFKA, S, "CONFIG", '{"ssl.endpoint.identification.algorithm":"none"}'),
    (STANDARD, B, "ENDPOINT_URL", "http://sqs.internal:4566"),
]


@pytest.mark.parametrize(("sink", "prefix", "key", "value"), INSECURE)
def test_insecure_choices_must_be_meant(
    sink: dict[str, str], prefix: str, key: str, value: str
) -> None:
    env = {**sink, prefix + key: value}
    (problem,) = refused(env)
    assert problem.startswith(f"{prefix}{key}: ")
    assert problem.endswith(f"{prefix}INSECURE=true")
    (warning,) = read({**env, prefix + "INSECURE": "true"}).warnings
    assert warning.startswith(f"{prefix}{key}: ")


def test_a_loopback_endpoint_needs_no_word() -> None:
    assert read({**STANDARD, B + "ENDPOINT_URL": "http://127.0.0.1:4566"}).warnings == ()


def test_every_problem_at_once_and_none_that_only_follows() -> None:
    problems = refused(
        {
            **KAFKA,
            **SQS,
            **ROUTE,
            "RIVERBRIDGE_FOO": "1",
            "RIVERBRIDGE_LANES": "many",
            "RIVERBRIDGE_DEADLINE": "soon",
            S + "DELIVERY_TIMEOUT": "55s",
            S + "TOPIC": "",
            R + "SINKS": "events,billing,gone",
            "DATABASE_URL": "mysql://x",
        }
    )
    assert {line.split(":")[0] for line in problems} == {
        "RIVERBRIDGE_FOO",
        "RIVERBRIDGE_LANES",
        "RIVERBRIDGE_DEADLINE",
        S + "TOPIC",
        R + "SINKS",
        R + "KEY",
        R + "ORDERED",
        "DATABASE_URL",
    }
    assert len(problems) == 8


def test_nothing_is_compared_with_a_value_that_is_wrong() -> None:
    env = {**KAFKA, "RIVERBRIDGE_DEADLINE": "soon", S + "DELIVERY_TIMEOUT": "55s"}
    (problem,) = refused(env)
    assert problem.startswith("RIVERBRIDGE_DEADLINE: not a duration")


def test_the_database_is_named_only_where_it_is_needed() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({}, None, None)
    (problem,) = caught.value.problems
    assert problem.startswith("DATABASE_URL: not set")
    assert load({}, None, None, require_database=False).database_url is None


def test_sinks_libraries_and_templates_are_asked() -> None:
    def check_template(text: str) -> None:
        if "}" not in text:
            raise TemplateError("a brace is not closed")

    problems = refused(
        {
            **KAFKA,
            **ROUTE,
            **UNORDERED,
            S + "CONFIG__SASL_PASSWORD": CANARY,
            S + "CONFIG__COMPRESSION_TYPE": CANARY,
            S + "TOPIC": "jobs.{kind",
            R + "KEY": "{args.id",
        },
        check_template=check_template,
    )
    assert problems == (
        S + 'CONFIG: compression.type: Invalid value "***" for configuration property '
        '"compression.codec"',
        S + "TOPIC: a brace is not closed",
        R + "KEY: a brace is not closed",
    )


@pytest.mark.parametrize(
    ("more", "at"),
    [
        ({f"{R}SINKS": "events,billing"}, f"{R}SINKS"),
        ({f"{R}ON_SUCCESS": "delete"}, f"{R}ON_SUCCESS"),
        ({f"{R}CLAIM": "lock"}, f"{R}CLAIM"),
        ({f"{R}KEY": "{id}", f"{R}ORDERED": "true"}, f"{R}ORDERED"),
    ],
)
def test_what_does_not_go_together_with_transactions(more: dict[str, str], at: str) -> None:
    env = {"DATABASE_URL": DSN, **KAFKA, **STANDARD, **ROUTE, f"{R}SINKS": "events"} | more
    assert not [p for p in problems_of(env) if "transactions" in p.lower()]
    problems = [p for p in problems_of(env | {f"{S}TRANSACTIONS": "true"}) if "TRANSACTIONS" in p]
    assert len(problems) == 1, problems
    assert problems[0].startswith(at)


PLACED = {**KAFKA, **ROUTE, R + "KEY": "{args.a}-{args.b|x}", S + "PARTITION": "{args.a|0}"}


def test_an_ordered_route_has_the_partition_from_the_key() -> None:
    ordered = PLACED | {R + "ORDERED": "true"}
    read(ordered)
    read(ordered | {S + "PARTITION": "3"})
    (problem,) = refused(ordered | {S + "PARTITION": "{args.a}{metadata.part}"})
    assert problem.startswith(
        f"{R}ORDERED: true, but {S}PARTITION is made of {{metadata.part}}, which is not in the key"
    )
    read(PLACED | {R + "ORDERED": "false", S + "PARTITION": "{metadata.part}"})
    # The key of this sink's messages is the route's, as ORDERED wants it.
    (problem,) = refused(ordered | {R + "KEY": "{{args.a}}{id}"})
    assert "{args.a}, which is not in the key" in problem


HOOK = {
    "RIVERBRIDGE_SINKS__H__TYPE": "webhook",
    "RIVERBRIDGE_SINKS__H__URL": "https://hooks.example.com/",
    "RIVERBRIDGE_SINKS__H__BATCH_SIZE": "10",
}
H = "RIVERBRIDGE_SINKS__H__"


def test_only_structured_events_go_in_batches() -> None:
    structured = HOOK | {H + "ENVELOPE": "cloudevents-structured"}
    read(structured)
    (problem,) = refused(HOOK)
    assert problem == (
        f"{H}ENVELOPE: cloudevents cannot be sent in batches (BATCH_SIZE=10); set "
        "cloudevents-structured, or unset BATCH_SIZE"
    )
    (problem,) = refused(structured | {H + "LARGE__POLICY": "compress"})
    assert problem.startswith(f"{H}LARGE__POLICY: compress does not go together with")
    own = "RIVERBRIDGE_ROUTES__A__OVERRIDES__H__ENVELOPE"
    (problem,) = refused(structured | ROUTE | {own: "raw"})
    assert problem.startswith(f"{own}: raw cannot be sent in batches")


def test_a_route_may_treat_large_messages_its_own_way() -> None:
    own = "RIVERBRIDGE_ROUTES__A__OVERRIDES__EVENTS__LARGE__"
    base = {**KAFKA, **ROUTE, own + "POLICY": "claim-check"}
    given = read(base | {own + "BUCKET": "orders", S + "LARGE__LIMIT": "1KiB"})
    large = given.routes["a"].at("events", given.sinks["events"])[0].large
    assert (large.policy, large.bucket, large.limit) == ("claim-check", "orders", 1024)
    assert given.sinks["events"].large.policy == "refuse"
    read(base | {S + "LARGE__BUCKET": "all"})  # only routes use it
    assert refused(base) == (f"{own}BUCKET: not set, and POLICY=claim-check needs it",)
    (problem,) = refused(
        base
        | {own + "BUCKET": "orders", "RIVERBRIDGE_ROUTES__A__OVERRIDES__EVENTS__ENVELOPE": "raw"}
    )
    assert problem.startswith(f"{own}POLICY: claim-check refers to bodies as CloudEvents do")


def test_an_envelope_and_what_goes_with_it() -> None:
    body = '{"id":{id},"args":{args}}'
    template = {**KAFKA, S + "ENVELOPE": "template", S + "BODY": body}
    read(template, check_body=Body.parse)
    assert refused({**KAFKA, S + "ENVELOPE": "template"}) == (
        S + "BODY: not set, and ENVELOPE=template needs it; give JSON with fields of the job",
    )
    assert refused({**KAFKA, S + "BODY": body}) == (
        S + "BODY: has no effect with ENVELOPE=cloudevents; set template",
    )
    (problem,) = refused({**template, S + "BODY": '{"id":{id}'}, check_body=Body.parse)
    assert problem.startswith(S + "BODY: '{\"id\":{id}' is no JSON")
    (problem,) = refused({**KAFKA, S + "PARTITION": "{no}"}, check_template=Template.parse)
    assert "{no}, which no job has" in problem
    structured = {S + "ENVELOPE": "cloudevents-structured", S + "CONTENT_TYPE": "text/plain"}
    (problem,) = refused({**KAFKA, **structured})
    assert "has a content type of its own" in problem
    assert refused({**KAFKA, S + "CONTENT_TYPE": "json"}) == (
        S + "CONTENT_TYPE: is no media type; write it as application/json",
    )


O = R + "OVERRIDES__EVENTS__"  # noqa: E741 - as short as its neighbours
BODY = {S + "BODY": '{"id":{id}}'}
REGISTRY = {S + "REGISTRY__URL": "https://registry"}
RIVER = {S + "TYPE": "river", S + "DATABASE_URL": "postgresql://other/b"}


@pytest.mark.parametrize(
    ("env", "path", "text"),
    [
        ({O + "ENVELOPE": "template"}, O + "ENVELOPE", f"made of the sink's body, and {S}BODY is"),
        ({O + "ENVELOPE": "raw", **BODY}, S + "BODY", "has no effect with ENVELOPE=cloudevents"),
        (
            {O + "ENVELOPE": "cloudevents-structured", **REGISTRY},
            O + "ENVELOPE",
            f"{S}REGISTRY__URL: is for args",
        ),
        (
            {O + "ENVELOPE": "raw", S + "LARGE__POLICY": "claim-check", S + "LARGE__BUCKET": "own"},
            O + "ENVELOPE",
            f"{S}LARGE__POLICY: claim-check refers to bodies as CloudEvents do",
        ),
    ],
)
def test_a_routes_envelope_has_to_suit_what_the_sink_says(
    env: dict[str, str], path: str, text: str
) -> None:
    (problem,) = refused({**KAFKA, **ROUTE, **env})
    assert problem.startswith(f"{path}: ")
    assert text in problem


def test_a_body_may_be_for_a_route_only_and_an_envelope_not_for_every_sink() -> None:
    read({**KAFKA, **ROUTE, **BODY, O + "ENVELOPE": "template"})
    read({**KAFKA, **ROUTE, **BODY, S + "ENVELOPE": "template", O + "ENVELOPE": "raw"})
    (problem,) = refused({**RIVER, **ROUTE, O + "ENVELOPE": "raw"})
    assert problem == O + "ENVELOPE: raw is not for a sink of type river, which has cloudevents"


def test_a_dead_letter_sink_takes_every_body() -> None:
    env = {**KAFKA, **STANDARD, **ROUTE, **REGISTRY, R + "SINKS": "billing"}
    (problem,) = refused({**env, R + "DEAD_LETTERS": "events"})
    assert problem.startswith(R + "DEAD_LETTERS: sink events takes what is as its schema wants it")


L = S + "LARGE__"
CLAIMS = {L + "POLICY": "claim-check", L + "BUCKET": "payloads"}


@pytest.mark.parametrize(
    ("env", "path", "text"),
    [
        ({**KAFKA, L + "POLICY": "claim-check"}, L + "BUCKET", "not set, and POLICY=claim-check"),
        ({**KAFKA, L + "BUCKET": "payloads"}, L + "BUCKET", "no effect with POLICY=refuse"),
        ({**KAFKA, **CLAIMS, L + "BUCKET": "Pay"}, L + "BUCKET", "is not the name of a bucket"),
        (
            {**KAFKA, **CLAIMS, S + "ENVELOPE": "raw"},
            L + "POLICY",
            "set ENVELOPE to one of them, as raw has no place for that",
        ),
        (
            {S + "TYPE": "file", S + "PATH": "-", L + "POLICY": "compress"},
            L + "POLICY",
            "compress is not for this type of sink, which has refuse",
        ),
        (
            {S + "TYPE": "kinesis", S + "STREAM_NAME": "s", L + "POLICY": "compress"},
            L + "POLICY",
            "which has refuse, claim-check",
        ),
        (
            {**KAFKA, **CLAIMS, L + "ENDPOINT_URL": "http://s3.internal"},
            L + "ENDPOINT_URL",
            "unencrypted (http) to another machine; if that is meant, set " + S + "INSECURE=true",
        ),
    ],
)
def test_what_becomes_of_large_messages(env: dict[str, str], path: str, text: str) -> None:
    (problem,) = refused(env)
    assert problem.startswith(f"{path}: ")
    assert text in problem
    read({**KAFKA, **CLAIMS})
    read({**STANDARD, B + "LARGE__POLICY": "compress", B + "ENVELOPE": "raw"})
