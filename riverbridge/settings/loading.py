"""`load`: read, merge, fill in what follows from other settings, validate, and check the whole.

A value that is wrong is noted and taken out, and the rest is validated and checked without it, so
that one run shows every problem.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path as File
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from riverbridge.errors import ConfigurationError
from riverbridge.settings import rules, shape
from riverbridge.settings.checked import CheckCondition, Checked, CheckTemplate
from riverbridge.settings.models import Settings
from riverbridge.settings.reading import (
    Given,
    Layer,
    Problem,
    read_dotenv,
    read_env,
    read_toml,
)
from riverbridge.settings.sinks import FAILED, KINDS
from riverbridge.settings.sources import FAILED as SOURCES_FAILED
from riverbridge.settings.sources import KINDS as SOURCES

DOTENV = File(".env")
TOML = File("riverbridge.toml")
OUTBOX = "outbox"
_TREE = shape.tree(Settings)
_KINDS: Mapping[str, Sequence[str]] = {"sinks": tuple(KINDS), "sources": tuple(SOURCES)}


def load(
    env: Mapping[str, str] | None = None,
    dotenv: File | None = DOTENV,
    toml: File | None = TOML,
    require_database: bool = True,
    check_template: CheckTemplate | None = None,
    check_body: CheckTemplate | None = None,
    check_condition: CheckCondition | None = None,
    check_event_template: CheckTemplate | None = None,
    check_event_condition: CheckCondition | None = None,
) -> Settings:
    """The settings from `env` (by default the process's), over `.env`, over the TOML file.

    None leaves a file out; only the two default files may be absent. `check_template` and
    `check_body`, over a job, and `check_event_template`, of a source, raise TemplateError,
    `check_condition` and `check_event_condition` ConditionError or ConfigurationError. Raises
    ConfigurationError with every problem, a line each, starting with the variable or file; no line
    holds a secret.
    """
    env = os.environ if env is None else env
    # Twice: what may stand in an entry is known only when its type has been read.
    types = _types(_read(_TREE, env, dotenv, toml))
    layers = _read(shape.typed(_TREE, types), env, dotenv, toml)
    draft = _Draft(layers)
    settings = draft.validate()
    checked = Checked(
        settings,
        frozenset(draft.given),
        draft.entries("sinks"),
        check_template,
        check_body,
        check_condition,
        check_event_template,
        check_event_condition,
    )
    draft.add(rules.problems(checked))
    if require_database and settings.database_url is None:
        text = "not set; give the database, as in postgresql://user@host:5432/database"
        draft.add([Problem(("database_url",), text)])
    if lines := draft.lines():
        raise ConfigurationError(lines)
    return settings.remember(
        {path: given.origin for path, given in draft.given.items()},
        tuple(chain.from_iterable(layer.ignored for layer in layers)),
        (*chain.from_iterable(layer.warnings for layer in layers), *rules.warnings(settings)),
    )


def _read(
    root: shape.Table, env: Mapping[str, str], dotenv: File | None, toml: File | None
) -> list[Layer]:
    """What each place gives, the strongest first."""
    layers = [read_env(root, env)]
    if dotenv is not None:
        layers.append(read_dotenv(root, dotenv, env, required=dotenv != DOTENV))
    if toml is not None:
        layers.append(read_toml(root, toml, required=toml != TOML))
    return layers


def _types(layers: list[Layer]) -> dict[shape.Path, str]:
    """Of the entries of tables, by path."""
    return {
        path[:2]: given.value
        for layer in reversed(layers)
        for path, given in layer.leaves.items()
        if len(path) == 3 and path[2] == "type" and isinstance(given.value, str)
    }


class _Draft:
    """The merged layers on their way to settings."""

    def __init__(self, layers: list[Layer]) -> None:
        self.given: dict[shape.Path, Given] = {}
        for layer in reversed(layers):
            self.given |= layer.leaves
        self.opened = set().union(*(layer.opened for layer in layers))
        self.problems = [problem for layer in layers for problem in layer.problems]
        self.files = [line for layer in layers for line in layer.lines]
        self.broken = {problem.path for problem in self.problems}
        self._fill_in()

    def entries(self, table: str) -> tuple[str, ...]:
        """The names the user opened in a table, also those whose settings are wrong."""
        return tuple(sorted({path[1] for path in self.opened if path[0] == table}))

    def validate(self) -> Settings:
        """Settings of all that is right, the rest noted and left out."""
        tree = self._tree()
        while True:
            try:
                return Settings(**tree)
            except ValidationError as error:
                errors = error.errors(include_url=False, include_input=False)
            pruned = [self._note(tree, detail) for detail in errors]
            if not any(pruned):
                raise AssertionError(f"cannot take out {errors[0]['loc']}")

    def add(self, problems: list[Problem]) -> None:
        """Add what the rules found, without what only follows from a value that is wrong."""
        for problem in problems:
            if not any(_touches(path, self.broken) for path in (problem.path, *problem.involves)):
                self.problems.append(problem)

    def lines(self) -> list[str]:
        """Every problem, a line each."""
        lines = list(self.files)
        for problem in self.problems:
            given = self.given.get(problem.path)
            own = given is not None and given.origin not in ("environment", shape.DEFAULT)
            place = f" (in {given.origin})" if given is not None and own else ""
            lines.append(f"{shape.variable(problem.path)}: {problem.text}{place}")
        return list(dict.fromkeys(lines))

    def _fill_in(self) -> None:
        """Defaults that follow from other settings."""
        sinks = self.entries("sinks")
        if sinks and not self.entries("routes"):
            self.opened.add(("routes", OUTBOX))
            self._default(("routes", OUTBOX, "queues"), [OUTBOX])
        dead_letters = {path: given.value for path, given in self.given.items() if _dead(path)}
        for route in self.entries("routes"):
            # A sink for dead letters gets what others failed to deliver, and nothing unasked.
            others = [sink for sink in sinks if sink not in dead_letters.values()]
            self._default(("routes", route, "sinks"), others, also=bool(others))
        deadline = self.given.get(("deadline",))
        for sink in sinks:
            if deadline is not None:
                self._default(("sinks", sink, "delivery_timeout"), deadline.value)
        for name in ("host", "port"):
            if (given := self.given.get(("http", name))) is not None:
                self._default(("probes", name), given.value)
                self._default(("hooks", name), given.value)

    def _default(self, path: shape.Path, value: object, also: bool = True) -> None:
        if also and path not in self.given and path not in self.broken:
            self.given[path] = Given(value, shape.DEFAULT)

    def _tree(self) -> dict[str, Any]:
        tree: dict[str, Any] = {}
        # Sorted: which of two routes a problem names must not change from run to run.
        for path in sorted(self.opened):
            _at(tree, path)
        for path, given in self.given.items():
            _at(tree, path[:-1])[path[-1]] = given.value
        return tree

    def _note(self, tree: dict[str, Any], detail: ErrorDetails) -> bool:
        path = _path(detail)
        default = self.given.get(path, Given(None, "")).origin == shape.DEFAULT
        if not default and not _touches(path, self.broken):
            self.problems.append(Problem(path, _text(detail)))
        self.broken.add(path)
        whole = detail["type"] in ("missing", "union_tag_not_found", "union_tag_invalid")
        return _prune(tree, path[:-1] if whole else path)


def _dead(path: shape.Path) -> bool:
    return path[0] == "routes" and path[2:] == ("dead_letters",)


def _path(detail: ErrorDetails) -> shape.Path:
    path = tuple(str(part) for part in detail["loc"])
    # Within a sink, where there are several kinds, pydantic puts the type's name after its own.
    if len(path) > 2 and path[2] in _KINDS.get(path[0], ()):
        path = path[:2] + path[3:]
    if detail["type"] in ("union_tag_not_found", "union_tag_invalid"):
        path = (*path, "type")
    return path


def _text(detail: ErrorDetails) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing":
        return "not set, and it is required"
    if kind == "value_error":
        return str(context["error"])
    if kind == "union_tag_not_found":
        return f"not set, and it is required: one of {', '.join(_kinds(detail))}"
    if kind == "union_tag_invalid":
        return f"must be one of {', '.join(_kinds(detail))}{_lost()}"
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "extra_forbidden":
        return f"has no meaning for this type of {str(detail['loc'][0])[:-1]}"
    return "has the wrong type"


def _kinds(detail: ErrorDetails) -> Sequence[str]:
    return _KINDS[str(detail["loc"][0])]


def _lost() -> str:
    failed = FAILED | SOURCES_FAILED
    return "".join(f"; the plug-in of {name} failed: {why}" for name, why in failed.items())


def _touches(path: shape.Path, wrong: set[shape.Path]) -> bool:
    return any(path[:length] in wrong for length in range(1, len(path) + 1))


def _at(tree: dict[str, Any], path: shape.Path) -> dict[str, Any]:
    for name in path:
        tree = tree.setdefault(name, {})
    return tree


def _prune(tree: dict[str, Any], path: shape.Path) -> bool:
    # What cannot be found was taken out with its table for an earlier error.
    for name in path[:-1]:
        if name not in tree:
            return False
        tree = tree[name]
    return tree.pop(path[-1], tree) is not tree
