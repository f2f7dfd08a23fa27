"""What may be registered, what is refused with which words, and what functions get as args."""

from __future__ import annotations

import functools
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pydantic
import pytest

from riverbridge.errors import WorkerError
from riverbridge.model.args import RawArgs
from riverbridge.model.outcome import Delivered, Retry
from riverbridge.worker.job import RunningJob
from riverbridge.worker.registry import Worker, Workers
from riverbridge.worker.runtime import Runtime
from tests.support.jobs import job
from tests.support.worker import KIND, Shop

JSON = '{"order_id": 42, "at": "2026-01-02T03:04:05Z", "more": [1]}'
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@dataclass
class AsDataclass:
    order_id: Annotated[int, "unique"]
    at: datetime
    note: str | None = None
    kind: ClassVar[str] = KIND


@dataclass
class WithFieldKind:
    order_id: int
    at: datetime
    kind: str = KIND


class AsStruct(msgspec.Struct):
    order_id: int
    at: datetime
    kind: ClassVar[str] = KIND


class StructWithFieldKind(msgspec.Struct):
    order_id: int
    at: datetime
    kind: str = KIND


class AsModel(pydantic.BaseModel):
    order_id: int
    at: datetime
    kind: ClassVar[str] = KIND


class ModelWithFieldKind(pydantic.BaseModel):
    order_id: int
    at: datetime
    kind: Literal["order.placed"] = "order.placed"


class ReadsItself:
    kind = KIND

    def __init__(self, order_id: int, at: datetime) -> None:
        self.order_id = order_id
        self.at = at

    @classmethod
    def from_json(cls, text: str) -> ReadsItself:
        found = msgspec.json.decode(text)
        return cls(found["order_id"], datetime.fromisoformat(found["at"]))


@pytest.mark.parametrize(
    "args",
    [
        AsDataclass,
        WithFieldKind,
        AsStruct,
        StructWithFieldKind,
        AsModel,
        ModelWithFieldKind,
        ReadsItself,
    ],
)
def test_args_of_many_classes(runtime: Runtime, args: type[Any]) -> None:
    workers = Workers()
    seen: list[Any] = []

    @workers.work(args)
    async def keep(job: RunningJob[Any]) -> None:
        seen.append(job.args)

    first, second = Shop(runtime, workers).work(job(args=JSON), job(args='{"order_id": "x"}'))
    assert first == Delivered()
    (found,) = seen
    assert type(found) is args
    assert (found.order_id, found.at) == (42, AT)
    assert isinstance(second, Retry)
    assert second.error.startswith(f"args do not fit {args.__name__}: ")


def test_args_that_are_not_typed(runtime: Runtime) -> None:
    workers = Workers()
    seen: list[Any] = []

    @workers.work(dict[str, Any], kind="as.dict", aliases=["as.dict.too"])
    def keep(job: RunningJob[dict[str, Any]]) -> None:
        seen.append(job.args["order_id"])

    @workers.work(RawArgs, kind="as.raw", aliases=["as.raw.too"])
    def keep_raw(job: RunningJob[RawArgs]) -> None:
        seen.append(job.args)

    for kind in workers.kinds():
        assert Shop(runtime, workers).one(job(kind=kind, args=JSON)) == Delivered()
    assert seen == [42, 42, RawArgs("as.raw", JSON), RawArgs("as.raw.too", JSON)]


class Fulfil(Worker[AsDataclass]):
    aliases = ("order.accepted",)

    def __init__(self) -> None:
        self.seen: list[int] = []

    def work(self, job: RunningJob[AsDataclass]) -> None:
        self.seen.append(job.args.order_id)


class FulfilLater(Fulfil):
    async def work(self, job: RunningJob[AsDataclass]) -> None:  # type: ignore[override]
        super().work(job)

    def timeout(self, job: RunningJob[AsDataclass]) -> float | None:
        return job.args.order_id / 0


def test_a_class_works_the_args_it_is_derived_for(runtime: Runtime) -> None:
    workers, fulfil = Workers(), Fulfil()
    workers.add(fulfil)
    assert workers.kinds() == [KIND, "order.accepted"]
    assert Shop(runtime, workers).one(job(args=JSON)) == Delivered()
    assert fulfil.seen == [42]


def test_a_timeout_that_cannot_be_told_fails_the_attempt(runtime: Runtime) -> None:
    workers, fulfil = Workers(), FulfilLater()
    workers.add(fulfil)
    outcome = Shop(runtime, workers).one(job(args=JSON))
    assert isinstance(outcome, Retry)
    assert outcome.error == "division by zero"
    assert fulfil.seen == []


def test_args_may_hold_themselves(runtime: Runtime) -> None:
    workers = Workers()
    workers.work(Tree)(one)
    row = job(kind="tree", args='{"children": [{"children": []}]}')
    assert Shop(runtime, workers).one(row) == Delivered()


def test_functions_stay_what_they_are() -> None:
    def fulfil(job: RunningJob[AsDataclass]) -> str:
        return "fulfilled"

    assert Workers().work(AsDataclass)(fulfil) is fulfil


class Callable_:
    async def __call__(self, job: RunningJob[Any]) -> None:
        raise RuntimeError("awaited")


async def with_more(job: RunningJob[Any], more: str) -> None:
    raise RuntimeError("awaited")


