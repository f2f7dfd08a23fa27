"""How args and options become a row, and what is refused with which words."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from hashlib import sha256
from typing import Any, ClassVar

import msgspec
import pytest

from riverbridge.client.batch import Preparation
from riverbridge.errors import InvalidJob
from riverbridge.model.args import JobArgs, RawArgs, kind_and_json
from riverbridge.model.job import JobState
from riverbridge.model.options import InsertManyParams, InsertOpts, new_job
from riverbridge.model.unique import UniqueOpts, unique_key

WHEN = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


@dataclass
class Placed:
    order_id: int
    kind: ClassVar[str] = "order.placed"


@dataclass
class KindIsAField:
    order_id: int
    kind: str = "order.placed"


class Struct(msgspec.Struct, rename="camel"):
    order_id: int
    kind: ClassVar[str] = "order.placed"


class StructWithField(msgspec.Struct, rename="upper"):
    order_id: int
    kind: str = "order.placed"


class Positional(msgspec.Struct, array_like=True):
    order_id: int
    kind: ClassVar[str] = "order.placed"


class WritesItself:
    kind = "order.placed"

    def to_json(self) -> str:
        return '{"order_id": 7.10}'


class WithOptions(WritesItself):
    def insert_opts(self) -> InsertOpts:
        return InsertOpts(
            max_attempts=3,
            priority=2,
            queue="own",
            scheduled_at=WHEN,
            tags=["own"],
            metadata={"own": 1},
            pending=True,
        )


@dataclass
class Rich:
    amount: Decimal
    at: datetime
    by_number: dict[int, str]
    inner: Placed = field(default_factory=lambda: Placed(1))
    kind: ClassVar[str] = "rich"


class Names(str, Enum):  # noqa: UP042 - str() of a StrEnum is its value
    """A text whose name differs from its value."""

    KIND = "order.placed"
    QUEUE = "orders"
    TAG = "tag-1"


class Numbers(IntEnum):
    LATE = 4


@pytest.mark.parametrize(
    ("args", "json"),
    [
        (Placed(7), '{"order_id":7}'),
        (KindIsAField(7), '{"order_id":7}'),
        (Struct(7), '{"orderId":7}'),
        (StructWithField(7), '{"ORDER_ID":7}'),
        (WritesItself(), '{"order_id": 7.10}'),
        (RawArgs("order.placed", '{"a":  1}'), '{"a":  1}'),
    ],
    ids=lambda value: type(value).__name__,
)
def test_kind_is_not_part_of_the_json(args: object, json: str) -> None:
    assert kind_and_json(args) == ("order.placed", json)


def test_what_json_has_no_form_for_is_written_as_msgspec_does() -> None:
    args = Rich(Decimal("1.10"), WHEN, {1: "é"})
    assert kind_and_json(args)[1] == (
        '{"amount":"1.10","at":"2026-03-04T05:06:07Z","by_number":{"1":"é"},"inner":{"order_id":1}}'
    )


def test_defaults_are_rivers() -> None:
    job = new_job(Placed(7))
    assert job.kind == "order.placed"
    assert (job.max_attempts, job.priority, job.queue) == (25, 1, "default")
    assert (job.state, job.scheduled_at) == (JobState.AVAILABLE, None)
    assert (job.tags, job.metadata) == ((), "{}")


def test_the_args_options_hold_where_the_call_says_nothing() -> None:
    job = new_job(WithOptions())
    assert (job.max_attempts, job.priority, job.queue, job.tags) == (3, 2, "own", ("own",))
    assert (job.state, job.scheduled_at) == (JobState.SCHEDULED, WHEN)
    assert job.metadata == "{}", "metadata and pending come from the call only"


def test_the_call_wins_and_tags_are_not_merged() -> None:
    opts = InsertOpts(4, 3, "call", WHEN + timedelta(1), [], metadata={"a": "é"})
    job = new_job(WithOptions(), opts)
    assert (job.max_attempts, job.priority, job.queue, job.tags) == (4, 3, "call", ())
    assert job.scheduled_at == WHEN + timedelta(1)
    assert job.metadata == '{"a":"é"}'


@pytest.mark.parametrize(
    ("opts", "state"),
    [
        (InsertOpts(), JobState.AVAILABLE),
        (InsertOpts(scheduled_at=datetime(1999, 1, 1, tzinfo=UTC)), JobState.SCHEDULED),
        (InsertOpts(pending=True), JobState.PENDING),
        (InsertOpts(pending=True, scheduled_at=WHEN), JobState.PENDING),
    ],
)
def test_states_follow_t1_to_t3(opts: InsertOpts, state: JobState) -> None:
    assert new_job(Placed(7), opts).state is state


def test_instants_become_utc() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    at = new_job(Placed(7), InsertOpts(scheduled_at=WHEN.astimezone(zone))).scheduled_at
    assert at == WHEN
    assert at is not None
    assert at.tzinfo is UTC


def test_members_of_an_enum_are_sent_by_value() -> None:
    job = new_job(
        RawArgs(Names.KIND, "{}"),
        InsertOpts(queue=Names.QUEUE, priority=Numbers.LATE, tags=[Names.TAG]),
    )
    sent = [job.kind, job.queue, job.priority, *job.tags]
    assert sent == ["order.placed", "orders", 4, "tag-1"]
    assert [type(value) for value in sent] == [str, str, int, str]


@pytest.mark.parametrize("queue", ["a", "0", "order_events", "a-b|c_d", "a" * 64])
def test_queues_that_river_takes(queue: str) -> None:
    assert new_job(Placed(7), InsertOpts(queue=queue)).queue == queue


@pytest.mark.parametrize("tag", ["abc", "A_1", "a--b", "___", "a" * 255])
def test_tags_that_river_takes(tag: str) -> None:
    assert new_job(Placed(7), InsertOpts(tags=[tag])).tags == (tag,)


@pytest.mark.parametrize("kind", ["k", "K" * 127, "a b", "é" * 127, 'a"; --'])
def test_kinds_that_the_table_takes(kind: str) -> None:
    assert new_job(RawArgs(kind, "{}")).kind == kind


QUEUES: list[Any] = [
    *["", "A", "a b", "a__b", "_a", "a_", "a\n", "é", "a.b", 'a"b', "a\x00", "a" * 65],
    *["a" * 63 + "!", 1, "\u0661"],
]
TAGS: list[Any] = [
    *["", "a", "ab", "-ab", "ab-", "a,b", "a b", "abc\n", "äbc", "a.b", "a" * 256, 1, None]
]
KINDS: list[Any] = ["", "k" * 128, "a\x00", "a\ud800", 1]


def refusal(args: object, opts: InsertOpts | None = None) -> str:
    with pytest.raises(InvalidJob) as refused:
        new_job(args, opts)
    return str(refused.value)


@pytest.mark.parametrize("queue", QUEUES, ids=ascii)
def test_queues_that_river_refuses(queue: Any) -> None:
    assert refusal(Placed(7), InsertOpts(queue=queue)).startswith("queue: ")


@pytest.mark.parametrize("tag", TAGS, ids=ascii)
def test_tags_that_river_refuses(tag: Any) -> None:
    assert refusal(Placed(7), InsertOpts(tags=["abc", tag])).startswith("tags[1]: ")


@pytest.mark.parametrize("kind", KINDS, ids=ascii)
def test_kinds_that_the_table_refuses(kind: Any) -> None:
    assert refusal(RawArgs(kind, "{}")).startswith("kind: ")


ENDLESS: list[Any] = []
ENDLESS.append(ENDLESS)


@pytest.mark.parametrize(
    ("opts", "says"),
    [
        ({"priority": 0}, "priority: 0 is out of range: use 1 to 4"),
        ({"priority": 5}, "priority: 5 is out of range"),
        ({"priority": True}, "priority: must be a whole number, not bool"),
        ({"priority": 1.0}, "priority: must be a whole number, not float"),
        ({"max_attempts": 0}, "max_attempts: 0 is out of range: use 1 to 32767"),
        ({"max_attempts": 32768}, "max_attempts: 32768 is out of range"),
        ({"scheduled_at": datetime(2026, 1, 1)}, "2026-01-01T00:00:00 has no time zone"),
        ({"scheduled_at": "2026-01-01"}, "scheduled_at: must be a datetime, not str"),
        (
            {"scheduled_at": datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))},
            "outside the years 1 to 9999",
        ),
        ({"tags": "abc"}, "tags: must be a list of texts, not str"),
        ({"metadata": [1]}, "metadata: must be a mapping, not list"),
        ({"metadata": {"a": float("inf")}}, "metadata: has no form in JSON"),
        ({"metadata": {"a": "\x00"}}, "metadata: holds a NUL"),
        ({"metadata": {"a": object()}}, "metadata: has no form in JSON"),
        ({"metadata": {"a": ENDLESS}}, "metadata: has no form in JSON"),
    ],
)
def test_options_refused_with_position_and_rule(opts: dict[str, Any], says: str) -> None:
    assert says in refusal(Placed(7), InsertOpts(**opts))


@dataclass
class Holds:
    value: Any
    kind: ClassVar[str] = "holds"


class NoKind:
    def to_json(self) -> str:
        return "{}"


class NoJson:
    kind = "k"


class WrongOptions(WritesItself):
    def insert_opts(self) -> object:
        return {}


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (Holds(float("nan")), "args: Holds has no form in JSON"),
        (Holds("\ud800"), "args: holds half a surrogate pair"),
        (Holds("\x00"), "args: holds a NUL"),
        (Holds(object()), "args: Holds has no form in JSON"),
        (Holds(ENDLESS), "args: Holds has no form in JSON"),
        (Holds(10**5000), "args: Holds has no form in JSON"),
        (Positional(7), "args: must be a JSON object, not an array"),
        (RawArgs("k", "[]"), "args: must be a JSON object, not an array"),
        (Placed, "args: Placed is a class: give an instance"),
        (NoKind(), "args: NoKind has no kind"),
        (NoJson(), "args: NoJson has no to_json()"),
        ({"a": 1}, "args: dict has no kind"),
        (None, "args: NoneType has no kind"),
        (WrongOptions(), "insert_opts(): must return InsertOpts, not dict"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_args_refused_with_the_rule(args: object, says: str) -> None:
    assert says in refusal(args)


def test_options_of_another_type_are_refused() -> None:
    wrong: Any = {"queue": "a"}
    assert refusal(Placed(7), wrong) == "opts: must be InsertOpts, not dict"


def test_the_message_begins_with_where_the_job_stands() -> None:
    wrong = InsertManyParams(Placed(2), InsertOpts(queue="A"))
    jobs: list[JobArgs | InsertManyParams] = [Placed(1), wrong, Placed(3)]
    with pytest.raises(InvalidJob, match=r"^job 2 of 3: queue: "):
        Preparation(None, ()).jobs(jobs)


UNIQUE = UniqueOpts(by_args=True, by_queue=True)


class UniqueOwn(WritesItself):
    def insert_opts(self) -> InsertOpts:
        return InsertOpts(queue="own", unique_opts=UNIQUE)


def test_a_job_is_unique_only_if_options_say_so() -> None:
    for opts in (None, InsertOpts(unique_opts=UniqueOpts(exclude_kind=True))):
        job = new_job(Placed(7), opts)
        assert (job.unique_key, job.unique_states) == (None, None)


def test_unique_options_of_the_call_win_as_a_whole_unless_they_are_empty() -> None:
    own = new_job(UniqueOwn())
    assert own.unique_key == unique_key(
        own.kind, own.args, queue="own", unique_opts=UNIQUE, now=WHEN
    )
    assert own.unique_states == 0xF5
    only_states = UniqueOpts(by_state=list(JobState))
    call = new_job(UniqueOwn(), InsertOpts(unique_opts=only_states))
    assert call.unique_key == unique_key(
        own.kind, own.args, queue="own", unique_opts=only_states, now=WHEN
    )
    assert call.unique_states == 0xFF
    empty = new_job(UniqueOwn(), InsertOpts(unique_opts=UniqueOpts(exclude_kind=True)))
    assert empty.unique_key == own.unique_key


def test_a_unique_period_goes_by_the_clock_given_and_not_by_the_schedule() -> None:
    opts = InsertOpts(unique_opts=UniqueOpts(by_period=3600), scheduled_at=WHEN + timedelta(9))
    job = new_job(Placed(7), opts, now=WHEN)
    assert job.unique_key == sha256(b"&kind=order.placed&period=2026-03-04T05:00:00Z").digest()


def test_a_unique_period_goes_by_this_machines_clock_if_none_is_given() -> None:
    days = timedelta(days=36500)
    now = datetime.now(UTC)
    began = now - (now - datetime(1, 1, 1, tzinfo=UTC)) % days
    job = new_job(Placed(7), InsertOpts(unique_opts=UniqueOpts(by_period=days)))
    text = f"&kind=order.placed&period={began:%Y-%m-%dT%H:%M:%SZ}"
    assert job.unique_key == sha256(text.encode()).digest()


def test_defaults_come_last_and_metadata_and_pending_not_from_them() -> None:
    defaults = InsertOpts(7, 4, "late", WHEN, ["tag"], UNIQUE, metadata={"a": 1}, pending=True)
    job = new_job(WritesItself(), defaults=defaults)
    assert (job.max_attempts, job.priority, job.queue, job.tags) == (7, 4, "late", ("tag",))
    assert (job.scheduled_at, job.state) == (WHEN, JobState.SCHEDULED)
    assert (job.metadata, job.unique_states) == ("{}", 0xF5)
    nearer = new_job(WithOptions(), InsertOpts(max_attempts=1), defaults=defaults)
    assert (nearer.max_attempts, nearer.queue) == (1, "own")


def test_unique_options_of_another_type_are_refused() -> None:
    wrong: Any = {"by_args": True}
    says = "unique_opts: must be UniqueOpts, not dict"
    assert refusal(Placed(7), InsertOpts(unique_opts=wrong)) == says
