"""Which fields are marked Unique, as River collects its struct tags (contract 4.3)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Generic, Optional, TypeVar

import msgspec
import pydantic
import pytest

from riverbridge import InvalidJob, Unique
from riverbridge.model.marks import unique_paths

T = TypeVar("T")


@dataclass
class Plain:
    id: int = 0
    name: str = ""


@dataclass
class Inner:
    id: Annotated[int, Unique] = 0
    name: str = ""
    deeper: Optional[Plain] = None  # noqa: UP045 - both ways to write it are read


@dataclass
class Base:
    z: Annotated[str, Unique] = ""


@dataclass
class Order(Base):
    b_c: Annotated[int, "a note", Unique()] = 0
    maybe: Annotated[int, Unique] | None = None
    inner: Inner | None = None
    whole: Annotated[Plain, Unique] = field(default_factory=Plain)
    within: Annotated[list[Inner], Unique] = field(default_factory=list)
    skipped: list[Inner] = field(default_factory=list)
    either: Annotated[Inner | Plain, Unique] = field(default_factory=Plain)
    plain: Plain = field(default_factory=Plain)
    shared: ClassVar[Annotated[str, Unique]] = ""
    kind: ClassVar[str] = "order"


class Camel(msgspec.Struct, rename="camel"):
    order_id: Annotated[int, Unique]
    own_name: Annotated[int, Unique, msgspec.Meta(gt=0)] = msgspec.field(name="Own")
    inner_of: Inner
    plain: int = 0


class Line(pydantic.BaseModel):
    sku: Annotated[str, Unique] = pydantic.Field("", alias="SKU")
    count: int = 0


class Model(pydantic.BaseModel):
    order_id: Annotated[int, Unique] = pydantic.Field(0, serialization_alias="orderId")
    checked: Annotated[int, Unique, pydantic.Field(gt=0)] = 1
    read_as: Annotated[int, Unique] = pydantic.Field(0, validation_alias="readAs")
    maybe: Annotated[str, Unique] | None = None
    line: Line | None = pydantic.Field(None, alias="theLine")
    lines: list[Line] = []
    kind: ClassVar[str] = "model"


@pydantic.dataclasses.dataclass
class Checked:
    order_id: Annotated[int, Unique] = pydantic.Field(0, alias="orderId")


@dataclass
class Twice:
    from_: Inner
    to: Inner
    last: Annotated[Inner, Unique]


@dataclass
class Tree:
    id: Annotated[int, Unique]
    left: Tree | None = None
    right: Annotated[Tree | None, Unique] = None


@dataclass
class Of(Generic[T]):
    value: Annotated[Inner, Unique]
    other: T


@dataclass
class Generics:
    of: Of[int]


class NotRead:
    id: Annotated[int, Unique] = 0
    kind = "k"


@pytest.mark.parametrize(
    ("type_", "paths"),
    [
        (Order, ("b_c", "either", "inner.id", "maybe", "whole", "within", "z")),
        (Camel, ("Own", "innerOf.id", "orderId")),
        (Model, ("checked", "maybe", "orderId", "read_as", "theLine.SKU")),
        (Checked, ("orderId",)),
        (Twice, ("from_.id", "last")),
        (Tree, ("id", "right")),
        (Generics, ("of.value.id",)),
        (Plain, ()),
        (NotRead, ()),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_marked_fields(type_: type[Any], paths: tuple[str, ...]) -> None:
    assert unique_paths(type_) == paths  # type: ignore[arg-type]  # mypy: no hash


def test_a_name_river_would_not_count_is_refused_if_it_is_marked() -> None:
    class Dotted(msgspec.Struct, rename={"b": "a.b"}):
        b: int
        c: Annotated[int, Unique]

    class Marked(msgspec.Struct, rename={"b": "a.b"}):
        b: Annotated[int, Unique]

    class Number(msgspec.Struct, rename={"b": "1"}):
        b: Annotated[int, Unique]

    class Above(msgspec.Struct, rename={"inner": "a.b"}):
        inner: Inner

    assert unique_paths(Dotted) == ("c",)
    with pytest.raises(InvalidJob, match=r"a field of Inner is marked Unique, but .*'a\.b'"):
        unique_paths(Above)
    with pytest.raises(
        InvalidJob, match=r"^args: a field of Marked is marked Unique, but .*'a\.b'"
    ):
        unique_paths(Marked)
    with pytest.raises(InvalidJob, match="the key '1' of a path is an index"):
        unique_paths(Number)


def test_annotations_that_cannot_be_read_are_no_reason_to_count_everything() -> None:
    @dataclass
    class Hidden:
        inner: NotThere  # type: ignore[name-defined]  # noqa: F821

    with pytest.raises(InvalidJob, match=r"annotations of Hidden cannot be read .*NotThere"):
        unique_paths(Hidden)
