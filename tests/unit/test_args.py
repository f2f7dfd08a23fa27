"""What args may be, and the unique keys of each."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from typing import Annotated, Any, ClassVar, Literal

import msgspec
import pydantic
import pytest

from riverbridge import InsertOpts, InvalidJob, RawArgs, Unique, UniqueOpts
from riverbridge.model.args import kind_and_json, kind_and_lines
from riverbridge.model.options import new_job

BY_ARGS = InsertOpts(unique_opts=UniqueOpts(by_args=True))
AT = datetime(2026, 1, 2, 3, 4, 5, 120000, UTC)


@dataclass
class Data:
    id: Annotated[int, Unique]
    amount: Annotated[float, Unique]
    note: str = ""
    kind: ClassVar[str] = "data"


class Struct(msgspec.Struct, rename="camel"):
    order_id: Annotated[int, Unique]
    note: str = ""
    kind: ClassVar[str] = "struct"


class Line(pydantic.BaseModel):
    z: int = 1
    a: float = 2.0


class Model(pydantic.BaseModel):
    order_id: int = pydantic.Field(default=7, serialization_alias="orderId")
    line: Line = Line()
    by_name: dict[str, Any] = {}
    tags: set[str] = set()
    lines: list[dict[int, Line]] = []
    price: Decimal = Decimal("1.10")
    at: datetime = AT
    kind: Literal["model"] = "model"


class Marked(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(frozen=True)
    order_id: Annotated[int, Unique] = pydantic.Field(default=7, serialization_alias="orderId")
    by_name: Annotated[dict[str, int], Unique] = {}
    note: str = ""
    kind: ClassVar[str] = "marked"


@pydantic.dataclasses.dataclass
class Checked:
    order_id: int = pydantic.Field(default=7, serialization_alias="orderId")
    kind: str = "checked"


class Writes:
    kind = "writes"

    def __init__(self, text: Any) -> None:
        self.text = text

    def to_json(self) -> Any:
        return self.text


@dataclass
class WritesMarked:
    id: Annotated[int, Unique]
    note: str = ""
    kind: str = "writes"

    def to_json(self) -> str:
        return f'{{"note": "{self.note}", "id": {self.id}}}'


def hashed(text: str) -> bytes:
    return sha256(text.encode()).digest()


def test_a_pydantic_model_is_written_by_its_names_without_the_kind() -> None:
    model = Model(by_name={"b": 1, "a": None}, tags={"y"}, lines=[{2: Line()}])
    kind, json = kind_and_json(model)
    assert kind == "model"
    assert json == (
        '{"orderId":7,"line":{"z":1,"a":2.0},"by_name":{"b":1,"a":null},"tags":["y"],'
        '"lines":[{"2":{"z":1,"a":2.0}}],"price":"1.10","at":"2026-01-02T03:04:05.120000Z"}'
    )
    assert kind_and_json(Checked()) == ("checked", '{"orderId":7}')


def test_a_pydantic_model_in_gos_spelling_has_sorted_maps_and_its_own_order_of_fields() -> None:
    inner = {10: Line(), 9: Line(z=2, a=1e21)}
    model = Model(by_name={"b": {"d": 1, "c": "<"}, "a": 2.0}, tags=set("hgfedcba"), lines=[inner])
    assert kind_and_json(model, as_go=True)[1] == (
        '{"orderId":7,"line":{"z":1,"a":2},"by_name":{"a":2,"b":{"c":"\\u003c","d":1}},'
        '"tags":["a","b","c","d","e","f","g","h"],'
        '"lines":[{"10":{"z":1,"a":2},"9":{"z":2,"a":1e+21}}],"price":"1.10",'
        '"at":"2026-01-02T03:04:05.120000Z"}'
    )
    assert list(model.by_name) == ["b", "a"], "the model itself is left as it was"
    assert kind_and_json(Marked(by_name={"b": 1, "a": 2}), as_go=True)[1] == (
        '{"orderId":7,"by_name":{"a":2,"b":1},"note":""}'
    )


@pytest.mark.parametrize(
    ("args", "counted"),
    [
        (Data(7, 2.0, "x"), '&kind=data&args={"amount":2,"id":7}'),
        (Struct(7, "x"), '&kind=struct&args={"orderId":7}'),
        (Marked(note="x", by_name={"b": 1, "a": 2}),
         '&kind=marked&args={"by_name":{"a":2,"b":1},"orderId":7}'),
        (Checked(), '&kind=checked&args={"orderId":7}'),
        (WritesMarked(7, "x"), '&kind=writes&args={"id":7}'),
        (Writes('{"b": {"y": 1.0,  "x": "<"}, "a": 1e3}'),
         r'&kind=writes&args={"a":1e3,"b":{"y":1.0,"x":"\u003c"}}'),
        (RawArgs("raw", '{"b": [1, 2], "a": "é"}'), '&kind=raw&args={"a":"é","b":[1,2]}'),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_the_key_by_args_of_each(args: object, counted: str) -> None:
    assert new_job(args, BY_ARGS).unique_key == hashed(counted)


def test_paths_that_are_named_win_over_marks() -> None:
    opts = InsertOpts(unique_opts=UniqueOpts(by_args=["note"]))
    assert new_job(Data(7, 2.0, "x"), opts).unique_key == hashed('&kind=data&args={"note":"x"}')


def test_marks_count_only_by_args() -> None:
    opts = InsertOpts(unique_opts=UniqueOpts(by_queue=True))
    assert new_job(Data(7, 2.0), opts).unique_key == hashed("&kind=data&queue=default")


def test_what_is_hashed_is_what_is_sent() -> None:
    job = new_job(Writes('{"b": 1, "a": "<"}'), BY_ARGS)
    assert job.args == r'{"b":1,"a":"\u003c"}'
    assert new_job(Data(7, 1e21, "<"), BY_ARGS).args == (r'{"id":7,"amount":1e+21,"note":"\u003c"}')


def test_options_may_be_an_attribute_and_a_field_of_that_name_is_just_a_field() -> None:
    class Has(Writes):
        insert_opts = InsertOpts(queue="own", unique_opts=UniqueOpts(by_queue=True))

    @dataclass
    class IsData:
        insert_opts: str = "fast"
        kind: ClassVar[str] = "k"

    assert new_job(Has("{}")).unique_key == hashed("&kind=writes&queue=own")
    job = new_job(IsData())
    assert (job.queue, job.args) == ("default", '{"insert_opts":"fast"}')


class Endless(pydantic.BaseModel):
    value: Any = None
    kind: ClassVar[str] = "endless"


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (Endless(value=float("nan")), "args: Endless has no form in JSON: NaN and infinities"),
        (Endless(value=[{"a": -float("inf")}]), "args: Endless has no form in JSON: NaN and inf"),
        (Endless(value="\ud800"), "args: holds half a surrogate pair"),
        (Endless(value="\x00"), "args: holds a NUL"),
        (Endless(value=object()), "args: Endless has no form in JSON"),
        (Writes(b"{}"), "args: must be JSON text, not bytes"),
        (Writes('{"a":1e400}'), "args: holds a number no reader of it can hold"),
        (RawArgs("k", '{"a":' * 501 + "1" + "}" * 501), "args: is nested in more than 500 levels"),
        (RawArgs("k", '{"a.b":1}'), "args: the key 'a.b' holds '.'"),
        (RawArgs("k", '{"a":1,"a":2}'), "args: the key 'a' is there twice"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_refused_with_the_rule(args: object, says: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        new_job(args, BY_ARGS)
    assert str(refused.value).startswith(says)


def test_a_deep_or_endless_model_is_refused() -> None:
    value: list[Any] = []
    value.append(value)
    for opts in (None, BY_ARGS):
        with pytest.raises(InvalidJob, match="args: Endless has no form in JSON"):
            new_job(Endless(value=value), opts)


def of_each(args: list[Any]) -> tuple[str, list[str]]:
    """What `kind_and_json` makes of them one by one."""
    found = [kind_and_json(one) for one in args]
    [kind] = {kind for kind, _ in found}
    return kind, [text for _, text in found]


@pytest.mark.parametrize(
    "args",
    [
        [Data(1, 2.5), Data(2, 1e300, "line\nbreak, é, 語, \u2028"), Data(3, -0.0, '"{[\\')],
        [Struct(1), Struct(2**63, "x" * 900)],
        [Data(1, None)],  # type: ignore[arg-type]
    ],
)
def test_many_at_once_are_written_as_one_by_one(args: list[Any]) -> None:
    found = kind_and_lines(args)
    assert found is not None
    kind, lines = found
    assert (kind, lines.split("\n")) == of_each(args)


class Nested(msgspec.Struct):
    value: Any
    kind: ClassVar[str] = "nested"


class Row(msgspec.Struct, array_like=True):
    id: int
    kind: ClassVar[str] = "row"


@dataclass
class Chosen:
    id: int
    insert_opts: InsertOpts | None = None
    kind: ClassVar[str] = "chosen"


@dataclass
class Named:
    id: int
    kind: str = "named"


@dataclass
class NoKind:
    id: int


@pytest.mark.parametrize(
    "args",
    [
        [Data(1, 2.0), Data(2, float("nan"))],
        [Data(1, 2.0), Struct(1)],
        [Data(1, 2.0, "\x00")],
        [Data(1, 2.0, "\ud800")],
        [Data(1, 2.0, "x" * 1000)],
        [Nested([[[1]] * 400]), Nested(object())],
        [Row(1)],
        [Chosen(1)],
        [Named(1), Named(2)],
        [NoKind(1)],
        [RawArgs("raw", "{}")],
        [Writes("{}")],
        [WritesMarked(1)],
        [Model()],
        [Checked()],
        [Data],
        ["text"],
    ],
)
def test_what_needs_a_look_of_its_own_is_not_written_at_once(args: list[Any]) -> None:
    assert kind_and_lines(args) is None
