"""The settings of sources: what is required, what contradicts, and which kinds there are."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Literal

import pytest
from pydantic import Field

from riverbridge.bridge.mapping import condition, template
from riverbridge.errors import ConfigurationError
from riverbridge.service import receiving
from riverbridge.settings import load
from riverbridge.settings.sinks.kinds import gather
from riverbridge.settings.sources import KINDS, SourceSettings
from riverbridge.settings.sources.kinds import GROUP, OURS
from riverbridge.sources.base import Event
from riverbridge.sources.postgres_jobs import ABOUT
from tests.unit.settings_cases import read, refused

S = "RIVERBRIDGE_SOURCES__S__"
GIVEN = {
    S + "TYPE": "kafka",
    S + "BOOTSTRAP_SERVERS": "b:9092",
    S + "TOPICS": "t",
    S + "KIND": "k1",
}


class Pigeon(SourceSettings):
    """A kind that another package might bring."""

    type: Literal["pigeon"] = Field(description="Selects this kind of source.")


def test_the_inbox_is_off_where_positions_are_stored_and_can_be_had() -> None:
    source = read(GIVEN).sources["s"]
    assert receiving.make_intake("s", source).remember is None
    source = read(GIVEN | {S + "REMEMBER": "2d"}).sources["s"]
    kept = receiving.make_intake("s", source).remember
    assert kept is not None
    assert kept.days == 2
    pigeon = Pigeon.model_validate({"type": "pigeon", "kind": "k1"})
    kept = receiving.make_intake("s", pigeon).remember
    assert kept is not None
    assert kept.days == 7


@pytest.mark.parametrize(
    ("given", "name", "why"),
    [
        ({S + "KIND": ""}, "KIND", "is empty"),
        ({S + "ON_GAP": "skip"}, "ON_GAP", "must be one of stop, earliest, latest"),
        ({S + "CONFIG": '{"group.id":"g"}'}, "CONFIG", "group.id: cannot be set: give it as group"),
        ({S + "CONFIG": '{"no.such":"1"}'}, "CONFIG", "no.such"),
        (
            {S + "CONFIG": '{"sasl.password":"s3cret","session.timeout.ms":"soon"}'},
            "CONFIG",
            "session.timeout.ms",
        ),
        (
            {S + "CONFIG": '{"enable.ssl.certificate.verification":"false"}'},
            "CONFIG",
            "set RIVERBRIDGE_SOURCES__S__INSECURE=true",
        ),
        ({S + "TOPIC": "t"}, "TOPIC", "did you mean RIVERBRIDGE_SOURCES__S__TOPICS"),
        ({S + "TYPE": "pigeon"}, "TYPE", "must be"),
    ],
)
def test_what_cannot_work_is_said(given: dict[str, str], name: str, why: str) -> None:
    [problem] = refused(GIVEN | given)
    assert problem.startswith(f"{S}{name}: ")
    assert why in problem
    assert "s3cret" not in problem


POSTGRES = {
    S + "TYPE": "postgres",
    S + "URL": "postgresql://cdc:s3cret@db/app",
    S + "KIND": "{topic}",
}


@pytest.mark.parametrize(
    ("given", "name", "why"),
    [
        ({S + "SLOT": "Shop"}, "SLOT", "is no name of a slot"),
        ({S + "SLOT": "a" * 64}, "SLOT", "above the limit of 63 bytes"),
        ({S + "PREFIXES": "letters,riverbridge"}, "PREFIXES", "is ours"),
        ({S + "MAX_WAL": "1KiB"}, "MAX_WAL", "outside of the limits"),
        ({S + "URL": "postgresql://cdc:s3cret@db:x/app"}, "URL", "its port"),
        ({S + "TYPE": "jobs", S + "STATES": "done"}, "STATES", "must be one of completed"),
        ({S + "TYPE": "jobs", S + "PREFIXES": "p"}, "PREFIXES", "no meaning for this type"),
    ],
)
def test_what_cannot_work_for_postgres_is_said(given: dict[str, str], name: str, why: str) -> None:
    [problem] = refused(POSTGRES | given)
    assert problem.startswith(f"{S}{name}: ")
    assert why in problem
    assert "s3cret" not in problem


def test_jobs_about_jobs_are_marked_whatever_tags_are_set() -> None:
    given = POSTGRES | {S + "TYPE": "jobs", S + "TAGS": "mine"}
    source = read(given).sources["s"]
    [mapped] = receiving.make_intake("s", source).mapper.map(Event("1", b"{}", "completed"))
    assert mapped.job is not None
    assert set(mapped.job.tags) == {"mine", ABOUT}


def test_a_template_is_checked_over_an_event() -> None:
    env = GIVEN | {"DATABASE_URL": "postgresql://a@b/c", S + "TAGS": "{args.tag}"}
    with pytest.raises(ConfigurationError, match=r"S__TAGS: .*\{args.tag\}, which no event has"):
        load(env, None, None, check_event_template=template)


def test_another_package_may_bring_a_kind() -> None:
    point = EntryPoint("pigeon", f"{__name__}:Pigeon", GROUP)
    kinds, failed = gather([point], SourceSettings, OURS)
    assert kinds == {**KINDS, "pigeon": Pigeon}
    assert not failed
    with pytest.raises(NotImplementedError, match=r"Pigeon has no open\(\)"):
        Pigeon.model_validate({"type": "pigeon", "kind": "k1"}).open("s")


SQS = {
    S + "TYPE": "sqs",
    S + "QUEUE_URL": "https://sqs.eu-west-1.amazonaws.com/123456789012/q",
    S + "KIND": "k1",
}


@pytest.mark.parametrize(
    ("given", "name", "why"),
    [
        ({S + "QUEUE_URL": "sqs.example/q"}, "QUEUE_URL", "URL"),
        ({S + "QUEUE_URL": "http://sqs.example/1/q"}, "QUEUE_URL", "unencrypted"),
        ({S + "ENDPOINT_URL": "http://sqs.example"}, "ENDPOINT_URL", "unencrypted"),
        ({S + "WAIT": "30s"}, "WAIT", "above the limit of 20 s"),
        ({S + "VISIBILITY": "1s"}, "VISIBILITY", "below the limit of 10 s"),
        (
            {S + "UNWRAP": "sns,kafka"},
            "UNWRAP",
            "item 2 of the list: is not sns, eventbridge or s3",
        ),
        ({S + "REMEMBER": "0"}, "REMEMBER", "no position that is stored"),
        ({S + "FETCH__FROM": "http://a/"}, "FETCH__FROM", "neither s3://bucket/prefix nor https"),
        ({S + "FETCH__ENDPOINT_URL": "http://s3.example"}, "FETCH__ENDPOINT_URL", "unencrypted"),
        ({S + "BOOTSTRAP_SERVERS": "b:9092"}, "BOOTSTRAP_SERVERS", ""),
    ],
)
def test_what_cannot_work_of_an_sqs_source_is_said(
    given: dict[str, str], name: str, why: str
) -> None:
    [problem] = refused(SQS | given)
    assert problem.startswith(f"{S}{name}: ")
    assert why in problem


def test_an_sqs_source_remembers_and_takes_what_is_set() -> None:
    source = read(SQS | {S + "UNWRAP": "sns,s3", S + "KIND": "a1,{type}"}).sources["s"]
    intake = receiving.make_intake("s", source)
    assert intake.remember is not None
    assert intake.remember.days == 7
    assert source.envelopes == ("sns", "s3")
    assert source.kind == ("a1", "{type}")


def test_a_filter_is_checked_over_an_event() -> None:
    pytest.importorskip("cel_expr_python")
    env = GIVEN | {"DATABASE_URL": "postgresql://a@b/c", S + "FILTER": "args.total > 1"}
    with pytest.raises(ConfigurationError, match=r"S__FILTER: .*args"):
        load(env, None, None, check_event_condition=condition)
