"""Nothing is discarded before the dead-letter sink has it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from riverbridge.bridge.dead_letters import ERROR_LIMIT, DeadLetters, header_text
from riverbridge.bridge.envelope import Envelope
from riverbridge.bridge.route import Route
from riverbridge.bridge.template import Template
from riverbridge.engine.batch import Batch
from riverbridge.model.job import JobState
from riverbridge.model.outcome import (
    Cancelled,
    Delivered,
    Misconfigured,
    Outcome,
    Parked,
    Permanent,
    Retry,
    Unreachable,
)
from riverbridge.model.retry import RiverRetry
from riverbridge.model.settlement import settlement
from riverbridge.sinks.base import Message, headers_problem
from tests.support.by_hand import FannedOut, HandOutlet, SetAlarms, again
from tests.support.jobs import job


class OneSink:
    """A route to `a`, with dead letters to `dead`."""

    def __init__(self, max_attempts: int | None = None, **envelope: Any) -> None:
        self.sink, self.dead = HandOutlet("a"), HandOutlet("dead")
        self.route = Route(
            "r",
            {self.sink: Envelope("cloudevents", source="s", **envelope)},
            dead_letters=letters(self.dead, max_attempts),
            alarms=SetAlarms(),
        )

    def refuse(self, outcome: Outcome, **columns: Any) -> Batch:
        batch = Batch([job(id=7, **columns)], 1e9)
        self.route.take(batch)
        self.sink.answer(outcome)
        return batch

    def letter(self) -> Message:
        [message] = self.dead.calls[0][0]
        return message


def letters(outlet: HandOutlet, max_attempts: int | None = None) -> DeadLetters:
    destination = Template.parse("dead.{kind}")
    return DeadLetters(
        outlet, route="r", source="s", destination=destination, max_attempts=max_attempts
    )


def headers(message: Message) -> dict[str, str]:
    return dict(message.headers)


def test_the_discard_waits_for_the_acknowledgement() -> None:
    one = OneSink(destination=Template.parse("jobs.{kind}"), key=Template.parse("{args.a}"))
    batch = one.refuse(Permanent("too\nlarge"), attempt=2)
    assert not batch.answered
    letter = one.letter()
    assert (letter.id, letter.body, letter.key) == ("s:7", b'{"a": 1}', "1")
    assert letter.destination == "dead.order.placed"
    assert headers(letter) | {
        "riverbridge-error": "a: too large",
        "riverbridge-error-class": "permanent",
        "riverbridge-attempt": "3",
        "riverbridge-route": "r",
        "riverbridge-failed-sink": "a",
        "riverbridge-original-destination": "jobs.order.placed",
        "ce_id": "s:7",
        "ce_type": "order.placed",
    } == headers(letter)
    one.dead.answer()
    assert batch.outcomes() == [Permanent("a: too\nlarge")]


@pytest.mark.parametrize(
    ("attempt", "row", "route", "last"),
    [(0, 25, None, False), (24, 25, None, True), (2, 25, 3, True), (1, 25, 3, False),
     (0, 1, 3, True), (30, 25, None, True)],
)  # fmt: skip
def test_the_last_attempt_is_of_row_and_route_the_smaller(
    attempt: int, row: int, route: int | None, last: bool
) -> None:
    one = OneSink(max_attempts=route)
    batch = one.refuse(Retry("busy"), attempt=attempt, max_attempts=row)
    assert batch.answered is not last
    # It takes over what the settlement would discard, and nothing else.
    outcome = settlement(
        job(attempt=attempt, max_attempts=row), Retry("x"), retry=RiverRetry(), max_attempts=route
    )
    assert outcome is not None
    assert (outcome.state is JobState.DISCARDED) is last
    if last:
        assert headers(one.letter())["riverbridge-error-class"] == "retry"
        one.dead.answer()
    assert batch.outcomes() == [Retry("a: busy")]


@pytest.mark.parametrize("answer", [Delivered(), Cancelled("old"), Unreachable("down")], ids=str)
def test_what_is_not_discarded_is_no_dead_letter(answer: Outcome) -> None:
    one = OneSink()
    assert one.refuse(answer, attempt=24).outcomes() == [answer]
    assert one.dead.sent == []


@pytest.mark.parametrize("answer", [Unreachable("down"), Misconfigured("no topic")], ids=str)
def test_while_the_dead_letter_sink_is_down_the_job_stays_with_its_error(answer: Outcome) -> None:
    one = OneSink()
    batch = one.refuse(Permanent("no"), metadata='{"x": 1}')
    one.dead.answer(answer)
    [outcome] = batch.outcomes()
    assert isinstance(outcome, Parked)
    assert outcome.error.startswith("a: no (not discarded, as the dead-letter sink dead did not")
    assert json.loads(outcome.metadata or "") == {
        "riverbridge:parked": {"for": ["dead"], "times": 1}
    }
    row = settlement(job(), outcome, retry=RiverRetry())
    assert row is not None
    assert (row.state, row.attempt, row.error) == (JobState.SCHEDULED, 0, outcome.error)
    # Again, while its breaker is open: not called, and the error is not repeated in the row.
    after = again(job(metadata='{"x": 1}'), outcome)
    [outcome] = one.refuse(Permanent("no"), metadata=after.metadata).outcomes()
    assert len(one.dead.sent) == 1
    assert isinstance(outcome, Parked)
    assert outcome.error == ""


def test_a_dead_letter_sink_that_refuses_is_asked_again_when_time_has_passed() -> None:
    one = OneSink()
    batch = one.refuse(Permanent("no"))
    one.dead.answer(Permanent("too large"))
    [outcome] = batch.outcomes()
    assert isinstance(outcome, Parked)
    # Nothing brings it forward: that would go on without end.
    assert json.loads(outcome.metadata or "") == {
        "riverbridge:parked": {"for": [], "times": 1, "refused_by": ["dead"]}
    }
    assert one.dead.parked_at < 0
    after = again(job(), outcome)
    batch = one.refuse(Permanent("no"), metadata=after.metadata)
    one.dead.answer(Permanent("too large"))
    [outcome] = batch.outcomes()
    assert isinstance(outcome, Parked)
    assert outcome.error == ""
    assert 10 <= outcome.seconds <= 15


def test_a_job_that_cannot_be_rendered_goes_with_its_args() -> None:
    one = OneSink(destination=Template.parse("jobs.{args.nothing}"))
    batch = Batch([job(id=7), job(id=8)], 1e9)
    one.route.take(batch)
    one.sink.answer()
    [first, second] = one.dead.calls[0][0]
    assert (first.body, first.key) == (b'{"a": 1}', None)
    assert first.id == headers(first)["event-id"] == "s:7"
    assert "needs args.nothing" in headers(second)["riverbridge-error"]
    assert "riverbridge-original-destination" not in headers(second)
    one.dead.answer()
    assert batch.answered


@pytest.mark.parametrize(
    ("metadata", "id_"),
    [
        ('{"event_id": "evt-1"}', "evt-1"),
        ('{"event_id": "two\\nlines"}', "s:7"),
        ("[]", "s:7"),
    ],
)
def test_a_job_that_cannot_be_rendered_keeps_the_event_id_it_would_have_had(
    metadata: str, id_: str
) -> None:
    """Unless it is the id that cannot be sent."""
    one = OneSink(key=Template.parse("{args.nothing}"))
    one.route.take(Batch([job(id=7, metadata=metadata)], 1e9))
    one.sink.answer()
    assert one.letter().id == headers(one.letter())["event-id"] == id_


def test_a_job_with_a_wrong_expiry_is_a_dead_letter_of_no_sink() -> None:
    one = OneSink()
    batch = Batch([job(id=7, metadata='{"expires_at": "tomorrow"}')], 1e9)
    one.route.take(batch)
    assert one.sink.sent == []
    assert "riverbridge-failed-sink" not in headers(one.letter())
    one.dead.answer()
    [outcome] = batch.outcomes()
    assert isinstance(outcome, Permanent)


def test_of_several_sinks_the_one_that_refused_is_named_and_the_others_are_remembered() -> None:
    dead = HandOutlet("dead")
    fan = FannedOut("a", "b", dead_letters=letters(dead))
    batch = fan.take()
    fan["a"].answer()
    fan["b"].answer(Permanent("no"))
    assert headers(dead.calls[0][0][0])["riverbridge-failed-sink"] == "b"
    dead.answer(Unreachable("down"))
    [outcome] = batch.outcomes()
    assert isinstance(outcome, Parked)
    assert json.loads(outcome.metadata or "") == {
        "riverbridge:delivered": ["a"],
        "riverbridge:parked": {"for": ["dead"], "times": 1},
    }


def test_a_dead_letter_has_no_place_and_no_time_of_the_first_sinks() -> None:
    one = OneSink(partition=Template.parse("{args.a}"), timestamp="created_at")
    one.refuse(Permanent("topic jobs has no partition 1"))
    assert (one.letter().partition, one.letter().timestamp) == (None, None)


@pytest.mark.parametrize(
    "text",
    ["a\x00b\r\nc\x1b[31m", "\ud800 half", "é" * 5000, "\u2028line", "", " \t ", "\x7f", "ok"],
)
def test_any_error_fits_into_a_header(text: str) -> None:
    found = header_text(text)
    assert found == found.strip()
    assert len(found.encode()) <= ERROR_LIMIT
    assert found.isprintable()
    assert headers_problem((("riverbridge-error", found),)) is None


def test_where_headers_are_full_those_that_say_why_it_died_remain() -> None:
    full = {f"h{number}": Template.parse("x" * 20) for number in range(55)}
    one = OneSink(headers=full)
    one.refuse(Permanent("no"))
    assert headers_problem(one.letter().headers) is None
    assert set(headers(one.letter())) == {
        "riverbridge-error",
        "riverbridge-error-class",
        "riverbridge-attempt",
        "riverbridge-route",
        "riverbridge-failed-sink",
    }


def test_others_of_the_batch_do_not_wait_in_the_batch() -> None:
    one = OneSink()
    batch = Batch([job(id=1), job(id=2)], 1e9)
    one.route.take(batch)
    _, done = one.sink.calls.pop()
    done([Delivered(), Permanent("no")])
    assert batch.outcomes() == [Delivered(), None]
    one.dead.answer()
    assert batch.outcomes() == [Delivered(), Permanent("a: no")]


def test_a_job_whose_last_attempt_was_lost_is_a_dead_letter_and_is_not_tried_again() -> None:
    one = OneSink()
    what = '{"riverbridge:lost": {"attempt": 25, "error": "the process died"}}'
    batch = Batch([job(id=7, metadata=what, attempt=25)], 1e9)
    one.route.take(batch)
    assert one.sink.sent == []
    assert headers(one.letter())["riverbridge-error"] == "the process died"
    one.dead.answer()
    assert batch.outcomes() == [Permanent("the process died")]
    # Retried by hand it is a job like any other; and so it is if that is garbage.
    for attempt, text in [
        (26, what),
        (0, '{"riverbridge:lost": 7}'),
        (0, '{"x": "riverbridge:lost"}'),
    ]:
        assert one.refuse(Delivered(), attempt=attempt, metadata=text).outcomes() == [Delivered()]
