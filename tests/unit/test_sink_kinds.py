from __future__ import annotations

import re
from importlib.metadata import EntryPoint
from typing import Literal

import pytest
from pydantic import Field

from riverbridge.settings.sinks import KINDS, SinkSettings
from riverbridge.settings.sinks.kinds import GROUP, OURS, gather

HERE = __name__


class Pigeon(SinkSettings):
    """A kind that another package might bring."""

    type: Literal["pigeon"] = Field(description="Selects this kind of sink.")


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
