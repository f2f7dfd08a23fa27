"""What a replay may be about, and how its messages are marked."""

from __future__ import annotations

from datetime import datetime
from typing import Any, get_args

import msgspec
import pytest

from riverbridge.bridge.envelope import Envelope, EnvelopeKind
from riverbridge.errors import InvalidRequest
from riverbridge.model.replay import ReplayFilter, ReplayRoute, plan_replay
from riverbridge.service.wiring import replay_routes
from riverbridge.settings import load
from riverbridge.sinks.aws_text import Place, Text, text_of
from riverbridge.sinks.base import Message
from tests.support.jobs import job

ROUTE = ReplayRoute("r", queues=("q",), kinds=("*",), sinks=("one", "two"), key="{args.customer}")


@pytest.mark.parametrize(
    ("route", "wanted", "sink", "reason"),
    [
        ({}, {"queues": ("x",)}, None, "queue x: no route takes its jobs"),
        ({"kinds": ("a.*",)}, {"kinds": ("b.*",)}, None, "no route takes such jobs"),
        ({}, {}, "three", "no route delivers such jobs to it; their sinks are one, two"),
        ({"deletes": True}, {}, None, "ON_SUCCESS=delete"),
        ({"key": None}, {"key": "c"}, None, "has a key"),
        ({}, {"states": ("running",)}, None, "not one of a finished job"),
        ({}, {"metadata": "[1]"}, None, "metadata: must be a JSON object"),
        ({}, {"created_from": datetime(2026, 1, 1)}, None, "has no time zone"),
        ({}, {"ids": (2**63,)}, None, "out of range"),
        ({}, {"error": "a\0b"}, None, "cannot store"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(
    route: Any, wanted: Any, sink: str | None, reason: str
) -> None:
    routes = [msgspec.structs.replace(ROUTE, **route)]
    with pytest.raises(InvalidRequest, match=reason):
        plan_replay(ReplayFilter(**wanted), routes, sink)


def test_a_route_that_keeps_nothing_is_left_out_unless_its_queue_is_named() -> None:
    gone = ReplayRoute("gone", queues=("x",), kinds=("*",), sinks=("one",), deletes=True)
    assert plan_replay(ReplayFilter(), [ROUTE, gone]).routes == (ROUTE,)
    with pytest.raises(InvalidRequest, match="of queue x deletes"):
        plan_replay(ReplayFilter(queues=("q", "x")), [ROUTE, gone])


def test_a_replay_is_confined_to_the_routes_of_its_sink() -> None:
    other = ReplayRoute("other", queues=("x",), kinds=("*",), sinks=("three",))
    assert plan_replay(ReplayFilter(), [ROUTE, other], "three").routes == (other,)
    with pytest.raises(InvalidRequest, match="of queue q to it"):
        plan_replay(ReplayFilter(queues=("x", "q")), [ROUTE, other], "three")


def message(metadata: str, kind: EnvelopeKind = "raw") -> Message:
    return Envelope(kind, source="here").render(job(metadata=metadata))


@pytest.mark.parametrize("kind", get_args(EnvelopeKind))
def test_every_envelope_tells_a_replay_and_keeps_the_event_id(kind: EnvelopeKind) -> None:
    first, again = message("{}", kind), message('{"riverbridge:replay": 2}', kind)
    assert again.id == first.id == "here:1"
    assert again.headers == (*first.headers, ("riverbridge-replay", "2"))


@pytest.mark.parametrize(
    "metadata",
    [
        '{"riverbridge:replay": 0}',
        '{"riverbridge:replay": -1}',
        '{"riverbridge:replay": 1.5}',
        '{"riverbridge:replay": 1234567890}',
        '{"riverbridge:replay": "1\\r\\nx"}',
        '{"riverbridge:replay": {"a": []}}',
        '{"riverbridge:replay": null}',
        '{"a": {"riverbridge:replay": 1}}',
        '["riverbridge:replay"]',
        '"riverbridge:replay"',
        '{"riverbridge:replay": ' + "[" * 5000 + "]" * 5000 + "}",
    ],
)
def test_what_is_no_number_of_a_replay_is_passed_over(metadata: str) -> None:
    assert message(metadata).headers == message("{}").headers


@pytest.mark.parametrize("service", ["SQS", "SNS"])
def test_only_the_deduplication_id_of_a_replay_differs(service: str) -> None:
    place = Place(service, "queue", fifo=True)

    def text(metadata: str) -> Text:
        found = text_of(msgspec.structs.replace(message(metadata), key="k"), place, 1 << 18)
        assert isinstance(found, Text)
        return found

    first, second, third = (
        text("{}"),
        text('{"riverbridge:replay": 1}'),
        text('{"riverbridge:replay": 2}'),
    )
    ids = {first.deduplication, second.deduplication, third.deduplication}
    assert len(ids) == 3
    assert first.body == second.body
    assert second.group == first.group
    assert second.attributes == first.attributes | {"riverbridge-replay": "1"}


def test_a_route_with_globs_serves_what_no_other_pattern_says_more_of() -> None:
    env = {
        "RIVERBRIDGE_SINKS__S__TYPE": "file",
        "RIVERBRIDGE_SINKS__S__PATH": "/tmp/s",
        "RIVERBRIDGE_ROUTES__ALL__QUEUES": "*",
        "RIVERBRIDGE_ROUTES__EU__QUEUES": "a|b-*",
        "RIVERBRIDGE_ROUTES__ONE__QUEUES": "a|b-c",
        "RIVERBRIDGE_ROUTES__ONE__WHEN": "true",
    }
    routes = replay_routes(load(env, None, None, require_database=False))
    serving = {
        queue: [route.name for route in routes if route.takes(queue, "k")]
        for queue in ("a|b-c", "a|b-cd", "a", "b-c")
    }
    assert serving == {"a|b-c": ["one"], "a|b-cd": ["eu"], "a": ["all"], "b-c": ["all"]}
    plan = plan_replay(ReplayFilter(queues=("a",)), routes, sink="s")
    assert [route.name for route in plan.routes] == ["all"]
    with pytest.raises(InvalidRequest, match="conditions"):
        plan_replay(ReplayFilter(queues=("a|b-c",)), routes, sink="s")