@pytest.mark.parametrize(
    "function", [Callable_(), functools.partial(with_more, more="x"), print, Callable_().__call__]
)
def test_whatever_can_be_called_with_a_job(
    runtime: Runtime, function: Callable[[Any], object]
) -> None:
    workers = Workers()
    workers.work(dict[str, Any], kind=KIND)(function)
    outcome = Shop(runtime, workers).one()
    assert outcome == Delivered() if function is print else isinstance(outcome, Retry)
    assert getattr(outcome, "error", "awaited") == "awaited"


def test_a_coroutine_of_a_plain_function_is_an_error(runtime: Runtime) -> None:
    workers = Workers()
    workers.work(dict[str, Any], kind=KIND)(lambda job: with_more(job, "x"))
    outcome = Shop(runtime, workers).one()
    assert isinstance(outcome, Retry)
    assert outcome.error == "the function returned a coroutine: declare it `async def`"


class NoKind:
    pass


class Odd:
    kind = "x"


class NotJson:
    kind = "not.json"


@dataclass
class HoldsNotJson:
    inner: list[NotJson]
    kind: ClassVar[str] = "not.json"


@dataclass
class Tree:
    """A type that holds itself."""

    children: list[Tree]
    kind: ClassVar[str] = "tree"


class Unsaid(Worker):  # type: ignore[type-arg]
    pass


def one(job: Any) -> None:
    """A job function."""


def generator(job: Any) -> Iterator[None]:
    yield


async def async_generator(job: Any) -> AsyncIterator[None]:
    yield


REFUSED: list[tuple[str, Callable[[Workers], object]]] = [
    ("'order.placed' is worked by Fulfil.work already", lambda w: w.work(AsStruct)(one)),
    (
        "'order.accepted' is worked by Fulfil.work already",
        lambda w: w.work(dict, kind="ab", aliases=["order.accepted"])(one),
    ),
    ("'order.placed' is worked by Fulfil.work already", lambda w: w.add(Fulfil())),
    ("NoKind has no kind", lambda w: w.work(NoKind)(one)),
    ("dict has no kind", lambda w: w.work(dict)(one)),
    ("'x' is not allowed: use at least 2", lambda w: w.work(Odd)(one)),
    ("'a b' is not allowed: use at least 2", lambda w: w.work(dict, kind="a b")(one)),
    ("'-ab' is not allowed: use at least 2", lambda w: w.work(dict, kind="-ab")(one)),
    ("'äb' is not allowed: use at least 2", lambda w: w.work(dict, kind="äb")(one)),
    ("'ab\\n' is not allowed: use at least 2", lambda w: w.work(dict, kind="ab\n")(one)),
    ("has 128 characters", lambda w: w.work(dict, kind="a" * 128)(one)),
    ("must be text, not int", lambda w: w.work(dict, kind="ab", aliases=[7])(one)),  # type: ignore[list-item]
    ("must be a list of kinds", lambda w: w.work(dict, kind="ab", aliases="cd")(one)),
    (
        "NotJson cannot be read from JSON (NotJson has no form in it)",
        lambda w: w.work(NotJson)(one),
    ),
    (
        "HoldsNotJson cannot be read from JSON (NotJson has no form in it)",
        lambda w: w.work(HoldsNotJson)(one),
    ),
    ("takes one parameter, the job", lambda w: w.work(dict, kind="ab")(lambda: None)),  # type: ignore[arg-type, misc]
    ("takes one parameter, the job", lambda w: w.work(dict, kind="ab")(with_more)),  # type: ignore[arg-type]
    ("does not yield", lambda w: w.work(dict, kind="ab")(generator)),
    ("does not yield", lambda w: w.work(dict, kind="ab")(async_generator)),
    ("is not a function", lambda w: w.work(dict, kind="ab")("work")),  # type: ignore[arg-type]
    ("timeout: -5 is out of range", lambda w: w.work(dict, kind="ab", timeout=-5)(one)),
    ("timeout: nan is out", lambda w: w.work(dict, kind="ab", timeout=float("nan"))(one)),
    ("timeout: '5' is out", lambda w: w.work(dict, kind="ab", timeout="5")(one)),  # type: ignore[arg-type]
    ("must be a generator function", lambda w: w.work(dict, kind="ab", middleware=[one])(one)),  # type: ignore[list-item]
    (
        "async_generator is async, and the function is not",
        lambda w: w.work(dict, kind="ab", middleware=[async_generator])(one),
    ),
    ("max_jobs: 0 is out of range", lambda w: w.work_many(dict, max_jobs=0, kind="ab")(one)),
    ("Fulfil: give an instance", lambda w: w.add(Fulfil)),  # type: ignore[arg-type]
    ("Unsaid: derive it from Worker", lambda w: w.add(Unsaid())),
]


@pytest.mark.parametrize(("message", "register"), REFUSED, ids=[words for words, _ in REFUSED])
def test_what_cannot_work_is_refused_at_once(
    message: str, register: Callable[[Workers], object]
) -> None:
    workers = Workers()
    workers.add(Fulfil())
    with pytest.raises(WorkerError) as refused:
        register(workers)
    assert message in str(refused.value)
    assert workers.kinds() == [KIND, "order.accepted"]


def test_an_unknown_option_is_an_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'timeuot'"):
        Workers().work(AsStruct, timeuot=1)(one)  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", ["order.placed", "a1", "Ns::K[x]<y>/z+w·v", "_x-"])
def test_kinds_that_river_takes(kind: str) -> None:
    workers = Workers()
    workers.work(dict, kind=kind)(one)
    assert workers.kinds() == [kind]
