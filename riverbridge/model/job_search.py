"""What people write into a search for jobs, and what it asks for.

    kind:order.* -queue:mail args.customer.id:42 error:"timed out" since:2h some words

A token is `name:value`; a minus before it asks for the others; `"…"` holds spaces. Of several
values of one name any is good, but of `args`, `metadata`, errors and words all must be there. `*`
in a kind, a queue or an error is any run of characters.
"""

from __future__ import annotations

import itertools
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from riverbridge.errors import InvalidRequest
from riverbridge.model import globs
from riverbridge.model.job import JobState
from riverbridge.model.job_filter import check, id_problem
from riverbridge.model.json_text import encode
from riverbridge.model.names import text_problem

TEXT_MAX = 2000
"""Characters of a search."""

ALTERNATIVES = 4
"""The most objects that the values of args may stand for: `42` may be a number or a text."""

NAMES = ("args", "error", "finished", "id", "kind", "metadata", "priority", "queue", "since",
         "state", "tag", "until", "worker")  # fmt: skip

_TOKEN = re.compile(
    r"""(?P<minus>-?)(?P<name>[a-z]+)(?P<path>(?:\.[^\s:"]+)?):(?:"(?P<quoted>(?:[^"\\]|\\.)*)"|(?P<bare>\S*))"""
    r"""|"(?P<phrase>(?:[^"\\]|\\.)*)"|(?P<word>\S+)"""
)
_AGE = re.compile(r"([0-9]{1,6})(s|m|h|d|w)", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LITERAL = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?|true|false|null", re.ASCII)


class JobSearch(msgspec.Struct, frozen=True):
    """What is asked for; what is empty asks for nothing.

    kinds, queues: names, or globs. args, metadata: JSON objects, one of which the job's must
    contain. errors, words: texts that must all be there, in an attempt's error (globs) or
    anywhere. since, until: of the instant the job was created; finished: since when it has been
    over. arg_paths: where in args something is asked for.
    """

    states: tuple[JobState, ...] = ()
    ids: tuple[int, ...] = ()
    kinds: tuple[str, ...] = ()
    not_kinds: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    not_queues: tuple[str, ...] = ()
    priorities: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    not_tags: tuple[str, ...] = ()
    args: tuple[str, ...] = ()
    metadata: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    not_errors: tuple[str, ...] = ()
    workers: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    finished: datetime | None = None
    words: tuple[str, ...] = ()
    not_words: tuple[str, ...] = ()
    arg_paths: tuple[tuple[str, ...], ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether it asks for every job there is."""
        return self == JobSearch()

    @property
    def reads(self) -> bool:
        """Whether jobs have to be read to tell: no index knows."""
        indexed = JobSearch(
            states=self.states, ids=self.ids, kinds=self.kinds, queues=self.queues,
            args=self.args, metadata=self.metadata, arg_paths=self.arg_paths,
        )  # fmt: skip
        return self != indexed

    def parameters(self) -> dict[str, Any]:
        """Those of `job/matching`."""
        args = [*self.args, *[None] * ALTERNATIVES][:ALTERNATIVES]
        metadata = [*self.metadata, *[None] * ALTERNATIVES][:ALTERNATIVES]
        values: dict[str, Any] = {
            "states": [str(state) for state in self.states] or None,
            "ids": list(self.ids) or None,
            "priorities": list(self.priorities) or None,
            "tags_any": list(self.tags) or None,
            "tags_none": list(self.not_tags) or None,
            "workers": list(self.workers) or None,
            "since": self.since,
            "until": self.until,
            "finished": self.finished,
            "errors": [f"%{globs.to_like(text)}%" for text in self.errors] or None,
            "errors_none": [f"%{globs.to_like(text)}%" for text in self.not_errors] or None,
            "words": [_like(text) for text in self.words] or None,
            "words_none": [_like(text) for text in self.not_words] or None,
        }
        for number, (one, other) in enumerate(zip(args, metadata, strict=True), 1):
            values |= {f"args_{number}": one, f"metadata_{number}": other}
        for name in ("kinds", "queues"):
            given: tuple[str, ...] = getattr(self, name)
            names = [each for each in given if "*" not in each]
            likes = [globs.to_like(each) for each in given if "*" in each]
            nots = [globs.to_like(each) for each in getattr(self, f"not_{name}")]
            values |= {name: names or None, f"{name}_like": likes or None}
            values[f"{name}_unlike"] = nots or None
        return values


def parse_search(text: str, now: datetime) -> JobSearch:
    """What `text` asks for; its instants may be ages before `now`. Raises InvalidRequest."""
    if len(text) > TEXT_MAX:
        raise InvalidRequest(f"the search has {len(text)} characters; at most {TEXT_MAX} are read")
    check("the search", text_problem(text) if text else None)
    reading = _Reading(now)
    for token in _TOKEN.finditer(text):
        reading.take(token)
    return reading.search()


def without(text: str, name: str) -> str:
    """The search without what it asks for by `name`; what it leaves out by it stays."""
    return " ".join(
        token[0] for token in _TOKEN.finditer(text) if token["name"] != name or token["minus"]
    )


class _Reading:
    def __init__(self, now: datetime) -> None:
        self._now = now
        self._lists: dict[str, list[Any]] = {}
        self._instants: dict[str, datetime] = {}
        self._objects: dict[str, list[list[Any]]] = {"args": [], "metadata": []}
        self._arg_paths: list[tuple[str, ...]] = []

    def take(self, token: re.Match[str]) -> None:
        """One token."""
        if (name := token["name"]) is None:
            self._word(token)
            return
        quoted = token["quoted"] is not None
        value = _unescaped(token["quoted"]) if quoted else token["bare"]
        if name not in NAMES:
            if quoted or not value or value.startswith("/"):  # such as a URL, or 12:30
                self._word(token)
                return
            raise InvalidRequest(
                f"{name}: is nothing to search for: use {', '.join(NAMES)}, or quote it"
            )
        if not value:
            raise InvalidRequest(f"{name}: has no value")
        path = tuple(part for part in token["path"].split(".") if part)
        if name in self._objects:
            if token["minus"]:
                raise InvalidRequest(f"-{name}: cannot be asked for by what it is not")
            self._objects[name].append(_alternatives(name, path, value, quoted))
            if name == "args":
                self._arg_paths.append(path)
        elif path:
            raise InvalidRequest(f"{name}{token['path']}: only args and metadata have parts")
        else:
            self._named(name, value, bool(token["minus"]))

    def _word(self, token: re.Match[str]) -> None:
        text = token["phrase"]
        text = token[0] if text is None else _unescaped(text)
        if len(text) > 1 and text[0] == "-" and token["phrase"] is None:
            self._add("not_words", text[1:])
        elif text:
            self._add("words", text)

    def _named(self, name: str, value: str, minus: bool) -> None:
        if minus and name not in ("kind", "queue", "tag", "error"):
            raise InvalidRequest(f"-{name}: only kind, queue, tag, error and words can be left out")
        match name:
            case "kind" | "queue" | "tag" | "error":
                self._add(f"{'not_' if minus else ''}{name}s", value)
            case "worker":
                self._add("workers", value)
            case "state":
                if value not in list(JobState):
                    raise InvalidRequest(f"state: {value} is none: use {', '.join(JobState)}")
                self._add("states", JobState(value))
            case "id":
                self._add("ids", _number("id", value))
                check("id", id_problem(self._lists["ids"][-1]))
            case "priority":
                number = _number("priority", value)
                if not 1 <= number <= 4:
                    raise InvalidRequest(f"priority: {value} is none: use 1 to 4")
                self._add("priorities", number)
            case _:
                self._instants[name] = _instant(name, value, self._now)

    def _add(self, name: str, value: Any) -> None:
        self._lists.setdefault(name, []).append(value)

    def search(self) -> JobSearch:
        """All that was taken."""
        found: dict[str, Any] = {name: tuple(values) for name, values in self._lists.items()}
        found |= {name: _objects(name, given) for name, given in self._objects.items()}
        found |= self._instants
        return JobSearch(**found, arg_paths=tuple(self._arg_paths))


def _alternatives(name: str, path: tuple[str, ...], value: str, quoted: bool) -> list[Any]:
    """The objects that a value at a path may stand for."""
    if not path:
        raise InvalidRequest(f"{name}: say what of it, as in {name}.customer.id:42")
    values: list[Any] = [value]
    if not quoted and _LITERAL.fullmatch(value):
        values.insert(0, json.loads(value))
    for part in reversed(path):
        key = part.removesuffix("[]")
        values = [{key: [one] if part.endswith("[]") else one} for one in values]
    return values


def _objects(name: str, given: list[list[Any]]) -> tuple[str, ...]:
    if not given:
        return ()
    choices = list(itertools.islice(itertools.product(*given), ALTERNATIVES + 1))
    if len(choices) > ALTERNATIVES:
        raise InvalidRequest(
            f"{name}: too many values that may be a number or a text: quote those that are texts, "
            f'as in {name}.customer.id:"42"'
        )
    found = []
    for choice in choices:
        whole: Any = {}
        for part in choice:
            whole = _merged(name, whole, part)
        found.append(encode(whole))
    return tuple(found)


def _merged(name: str, one: Any, other: Any) -> Any:
    if isinstance(one, dict) and isinstance(other, dict):
        merged = dict(one)
        for key, value in other.items():
            merged[key] = _merged(name, merged[key], value) if key in merged else value
        return merged
    if isinstance(one, list) and isinstance(other, list):
        return one + other
    if one == other:
        return one
    raise InvalidRequest(f"{name}: asks for two values at one place")


def _instant(name: str, value: str, now: datetime) -> datetime:
    try:
        if found := _AGE.fullmatch(value):
            return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
        at = datetime.fromisoformat(value)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise InvalidRequest(
            f"{name}: {value} is no instant: write an age such as 15m, 2h or 7d, or a date such as "
            "2026-01-31 or 2026-01-31T14:05Z"
        ) from None


def _number(name: str, value: str) -> int:
    if not re.fullmatch(r"[0-9]{1,19}", value, re.ASCII):
        raise InvalidRequest(f"{name}: {value[:40]} is no number")
    return int(value)


def _like(text: str) -> str:
    escaped = text.replace("\\", r"\\").replace("%", r"\%").replace("_", r"\_")
    return f"%{escaped}%"


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)
