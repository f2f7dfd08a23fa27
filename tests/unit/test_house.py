"""The house rules that no linter checks."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MODULES = sorted((ROOT / "riverbridge").rglob("*.py"))
LOCKS = [
    *sorted((ROOT / "requirements").glob("*.txt")),
    ROOT / "riverbridge/embedded/ministack.txt",
]


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("module", MODULES, ids=name)
def test_no_module_is_above_400_lines_and_no_function_above_50(module: Path) -> None:
    text = module.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 400
    long = {
        node.name: node.end_lineno - node.lineno + 1
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.end_lineno is not None
        and node.end_lineno - node.lineno + 1 > 50
    }
    assert long == {}


def test_at_most_fifteen_dependencies_at_run_time() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert 0 < len(project["dependencies"]) <= 15


@pytest.mark.parametrize("lock", LOCKS, ids=name)
def test_locks_have_hashes_and_name_no_host(lock: Path) -> None:
    text = lock.read_text(encoding="utf-8")
    assert "://" not in text
    assert "--index" not in text
    assert "--find-links" not in text
    pinned = re.findall(r"^[a-z0-9][\w.\-\[\],]*==", text, re.MULTILINE)
    assert pinned
    blocks = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(blocks) == len(pinned)
    assert all("--hash=sha256:" in block for block in blocks)


def test_every_dependency_is_locked() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = (ROOT / "requirements/run.txt").read_text(encoding="utf-8")
    for wanted in project["dependencies"]:
        package = re.split(r"[\[<>=]", wanted)[0]
        assert re.search(rf"^{re.escape(package)}(\[\w+\])?==", locked, re.MULTILINE), (
            f"{package} is not in requirements/run.txt: run `make lock`"
        )
