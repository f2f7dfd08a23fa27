"""Values that are not shown: by the kind of the job and the path within its args."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from riverbridge.model import globs

MASK = "•••"


@dataclass(frozen=True)
class Rule:
    """kinds: a glob over kinds. path: keys from the top of args; `*` is any key or element."""

    kinds: str
    path: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Rule:
        """`payment.*:card.number`, or `card.number` for every kind. Raises ValueError."""
        kinds, colon, path = text.rpartition(":")
        parts = tuple(path.strip().split("."))
        if not all(parts):
            raise ValueError(
                "is no rule: write kind:path.to.value, such as payment.*:card.number; "
                "without kind: it is for all"
            )
        return cls(kinds.strip() if colon else "*", parts)

    @classmethod
    def check(cls, text: str) -> None:
        """Raises ValueError for a text that is no rule."""
        cls.parse(text)


class Redaction:
    """All rules."""

    def __init__(self, rules: Sequence[Rule] = ()) -> None:
        self._rules = tuple(rules)

    def paths(self, kind: str) -> list[tuple[str, ...]]:
        """The paths that are hidden in jobs of this kind."""
        return [rule.path for rule in self._rules if globs.matches([rule.kinds], kind)]

    def args(self, kind: str, args: Any) -> Any:
        """`args` with what is hidden replaced by the mask; what was given is left as it is."""
        for path in self.paths(kind):
            args = _masked(args, path)
        return args

    def anywhere(self, value: Any) -> Any:
        """A value of no kind, such as an event that holds args or parts of them: whatever a rule
        hides is hidden at any depth, and so is JSON within a text. Raises RecursionError."""
        for rule in self._rules:
            value = _masked(value, rule.path)
        if isinstance(value, dict):
            return {key: self.anywhere(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.anywhere(item) for item in value]
        if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
            return MASK if self._rules else value
        return value

    def hides(self, path: Sequence[str]) -> bool:
        """Whether a search for a value at this path could tell what is hidden. A part that ends in
        [] stands for a key and its elements."""
        parts: list[str] = []
        for part in path:
            parts += [part.removesuffix("[]"), "*"] if part.endswith("[]") else [part]
        return any(
            len(rule.path) <= len(parts)
            and all(
                one in ("*", other) or other == "*"
                for one, other in zip(rule.path, parts, strict=False)
            )
            for rule in self._rules
        )

    def __bool__(self) -> bool:
        return bool(self._rules)


def _masked(value: Any, path: tuple[str, ...]) -> Any:
    if not path:
        return MASK
    first, rest = path[0], path[1:]
    if isinstance(value, dict):
        return {
            key: _masked(item, rest) if first in ("*", key) else item for key, item in value.items()
        }
    if isinstance(value, list):
        return [
            _masked(item, rest) if first in ("*", str(index)) else item
            for index, item in enumerate(value)
        ]
    if isinstance(value, str) and value[:1] in "{[":
        return MASK  # nested too deeply to be looked into (`riverbridge.store.rows`)
    return value
