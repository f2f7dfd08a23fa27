"""A message as a row of another River: what goes where, and what can be no job."""

from __future__ import annotations

import hashlib
import json

import pytest

from riverbridge.bridge.envelope import Envelope
from riverbridge.bridge.template import Template
from riverbridge.errors import ConfigurationError
from riverbridge.model.job import JobState
from riverbridge.model.options import NewJob
from riverbridge.model.outcome import Permanent
from riverbridge.settings.sinks.river import RiverSink as Settings
from riverbridge.sinks.base import REPLAY, Message
from riverbridge.sinks.river import RiverSink
from riverbridge.sinks.river_row import row_of, unique_key
from tests.support.jobs import job

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def row(message: Message) -> NewJob:
    made = row_of(message)
    assert isinstance(made, NewJob), made
    return made


def test_a_job_becomes_a_job_with_what_its_settings_say() -> None:
    settings = Settings.model_validate(
        {"type": "river", "database_url": "postgresql://b/b", "queue": "q-{queue}",
         "headers": {"tenant": "{args.tenant}"}, "tags": "{tags},moved"}
    )  # fmt: skip
    _, kind = settings.destination
    envelope = Envelope(
        settings.envelope,
        source="shop",
        destination=Template.parse(kind),
        key=Template.parse("{args.n}"),
        headers={name: Template.parse(text) for name, text in settings.message_headers.items()},
    )
    delivered = job(
        id=7, kind="order.placed", queue="outbox", priority=3, tags="one,two",
        args='{"n": 1.10, "tenant": "t1"}', metadata=json.dumps({"traceparent": PARENT}),
    )  # fmt: skip
    made = row(envelope.render(delivered))
    assert json.loads(made.metadata) == {
        "event_id": "shop:7",
        "event_source": "shop",
        "event_key": "1.10",
        "traceparent": PARENT,
        "headers": {"tenant": "t1"},
    }
    assert (made.kind, made.queue, made.priority) == ("order.placed", "q-outbox", 3)
    assert made.args == '{"n": 1.10, "tenant": "t1"}'
    assert made.tags == ("one", "two", "moved")
    assert (made.max_attempts, made.state, made.scheduled_at) == (25, JobState.AVAILABLE, None)
    text = b"&kind=order.placed&queue=q-outbox&event=shop:7"
    assert made.unique_key == hashlib.sha256(text).digest()
    assert made.unique_states == 0xFF


def test_what_says_nothing_gets_rivers_defaults() -> None:
    made = row(Message("1", b"{}", "some_kind"))
    assert (made.queue, made.priority, made.tags) == ("default", 1, ())
    assert json.loads(made.metadata) == {"event_id": "1"}


def test_an_event_is_another_job_in_another_queue_or_of_another_kind() -> None:
    keys = {unique_key(*each) for each in (("a", "q", "1"), ("a", "r", "1"), ("b", "q", "1"))}
    assert len(keys) == 3


def test_a_replay_is_another_job_and_says_which_one_it_is() -> None:
    first, again, second = (
        row(Message("1", b"{}", "some_kind", headers=((REPLAY, number),) if number else ()))
        for number in ("", "1", "2")
    )
    assert len({first.unique_key, again.unique_key, second.unique_key}) == 3
    assert json.loads(again.metadata) == {"event_id": "1", "event_replay": "1"}


@pytest.mark.parametrize(
    ("message", "says"),
    [
        (Message("1", None, "kind"), "tombstone"),
        (Message("1", b"\xff", "kind"), "UTF-8"),
        (Message("1", b"[1]", "kind"), "must be a JSON object"),
        (Message("1", b'{"a": }', "kind"), "not JSON"),
        (Message("1", rb'{"a": "\u0000"}', "kind"), "NUL"),
        (Message("1", b'{"a":' * 2000 + b"1" + b"}" * 2000, "kind"), "nested"),
        (Message("1", b"{}", ""), "kind"),
        (Message("1", b"{}", "k" * 128), "kind"),
        (Message("1", b"{}", "kind\0"), "kind"),
        (Message("1", b"{}", "kind\ud800"), "surrogate"),
        (Message("1", b"{}", "kind", headers=(("river-queue", "No Queue"),)), "queue"),
        (Message("1", b"{}", "kind", headers=(("river-priority", "5"),)), "priority"),
        (Message("1", b"{}", "kind", headers=(("river-priority", "high"),)), "priority"),
        (Message("1", b"{}", "kind", headers=(("river-tags", "ok1,a b"),)), "tags[1]"),
        (Message("1", b"{}", "kind", headers=(("h", "a\0b"),)), "metadata"),
        (Message("1", b"{}", "kind", "key\0"), "metadata"),
        (Message("\ud800", b"{}", "kind"), "surrogate"),
    ],
)
def test_what_can_be_no_job_is_refused_for_good(message: Message, says: str) -> None:
    made = row_of(message)
    assert isinstance(made, Permanent)
    assert says in made.error


@pytest.mark.parametrize(
    "wrong",
    [
        {"database_url": "postgresql://u:s3cr@t/x@h/b"},
        {"database_url": "postgresql://h/b", "schema": "no-schema"},
        {"database_url": "postgresql://h/b", "threads": 0},
        {"database_url": "postgresql://h/b", "delivery_timeout": 0},
    ],
)
def test_what_cannot_work_is_refused_without_a_secret(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        RiverSink(**wrong)  # type: ignore[arg-type]
    assert "s3cr" not in str(caught.value)
