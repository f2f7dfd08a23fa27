"""Reads the environment, `.env` and `riverbridge.toml` into flat layers: path, value, origin.

Everything that is wrong is noted, nothing is raised: the user sees all of it at once. What a name
may be is asked of the shape; what a value may be is left to the models, but for what only this
place can say in time: empty text, text that is not UTF-8, references that were not replaced.
"""

from __future__ import annotations

import io
import os
import re
import stat
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path as File
from typing import Any

from dotenv.parser import parse_stream
from dotenv.variables import Variable, parse_variables

from riverbridge.settings import checks
from riverbridge.settings.secrets import secret_name
from riverbridge.settings.shape import PREFIX, Leaf, Named, Node, Path, Table, hint, variable
from riverbridge.settings.values import Properties, parse_json

DATABASE = "DATABASE_URL"
LARGEST_FILE = 1 << 20
# What Kubernetes tells pods of a Service named riverbridge, and of one whose name begins so: the
# first is nobody's setting, the second may be one that is misspelled.
_KUBERNETES = re.compile(r"RIVERBRIDGE_(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT(?:_.*)?)", re.S)
_OTHER_SERVICE = re.compile(
    r"RIVERBRIDGE_.+_(?:SERVICE_HOST|SERVICE_PORT(?:_.*)?|PORT(?:_[0-9]+_.*)?)", re.S
)
# For the demo, the benches and the tests.
_TOOLS = re.compile(r"RIVERBRIDGE_(?:REQUIRE|PG_BIN|MINISTACK_BIN|TEST_.*)", re.S)
_REFERENCE = re.compile(r"\$\{[A-Za-z_]\w*\}|\$\([A-Za-z_]\w*\)", re.ASCII)


@dataclass(frozen=True)
class Given:
    """A value and where it came from."""

    value: object
    origin: str


@dataclass(frozen=True)
class Problem:
    """What is wrong at a path. It is not worth saying if one of `involves` is wrong itself."""

    path: Path
    text: str
    involves: tuple[Path, ...] = ()


@dataclass
class Layer:
    """What one place gives: leaves by path, and the named tables it opens, even empty ones."""

    root: Table
    origin: str
    leaves: dict[Path, Given] = field(default_factory=dict)
    opened: set[Path] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    """Problems of the file itself, which have no path."""
    ignored: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def place(self, node: Node, path: Path, rest: Path, value: object) -> None:
        """Store `value` at `rest` below `node`, or note why it cannot stand there.

        path: where `node` is. A variable brings the whole of its name as `rest`; a table brings its
        values one by one, each with one name more.
        """
        if isinstance(node, Leaf):
            if node.pairs:
                self._pairs(node.pairs, path, rest, value)
            elif rest:
                self._note(path + rest, f"unknown; {variable(path)} has no parts")
            else:
                self._store(node, path, value)
        elif not rest:
            for key, item in self._table(path, value).items():
                self.place(node, path, (str(key),), item)
        elif isinstance(node, Table):
            if (child := node.fields.get(rest[0])) is None:
                self._note(path + rest, f"unknown{hint(node, path, rest[0])}")
            else:
                self.place(child, (*path, rest[0]), rest[1:], value)
        else:
            self._named(node, path, rest, value)

    def _named(self, node: Named, path: Path, rest: Path, value: object) -> None:
        try:
            checks.own_name(rest[0])
        except ValueError as error:
            self._note(path + rest, f"{variable((*path, rest[0]))} {error}")
            return
        self.opened.add((*path, rest[0]))
        self.place(node.table(rest[0]), (*path, rest[0]), rest[1:], value)

    # Names below a table of properties are the user's, not settings: no shape has them.
    def _pairs(self, rule: Properties, path: Path, rest: Path, value: object) -> None:
        if rest:
            # A variable cannot hold dots; no property a file may set has an underscore.
            name = "__".join(rest)
            self._pair(rule, path, name.replace("_", ".") if rule.dotted else name, value)
            return
        for name, item in self._table(path, value).items():
            self._pair(rule, path, str(name), item)

    def _pair(self, rule: Properties, path: Path, name: str, value: object) -> None:
        if len(name) > 300:
            self._note(path, "holds a name of more than 300 characters")
        elif rule.dotted and isinstance(value, Mapping):
            for key, item in value.items():
                self._pair(rule, path, f"{name}.{key}", item)
        elif not self._utf8(name) or (isinstance(value, str) and not self._utf8(value)):
            self._note(path, "is not valid UTF-8")
        else:
            self.leaves[(*path, name)] = Given(value, self.origin)

    def _store(self, leaf: Leaf, path: Path, value: object) -> None:
        if isinstance(value, str):
            if not self._utf8(value):
                self._note(path, "is not valid UTF-8")
                return
            if not value.strip():
                self._note(path, "is empty; unset it or give it a value")
                return
            if found := _REFERENCE.search(value):
                self._note(path, f"holds the reference {found[0]}, which nothing has replaced")
                return
        self.leaves[path] = Given(value, self.origin)

    def _table(self, path: Path, value: object) -> Mapping[Any, object]:
        if isinstance(value, str) and self._utf8(value):
            try:
                value = parse_json(value)
            except ValueError as error:
                self._note(path, f"{error}; it takes a JSON object")
                return {}
        if isinstance(value, Mapping):
            return value
        self._note(path, "must be a table: a JSON object in a variable, a table in TOML")
        return {}

    def _note(self, path: Path, text: str) -> None:
        self.problems.append(Problem(path, text))

    @staticmethod
    def _utf8(text: str) -> bool:
        try:
            text.encode()
        except UnicodeEncodeError:
            return False
        return True


