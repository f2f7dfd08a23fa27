"""docs/faults.md and its tests: each cell has some that were collected and say what it says."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from riverbridge.model import outcome
from tests.conftest import COLLECTED
from tests.docs.faults import FAULTS, OUTCOMES, SINKS, WHATEVER_THE_SINK
from tests.docs.pages import ROOT

PAGE = (ROOT / "docs/faults.md").read_text(encoding="utf-8")
SAID_AS = {"Delivered": ["Delivered", "deliver_all"]}
NONE = "\N{EN DASH}"


def section(title: str) -> str:
    """What stands under a heading, up to the next one."""
    found = re.search(rf"^#+ {re.escape(title)}\n(.*?)(?=^#|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"no heading {title!r}"
    return found[1]


def rows(title: str) -> list[list[str]]:
    """The table of a section, its header first."""
    lines = [line for line in section(title).splitlines() if line.startswith("|")]
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in [lines[0], *lines[2:]]
    ]


def cells() -> Iterator[tuple[str, str, str]]:
    (_, *sinks), *faults = rows("By fault and sink")
    for name, *outcomes in faults:
        title = re.sub(r"\[(.*)\]\(.*\)", r"\1", name)
        yield from ((title, *cell) for cell in zip(sinks, outcomes, strict=True))


CELLS = list(cells())


def all_ids() -> set[str]:
    of_faults = {id_ for proofs in FAULTS.values() for ids in proofs.values() for id_ in ids}
    others = {id_ for ids in WHATEVER_THE_SINK.values() for id_ in ids}
    return of_faults | others | set(OUTCOMES.values())


def source(id_: str) -> str:
    """A test, with what it names of its module."""
    path, *names = id_.partition("[")[0].split("::")
    module = importlib.import_module("tests." + path.removesuffix(".py").replace("/", "."))
    function: Any = module
    for name in names:
        function = getattr(function, name)
    text = textwrap.dedent(inspect.getsource(function))
    at_home = vars(sys.modules[function.__module__])
    used = {node.id for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Name)}
    return text + "".join(map(_shown, (at_home[name] for name in used & at_home.keys())))


def _shown(value: object) -> str:
    if isinstance(value, type):
        return ""  # that an outcome is imported says nothing
    if inspect.isfunction(value):
        return inspect.getsource(value)
    return "" if inspect.ismodule(value) or isinstance(value, Callable) else repr(value)  # type: ignore[arg-type]


def test_the_page_has_the_faults_and_sinks_of_the_tests() -> None:
    assert [sink for fault, sink, _ in CELLS if fault == CELLS[0][0]] == list(SINKS)
    assert list(dict.fromkeys(fault for fault, _, _ in CELLS)) == list(FAULTS)
    assert [row[0].strip("`") for row in rows("What an outcome means")[1:]] == list(OUTCOMES)
    for row, name in zip(rows("Whatever the sink")[1:], WHATEVER_THE_SINK, strict=True):
        assert row[0].startswith(name)


@pytest.mark.parametrize(("fault", "sink", "says"), CELLS, ids=lambda given: given)
def test_a_cell_has_tests_that_say_the_same_or_a_reason_why_not(
    fault: str, sink: str, says: str
) -> None:
    named = FAULTS[fault].get(sink, [])
    reason = re.search(rf"^- {sink}: \S.{{10,}}", section(fault), re.MULTILINE)
    if says == NONE:
        assert reason, f"say under {fault!r} why it is not for {sink}"
        assert not named
        return
    assert not reason
    assert named, "no test"
    text = "".join(map(source, named))
    for one in says.split(", "):
        assert one in OUTCOMES
        assert hasattr(outcome, one)
        assert any(word in text for word in SAID_AS.get(one, [one])), f"none of {named} says {one}"


def test_every_test_that_is_named_was_collected(pytestconfig: pytest.Config) -> None:
    found = pytestconfig.stash[COLLECTED]
    if not {id_.partition("::")[0] for id_ in all_ids()} <= {
        id_.partition("::")[0] for id_ in found
    }:
        found = collected()
    whole = {id_.partition("[")[0] for id_ in found}
    assert all_ids() - whole - set(map(without_major, found)) == set()


def collected() -> frozenset[str]:
    """The tests of all files that are named, when only some are run."""
    files = sorted({f"tests/{id_.partition('::')[0]}" for id_ in all_ids()})
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *files],
        capture_output=True, text=True, timeout=100, cwd=ROOT,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]
    lines = (line for line in done.stdout.splitlines() if "::" in line)
    return frozenset(line.removeprefix("tests/") for line in lines)


def without_major(id_: str) -> str:
    """A test's id without the Postgres that it is run on."""
    test, bracket, case = id_.partition("[")
    parts = [part for part in case[:-1].split("-") if not re.fullmatch(r"pg\d+|given", part)]
    return f"{test}[{'-'.join(parts)}]" if bracket and parts else test
