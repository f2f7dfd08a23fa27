"""Our unique keys are River's own: thousands of jobs, each through River's code and through ours.

The Go program in `keys/` answers all of a test's jobs in one run.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from random import Random
from typing import Annotated, Any, ClassVar

import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from riverbridge import InsertOpts, InvalidJob, JobState, RawArgs, Unique, UniqueOpts, unique_key
from riverbridge.bench.go_program import build
from riverbridge.model.json_text import encode
from riverbridge.model.marks import unique_paths
from riverbridge.model.options import new_job
from tests.support.json_values import finite, texts
from tests.support.parts import part

pytestmark = [pytest.mark.go]


class River:
    """The program of keys/main.go."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def answers(self, jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """What River makes of each of `jobs`, on a host in UTC."""
        given = "\n".join(map(json.dumps, jobs))
        return [json.loads(line) for line in self._run(given).split("\n") if line]

    def paths(self) -> dict[str, list[str] | None]:
        """The paths that River takes from the tags of each type in keys/types.go."""
        found: dict[str, list[str] | None] = json.loads(self._run("", "paths"))
        return found

    def _run(self, given: str, *args: str) -> str:
        done = subprocess.run(
            [str(self._program), *args], input=given, capture_output=True, text=True, timeout=60,
            env={"TZ": "UTC"}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def river_keys(tmp_path_factory: pytest.TempPathFactory) -> River:
    with part("go"):
        source = Path(__file__).parent / "keys"
        return River(build(tmp_path_factory.mktemp("keys") / "keys", source))


def generated(strategy: st.SearchStrategy[Any], count: int) -> list[Any]:
    """What hypothesis makes of a strategy, all at once."""
    found: list[Any] = []

    @settings(
        database=None, deadline=None, phases=[Phase.generate], max_examples=count,
        suppress_health_check=[HealthCheck.too_slow],
    )  # fmt: skip
    @given(strategy)
    def collect(each: Any) -> None:
        found.append(each)

    collect()
    return found


NAMES = ["a", "b", "c", "b-c", "x", "y", "z", "d", "e", "é<", "1", "Z", "_", "<b"]
ODD_NAMES = [
    *["", "a.b", "a*", "?", "b|c", "#", "@keys", "[a", "{a}", ":a", "!true", "a\\", "..", "a.1"],
    *["-1", "b.x", "a?"],
]
WORDS = ["", "<a&b>", "\u2028", "é ☃ 😀", "\\", '"', "\b\f\x01\x7f", "null", "{[:,", "a/b"]
SPELLED = ["0", "-0", "1.0", "1.50", "1e3", "1E+2", "-2.5e-7", "9" * 30, "1e21", "null", "true"]
SPACES = ["", "", "", "", " ", "  ", "\n", "\t", " \r\n"]


class Documents:
    """JSON as text, in every spelling there is.

    odd: with names that River garbles, and names that are there twice.
    """

    def __init__(self, random: Random, odd: bool) -> None:
        self._random = random
        self._names = NAMES + generated(texts, 50) + ODD_NAMES * 3 if odd else NAMES
        self._texts = WORDS + generated(texts, 100)
        self._numbers = SPELLED + [repr(each) for each in generated(finite, 100)]
        self._odd = odd

    def object(self, depth: int = 3) -> str:
        count = self._random.randrange(6)
        names = self._random.choices(self._names, k=count)
        if not self._odd:
            names = list(dict.fromkeys(names))
        parts = [f"{self._string(name)}{self._space()}:{self._value(depth)}" for name in names]
        return self._enclosed("{}", parts)

    def _value(self, depth: int) -> str:
        match self._random.randrange(8 if depth else 5):
            case 0 | 1 | 2:
                value = self._random.choice(self._numbers)
            case 3 | 4:
                value = self._string(self._random.choice(self._texts))
            case 5 | 6:
                value = self.object(depth - 1)
            case _:
                values = [self._value(depth - 1) for _ in range(self._random.randrange(3))]
                value = self._enclosed("[]", values)
        return self._space() + value

    def _string(self, text: str) -> str:
        """With and without escapes that nothing asks for."""
        quoted = json.dumps(text, ensure_ascii=self._random.random() < 0.5)
        return quoted.replace("/", "\\/") if self._random.random() < 0.5 else quoted

    def _enclosed(self, brackets: str, parts: list[str]) -> str:
        inside = ",".join(self._space() + part + self._space() for part in parts)
        return brackets[0] + (inside or self._space()) + brackets[1]

    def _space(self) -> str:
        return self._random.choice(SPACES)


# The tagged types of keys/types.go, as the paths they give.
TYPES: dict[str, list[str]] = {
    "text": [],
    "one": ["a"],
    "several": ["z", "a", "b-c", "é<"],
    "nested": ["b-c", "b.x", "b.y.d", "c"],
    "whole": ["a", "b"],
    "twice": ["a.d", "c"],
    "tree": ["a", "b"],
}
FIRST, LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
REQUIRED = ["available", "pending", "running", "scheduled"]


def jobs(count: int, odd: bool) -> list[dict[str, Any]]:
    """Jobs as keys/main.go reads them."""
    random = Random()
    documents = Documents(random, odd)
    kinds = [f"k{each}"[:127] for each in generated(texts, 50)]

    def states() -> list[str] | None:
        some = random.choices([*JobState, "done"], k=random.randrange(9))
        return random.choice([None, None, [], [*REQUIRED, *set(some) - {"done"}], some])

    def period() -> int:
        some = random.randrange(2**63 // 1000) >> random.randrange(50)
        return random.choice([0, 0, 0, 60_000_000, 7 * 24 * 3_600_000_000, 999_999, -1, some])

    return [
        {
            "type": random.choice(list(TYPES)),
            "kind": random.choice(kinds),
            "args": documents.object(),
            "queue": random.choice(["default", "high", "q|1_a-b"]),
            "now": (FIRST + random.random() * (LAST - FIRST)).isoformat(),
            "by_args": random.random() < 0.7,
            "by_period": period() * 1000,
            "by_queue": random.random() < 0.5,
            "by_state": states(),
            "exclude_kind": random.random() < 0.5,
        }
        for _ in range(count)
    ]


def ours(job: dict[str, Any]) -> dict[str, Any]:
    """The same answer as the program's, from our code; errors by the field they name."""
    answer = {"args": "", "key": "", "mask": 0, "error": "", "exact_key": "", "exact_error": ""}
    now = datetime.fromisoformat(job["now"])
    try:
        opts = UniqueOpts(
            by_args=job["by_args"] and (TYPES[job["type"]] or True),
            by_period=timedelta(microseconds=job["by_period"] // 1000),
            by_queue=job["by_queue"],
            by_state=job["by_state"],
            exclude_kind=job["exclude_kind"],
        )
        args = RawArgs(job["kind"], job["args"])
        new = new_job(args, InsertOpts(queue=job["queue"], unique_opts=opts), now=now)
        answer["args"] = new.args
        answer["key"] = (new.unique_key or b"").hex()
        answer["mask"] = new.unique_states or 0
    except InvalidJob as error:
        return answer | {"error": str(error)}
    key = unique_key(job["kind"], job["args"], queue=job["queue"], unique_opts=opts, now=now)
    return answer | {"exact_key": (key or b"").hex()}


def differences(
    given: list[dict[str, Any]], answers: list[dict[str, Any]]
) -> Iterator[tuple[dict[str, Any], dict[str, Any], dict[str, Any]]]:
    """Jobs of which we say otherwise than River, but for those that we refuse for a key's sake."""
    for job, rivers in zip(given, answers, strict=True):
        answer = ours(job)
        if answer["error"].startswith("args: ") or (answer["error"] and rivers["error"]):
            continue
        if not job["by_args"]:  # only a key by args needs Go's spelling
            answer["args"] = rivers["args"]
        if not answer[
            "key"
        ]:  # the function inside of River is not asked for a job that is not unique
            answer["exact_key"] = rivers["exact_key"]
        if answer != rivers:
            yield job, answer, rivers


def test_thousands_of_jobs_have_rivers_key_and_mask(river_keys: River) -> None:
    given = jobs(6000, odd=False)
    answers = river_keys.answers(given)
    assert list(differences(given, answers))[:1] == []
    unique = [answer for answer in answers if answer["key"]]
    assert len(unique) > 3000, "most of them had a key"
    assert len({answer["key"] for answer in unique}) > 2000
    refused = [answer["error"] for job in given if (answer := ours(job))["error"]]
    assert not [error for error in refused if not error.startswith("unique_opts.")]


def test_names_that_river_garbles_are_counted_as_by_river_or_refused(river_keys: River) -> None:
    given = jobs(4000, odd=True)
    assert list(differences(given, river_keys.answers(given)))[:1] == []
    errors = [ours(job)["error"] for job in given]
    assert any("is there twice" in error for error in errors)
    assert any("rename it" in error for error in errors)
    assert errors.count("") > 300, "and not all were refused"


@dataclass
class Inner:
    x: Annotated[Any, Unique]
    y: Leaf | None


@dataclass
class Leaf:
    d: Annotated[Any, Unique]
    e: Any


@dataclass
class PlainInner:
    x: Any


class Several(msgspec.Struct, rename={"bc": "b-c", "e": "é<"}):
    z: Annotated[Any, Unique]
    a: Annotated[Any, Unique]
    bc: Annotated[Any, Unique]
    e: Annotated[Any, Unique]
    c: Any


class Nested(msgspec.Struct, rename={"bc": "b-c"}):
    bc: Annotated[Any, Unique]
    b: Annotated[Inner | None, Unique]
    c: Annotated[Leaf | None, Unique]


@dataclass
class Whole:
    b: Annotated[PlainInner, Unique]
    a: Annotated[list[Inner], Unique]
    c: list[Inner]


@dataclass
class Twice:
    a: Leaf
    b: Leaf
    c: Annotated[Leaf, Unique]


@dataclass
class Tree:
    a: Annotated[Any, Unique]
    b: Annotated[Tree | None, Unique]
    c: Tree | None


class PlainItem(pydantic.BaseModel):
    sku: str
    count: int


@dataclass
class Item:
    sku: Annotated[str, Unique]
    count: int


@dataclass
class Row:
    sku: str
    count: int


@dataclass
class Order:
    id: int
    amount: float
    note: str
    by_name: dict[str, float]
    by_number: dict[int, str]
    at: datetime
    item: Row
    maybe: Row | None
    rates: list[float]
    data: bytes
    any: Any
    kind: ClassVar[str] = "order"


class Marked(msgspec.Struct):
    zone: Annotated[str, Unique]
    amount: Annotated[float, Unique]
    note: str
    by_name: Annotated[dict[str, float], Unique]
    at: Annotated[datetime, Unique]
    item: Item
    maybe: Annotated[Row | None, Unique]
    kind: ClassVar[str] = "marked"


class Model(pydantic.BaseModel):
    """As Marked, but for the instants, which pydantic spells in its own way."""

    zone: Annotated[str, Unique]
    amount: Annotated[float, Unique]
    note: str
    by_name: Annotated[dict[str, float], Unique]
    when: Annotated[datetime, Unique] = pydantic.Field(serialization_alias="at")
    item: Item
    maybe: Annotated[PlainItem | None, Unique]
    kind: ClassVar[str] = "marked"


def test_marks_are_collected_as_rivers_tags(river_keys: River) -> None:
    rivers = river_keys.paths()
    for type_ in (Several, Nested, Whole, Twice, Tree, Order, Marked):
        assert list(unique_paths(type_)) == (rivers[type_.__name__.lower()] or [])
    for name, paths in TYPES.items():
        assert sorted(paths) == (rivers[name] or [])
    assert list(unique_paths(Model)) == rivers["marked"]


# As Go's own types hold them: no int beyond 64 bits, no zone of seconds, in an any no int at all.
_numbers = st.integers(-(2**63), 2**63 - 1)
_zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
_whens = st.datetimes(
    datetime(1, 1, 2), datetime(9999, 12, 30), timezones=_zones | st.just(UTC)
).map(lambda at: at.replace(microsecond=at.microsecond // 1000 * 1000) if at.second % 2 else at)
_maps = st.dictionaries(texts, finite, max_size=4)
_any = st.recursive(
    st.none() | st.booleans() | finite | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
_rows = st.builds(Row, texts, _numbers)
_orders = st.builds(
    Order, _numbers, finite, texts, _maps, st.dictionaries(_numbers, texts, max_size=4), _whens,
    _rows, st.none() | _rows, st.lists(finite, max_size=4), st.binary(), _any,
)  # fmt: skip
_items = st.builds(Item, texts, _numbers)
_marked = st.builds(Marked, texts, finite, texts, _maps, _whens, _items, st.none() | _rows)


def _model(marked: Marked) -> Model:
    whole = marked.at.replace(microsecond=0)
    maybe = marked.maybe and PlainItem(sku=marked.maybe.sku, count=marked.maybe.count)
    return Model(
        zone=marked.zone, amount=marked.amount, note=marked.note, by_name=marked.by_name,
        when=whole, item=marked.item, maybe=maybe or None,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("strategy", "count"),
    [(_orders, 400), (_marked, 200), (_marked.map(_model), 200)],
    ids=["dataclass", "msgspec", "pydantic"],
)
def test_typed_args_are_spelled_and_counted_as_go_does_it(
    river_keys: River, strategy: st.SearchStrategy[Any], count: int
) -> None:
    given = generated(strategy, count)
    common = {"queue": "default", "now": "2024-09-18T12:34:56Z", "by_args": True}
    answers = river_keys.answers(
        [
            common | {"type": args.kind, "kind": args.kind, "args": new_job(args).args}
            for args in given
        ]
    )
    opts = InsertOpts(unique_opts=UniqueOpts(by_args=True))
    for args, rivers in zip(given, answers, strict=True):
        job = new_job(args, opts)
        assert job.unique_key is not None
        assert (job.args, job.unique_key.hex()) == (rivers["args"], rivers["key"]), encode(args)