def read_env(root: Table, env: Mapping[str, str]) -> Layer:
    """What the environment gives."""
    layer = Layer(root, "environment")
    _variables(layer, dict(env))
    return layer


def read_dotenv(root: Table, file: File, env: Mapping[str, str], required: bool) -> Layer:
    """What a `.env` file gives. `${NAME}` in it is replaced from the environment and the file."""
    layer = Layer(root, file.name)
    values: dict[str, str] = {}
    lines: dict[str, int] = {}
    for name, value, original, error in parse_stream(io.StringIO(_text(layer, file, required))):
        at = f"{file}:{original.line}:1"
        if error:
            layer.lines.append(f"{at}: is not a NAME=value line")
        elif name is None:
            continue  # a comment
        elif not _ours(name):
            if value is not None:
                values.setdefault(name, value)  # for those of ours that refer to it
        else:
            if name in lines:
                layer.lines.append(
                    f"{at}: {variable_name(name)} is given twice, first in line {lines[name]}"
                )
            lines[name] = original.line
            values[name] = _resolve(layer, at, name, value or "", values, env)
    _variables(layer, values)
    _warn_if_readable(layer, file)
    return layer


def read_toml(root: Table, file: File, required: bool) -> Layer:
    """What a TOML file gives."""
    layer = Layer(root, file.name)
    text = _text(layer, file, required)
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        layer.lines.append(_toml_problem(file, text, str(error)))
    except (ValueError, RecursionError):
        layer.lines.append(f"{file}:1:1: holds a number or a nesting that is too large")
    else:
        layer.place(root, (), (), table)
    _warn_if_readable(layer, file)
    return layer


def variable_name(name: str) -> str:
    """A variable's name as it may be printed."""
    if not name.upper().startswith(PREFIX):
        return name
    return variable((name[len(PREFIX) :],))


def _ours(name: str) -> bool:
    return name == DATABASE or name.upper().startswith(PREFIX)


