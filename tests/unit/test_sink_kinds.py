from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import EntryPoint
from typing import Annotated, Literal

import pytest
from pydantic import Field, create_model

from riverbridge.settings import shape
from riverbridge.settings.parts import Part
from riverbridge.settings.reading import Layer
from riverbridge.settings.secrets import Pairs
from riverbridge.settings.sinks import KINDS, SinkSettings
from riverbridge.settings.sinks.kafka import KafkaSink
from riverbridge.settings.sinks.kinds import GROUP, OURS, gather
from riverbridge.settings.values import Properties, Text

HERE = __name__


class Pigeon(SinkSettings):
    """A kind that another package might bring."""

    type: Literal["pigeon"] = Field(description="Selects this kind of sink.")


class Roost(Part):
    """A table of its own."""

    tree: Annotated[str, Text(100)] = Field(description="Where they sleep.")


class Impostor(SinkSettings):
    """One that takes a name of ours."""

    type: Literal["kafka"] = Field(description="Selects this kind of sink.")


class Vague(SinkSettings):
    """One without a type of its own."""


def point(name: str, attribute: str, module: str = HERE) -> EntryPoint:
    return EntryPoint(name, f"{module}:{attribute}", GROUP)


def test_another_package_may_bring_a_kind() -> None:
    kinds, failed = gather([point("pigeon", "Pigeon")], SinkSettings, OURS)
    assert kinds == {**KINDS, "pigeon": Pigeon}
    assert not failed
    with pytest.raises(NotImplementedError, match=r"Pigeon has no open\(\)"):
        Pigeon.model_validate({"type": "pigeon"}).open("events")


@pytest.mark.parametrize(
    ("name", "attribute", "why"),
    [
        ("pigeon", "Missing", "AttributeError: .*Missing"),
        ("pigeon", "HERE", "not a subclass of SinkSettings"),
        ("pigeon", "EntryPoint", "not a subclass of SinkSettings"),
        ("dove", "Pigeon", "its type is 'pigeon', the entry point's 'dove'"),
        ("kafka", "Impostor", "another kind has that name already"),
        ("vague", "Vague", "must be a Literal of one name"),
    ],
)
def test_what_is_no_kind_is_named_and_the_others_work(name: str, attribute: str, why: str) -> None:
    kinds, failed = gather([point(name, attribute), point("pigeon", "Pigeon")], SinkSettings, OURS)
    assert kinds == {**KINDS, "pigeon": Pigeon}
    assert list(failed) == [name]
    assert re.search(why, failed[name])


def test_a_package_that_cannot_be_imported_stops_nothing() -> None:
    kinds, failed = gather([point("pigeon", "Pigeon", "no.such.module")], SinkSettings, OURS)
    assert kinds == KINDS
    assert "ModuleNotFoundError" in failed["pigeon"]


class Flock(SinkSettings):
    """Its settings have the names of others' and are something else."""

    type: Literal["flock"] = Field(description="Selects this kind of sink.")
    topic: Annotated[Mapping[str, str], Properties()] = Field(
        Pairs(), description="Topics by bird.", examples=['{"dove":"peace"}']
    )
    config: Annotated[str, Text(100)] = Field("", description="Plain text.")
    url: Roost = Roost(tree="oak")


def both() -> shape.Table:
    """What the settings hold where another package brings such a kind."""
    sinks = Mapping[str, Annotated[KafkaSink | Flock, Field(discriminator="type")]]
    return shape.tree(create_model("Both", sinks=(sinks, {})))


def layer(types: dict[str, str], **given: object) -> Layer:
    """What is read of sinks of these types, by name, from a TOML file with these settings each."""
    found = Layer(shape.typed(both(), {("sinks", n): kind for n, kind in types.items()}), "toml")
    found.place(found.root, (), (), {"sinks": dict.fromkeys(types, given)})
    return found


def test_a_setting_is_read_as_the_sinks_own_kind_has_it() -> None:
    flock = layer({"a": "flock"}, topic={"dove": "peace"}, config="x", url={"tree": "elm"})
    assert flock.problems == []
    assert {path[2:]: given.value for path, given in flock.leaves.items()} == {
        ("topic", "dove"): "peace",
        ("config",): "x",
        ("url", "tree"): "elm",
    }
    kafka = layer({"b": "kafka"}, topic="peace", config={"a": {"b": 1}})
    assert kafka.problems == []
    assert {path[2:] for path in kafka.leaves} == {("topic",), ("config", "a.b")}
    # What only others have is known, and the models say that it means nothing here.
    assert layer({"b": "kafka"}, url={"tree": "elm"}).problems == []
    (problem,) = layer({"a": "flock"}, url={"three": "elm"}).problems
    assert problem.text.startswith("unknown; did you mean RIVERBRIDGE_SINKS__A__URL__TREE?")


def test_help_is_that_of_the_sinks_own_kind() -> None:
    node = both().fields["sinks"]
    assert isinstance(node, shape.Named)
    for kind, help in (("flock", "Topics by bird."), ("kafka", "The topic; may use the job")):
        leaf = replace(node, types={"a": kind}).table("a").fields["topic"]
        assert isinstance(leaf, shape.Leaf)
        assert str(leaf.field.description).startswith(help)