def _variables(layer: Layer, env: Mapping[str, str]) -> None:
    seen: set[str] = set()
    # Tables as JSON come before their parts, so that a part's own variable wins.
    for name in sorted(filter(_ours, env), key=lambda n: (n.count("__"), n)):
        if name == DATABASE:
            layer.place(layer.root, (), ("database_url",), env[name])
        elif _KUBERNETES.fullmatch(name):
            layer.ignored.append(variable_name(name))
        elif _TOOLS.fullmatch(name):
            continue
        elif name.upper() in seen:
            layer.lines.append(f"{variable_name(name)}: is given twice, in upper and lower case")
        elif name.upper() == PREFIX + DATABASE:
            layer.problems.append(Problem(("DATABASE_URL",), f"unknown; did you mean {DATABASE}?"))
        else:
            seen.add(name.upper())
            path = tuple(name[len(PREFIX) :].lower().split("__"))
            layer.place(layer.root, (), path, env[name])
            _mention_services(layer, name)


def _mention_services(layer: Layer, name: str) -> None:
    """If the variable was found unknown just now, and like no setting: say whose it may be."""
    last = layer.problems[-1] if layer.problems else None
    if last and last.text == "unknown" and _OTHER_SERVICE.fullmatch(name):
        layer.problems[-1] = Problem(
            last.path,
            "unknown; if Kubernetes injects it for another Service, set "
            "enableServiceLinks: false on the pod",
        )


def _resolve(
    layer: Layer, at: str, name: str, text: str, values: Mapping[str, str], env: Mapping[str, str]
) -> str:
    known: dict[str, str | None] = {**values, **env}  # as of two settings, the environment wins
    parts: list[str] = []
    for atom in parse_variables(text):
        if isinstance(atom, Variable) and atom.default is None and atom.name not in known:
            layer.lines.append(
                f"{at}: {variable_name(name)} uses ${{{atom.name[:80]}}}, which is not set"
            )
        parts.append(atom.resolve(known))
    return "".join(parts)


def _text(layer: Layer, file: File, required: bool) -> str:
    try:
        with file.open("rb") as stream:
            data = stream.read(LARGEST_FILE + 1)
    except FileNotFoundError:
        if required:
            layer.lines.append(f"{file}: does not exist")
        return ""
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "bad path"
        layer.lines.append(f"{file}: cannot be read: {reason}")
        return ""
    if len(data) > LARGEST_FILE:
        layer.lines.append(f"{file}: is larger than the limit of 1 MiB")
        return ""
    if data.startswith(b"\xef\xbb\xbf"):
        layer.lines.append(f"{file}:1:1: starts with a byte order mark; save it without one")
        data = data[3:]
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start]
        line = before.count(b"\n") + 1
        column = len(before[before.rfind(b"\n") + 1 :].decode()) + 1
        layer.lines.append(f"{file}:{line}:{column}: is not valid UTF-8")
        return ""


def _toml_problem(file: File, text: str, message: str) -> str:
    found = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
    if not found:
        return f"{file}:1:1: is not valid TOML"
    if found[1]:
        line, column = int(found[1]), int(found[2])
    else:
        line, column = text.count("\n") + 1, len(text) - text.rfind("\n")
    reason = message[: found.start()]
    if "overwrite" in reason or "twice" in reason or "mutable" in reason:
        reason = "a key or table is given twice"
    # tomllib may quote a character; a whole value it never quotes.
    return f"{file}:{line}:{column}: is not valid TOML: {reason}"


def _warn_if_readable(layer: Layer, file: File) -> None:
    if not any(_holds_secret(path, given) for path, given in layer.leaves.items()):
        return
    try:
        mode = os.stat(file).st_mode
    except OSError:
        return
    if mode & stat.S_IROTH:
        layer.warnings.append(
            f"{file}: holds a secret and every user of this machine may read it; chmod o-r"
        )


def _holds_secret(path: Path, given: Given) -> bool:
    if path[-1] in ("database_url", "listen_url"):
        # Without a password in it, a connection string is no secret.
        return isinstance(given.value, str) and bool(
            re.search(r"://[^/@]*:[^@]+@|password\s*=", given.value)
        )
    return secret_name(path[-1])
