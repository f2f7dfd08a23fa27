"""How one value is read, limited and shown again.

A rule stands in a field's `Annotated` type. It reads the text of an environment variable and the
typed value of a TOML file alike, and says in ValueError what is wrong, never repeating text it
could not read: it may be a secret in the wrong place. `show` gives text that reads as the same
value.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from pydantic import GetCoreSchemaHandler, SecretStr
from pydantic_core import CoreSchema, core_schema

from riverbridge.settings.secrets import MASK, Pairs, check_dsn, mask_dsn, mask_pair

_DURATION = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,9})?)\s*(ms|s|m|h|d)?", re.ASCII)
_UNITS = {
    "ms": Decimal("0.001"),
    "s": Decimal(1),
    "m": Decimal(60),
    "h": Decimal(3600),
    "d": Decimal(86400),
}
_RATE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s*/\s*(s|m|h)", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,15})\s*(B|KiB|MiB|GiB)?", re.ASCII)
_SIZES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}


class Rule:
    """The base of all rules; what pydantic calls is `parse`."""

    kind = "text"
    limits = ""

    def parse(self, value: object) -> Any:
        """The typed value; raises ValueError."""
        raise NotImplementedError

    def show(self, value: Any) -> str:
        """`value` as it may be printed and would be read again."""
        return str(value)

    def __get_pydantic_core_schema__(
        self, source: type[Any], handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(self.parse)


@dataclass(frozen=True)
class Seconds(Rule):
    """A duration in seconds; with `keep`, -1 is None and means for ever."""

    low: float
    high: float
    keep: bool = False
    kind = "duration"

    @property
    def limits(self) -> str:  # type: ignore[override]
        return f"{spell(self.low)} to {spell(self.high)}" + (", or -1" if self.keep else "")

    def parse(self, value: object) -> float | None:
        if self.keep and (value in ("-1", "-1s") or (value == -1 and not isinstance(value, bool))):
            return None
        seconds = self._seconds(value)
        if not self.low <= seconds <= self.high:
            side = "below" if seconds < self.low else "above"
            limit = self.low if seconds < self.low else self.high
            raise ValueError(f"{spell(seconds)} is {side} the limit of {spell(limit)}")
        return seconds

    def _seconds(self, value: object) -> float:
        if isinstance(value, str):
            text = value.strip()
            if text.startswith("-"):
                raise ValueError("a duration cannot be negative")
            if found := _DURATION.fullmatch(text):
                return float(Decimal(found[1]) * _UNITS[found[2] or "s"])
        elif isinstance(value, int | float) and not isinstance(value, bool):
            if value < 0:
                raise ValueError("a duration cannot be negative")
            if not math.isnan(value) and value < 10**15:
                return float(value)
        raise ValueError("not a duration; write seconds (5, 0.5) or a unit: 500ms, 5s, 2m, 1h, 7d")

    def show(self, value: Any) -> str:
        if value is None:
            return "-1"
        seconds = Decimal(repr(value))
        if 0 < seconds < 1 and seconds * 1000 == int(seconds * 1000):
            return f"{int(seconds * 1000)}ms"
        for unit, least in (("d", 2 * _UNITS["d"]), ("h", _UNITS["h"]), ("m", _UNITS["m"])):
            if seconds >= least and seconds % _UNITS[unit] == 0:
                return f"{int(seconds / _UNITS[unit])}{unit}"
        return f"{int(seconds) if seconds == int(seconds) else format(seconds, 'f')}s"


def spell(seconds: float) -> str:
    """A duration for a sentence: `0.5 s`, `90 s`, `7 d`."""
    for unit, size in (("d", 86400), ("h", 3600)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s"


@dataclass(frozen=True)
class Bytes(Rule):
    """A size in bytes, with binary units."""

    low: int
    high: int
    kind = "size"

    @property
    def limits(self) -> str:  # type: ignore[override]
        return f"{self.show(self.low)} to {self.show(self.high)}"

    def parse(self, value: object) -> int:
        if isinstance(value, str) and (found := _SIZE.fullmatch(value.strip())):
            size = int(found[1]) * _SIZES[found[2] or "B"]
        elif isinstance(value, int) and not isinstance(value, bool):
            size = value
        else:
            raise ValueError("not a size; write bytes (65536) or a unit: 64KiB, 8MiB")
        if not self.low <= size <= self.high:
            raise ValueError(f"outside of the limits, {self.limits}")
        return size

    def show(self, value: Any) -> str:
        for unit in ("GiB", "MiB", "KiB"):
            if value and value % _SIZES[unit] == 0:
                return f"{value // _SIZES[unit]}{unit}"
        return str(value)


@dataclass(frozen=True)
class Rate(Rule):
    """So many in a second, a minute or an hour, kept as so many a second."""

    low: float
    high: float
    kind = "rate"

    @property
    def limits(self) -> str:  # type: ignore[override]
        return f"{self.show(self.low)} to {self.show(self.high)}"

    def parse(self, value: object) -> float:
        found = _RATE.fullmatch(value.strip()) if isinstance(value, str) else None
        if found is None:
            raise ValueError("not a rate; write how many in a second, minute or hour: 500/s, 30/m")
        rate = float(Decimal(found[1]) / _UNITS[found[2]])
        if not self.low <= rate <= self.high:
            raise ValueError(f"outside of the limits, {self.limits}")
        return rate

    def show(self, value: Any) -> str:
        for unit in ("s", "m", "h"):
            count = value * float(_UNITS[unit])
            if count >= 1 and math.isclose(count, round(count), rel_tol=1e-12):
                return f"{round(count)}/{unit}"
        return f"{Decimal(repr(value)):f}/s"


@dataclass(frozen=True)
class Whole(Rule):
    """A whole number from `low` to `high`."""

    low: int
    high: int
    kind = "number"

    @property
    def limits(self) -> str:  # type: ignore[override]
        return f"{self.low} to {self.high}"

    def parse(self, value: object) -> int:
        if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,18}", value.strip(), re.ASCII):
            value = int(value)
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"not a whole number; the limits are {self.limits}")
        if not self.low <= value <= self.high:
            shown = str(value) if abs(value) < 10**18 else "the number"
            raise ValueError(f"{shown} is outside of the limits, {self.limits}")
        return value


class Flag(Rule):
    """true or false."""

    kind = "true or false"

    def parse(self, value: object) -> bool:
        if isinstance(value, bool):
            return value
        word = value.strip().lower() if isinstance(value, str) else ""
        if word in ("true", "1", "yes", "on"):
            return True
        if word in ("false", "0", "no", "off"):
            return False
        raise ValueError("neither true nor false")

    def show(self, value: Any) -> str:
        return "true" if value else "false"


class Choice(Rule):
    """One of a few words."""

    kind = "choice"

    def __init__(self, *words: str) -> None:
        self.words = words
        self.limits = ", ".join(words)

    def parse(self, value: object) -> str:
        word = value.strip().lower() if isinstance(value, str) else ""
        if word not in self.words:
            raise ValueError(f"must be one of {self.limits}")
        return word


@dataclass(frozen=True)
class Text(Rule):
    """A line of text of at most `high` UTF-8 bytes that `check`, if any, does not refuse."""

    high: int
    check: Callable[[str], None] | None = None
    kind: str = "text"

    @property
    def limits(self) -> str:  # type: ignore[override]
        return f"1 to {self.high} bytes"

    def parse(self, value: object) -> str:
        if not isinstance(value, str):
            raise ValueError("must be text")
        text = value.strip()
        if not text:
            raise ValueError("is empty; unset it or give it a value")
        if re.search(r"[\x00-\x1f\x7f-\x9f]", text):
            raise ValueError("holds a line break or another control character")
        if (size := len(text.encode("utf-8", "replace"))) > self.high:
            raise ValueError(f"its {size} bytes are above the limit of {self.high} bytes")
        if self.check:
            self.check(text)
        return text

    def show(self, value: Any) -> str:
        return mask_pair("", value)


@dataclass(frozen=True)
class Names(Rule):
    """A list: comma-separated text, a JSON array or a TOML array; each item is read by `item`."""

    item: Text
    what: str
    kind = "list"

    @property
    def limits(self) -> str:  # type: ignore[override]
        return f"each {self.item.limits}"

    def parse(self, value: object) -> tuple[str, ...]:
        if isinstance(value, str):
            text = value.strip()
            value = parse_json(text) if text.startswith("[") else text.split(",")
        if not isinstance(value, list | tuple):
            raise ValueError(f"must be a list of {self.what}: comma-separated, or a JSON array")
        items: list[str] = []
        for number, item in enumerate(value, 1):
            try:
                items.append(self.item.parse(item))
            except ValueError as error:
                raise ValueError(f"item {number} of the list: {error}") from None
        if not items:
            raise ValueError(f"is an empty list; name at least one of the {self.what}")
        if len(set(items)) < len(items):
            raise ValueError(f"names one of the {self.what} twice")
        return tuple(items)

    def show(self, value: Any) -> str:
        if any("," in item for item in value) or value[0].startswith("["):
            return json.dumps(list(value), ensure_ascii=False)
        return ",".join(value)


@dataclass(frozen=True)
class Properties(Rule):
    """A table of names and plain values, each kept as text. `dotted`: levels join with dots."""

    dotted: bool = False
    kind = "JSON object"

    def parse(self, value: object) -> Pairs:
        if not isinstance(value, Mapping):
            raise ValueError("must be a JSON object or a TOML table")
        return Pairs((str(name), self._text(str(name), item)) for name, item in value.items())

    def _text(self, name: str, value: object) -> str:
        if isinstance(value, bool):
            return "true" if value else "false"
        if isinstance(value, str | int | float) and not (
            isinstance(value, float) and not math.isfinite(value)
        ):
            return str(value)
        raise ValueError(f"the value of {name[:80]!r} must be text, a number, true or false")

    def show(self, value: Any) -> str:
        return json.dumps(Pairs(value).masked(), ensure_ascii=False)


class Secret(Rule):
    """A line of text that is shown nowhere."""

    kind = "text (secret)"

    def parse(self, value: object) -> SecretStr:
        return SecretStr(Text(4096).parse(value))

    def show(self, value: Any) -> str:
        return MASK


class Dsn(Rule):
    """A Postgres connection string, kept as a secret."""

    kind = "connection string (secret)"

    def parse(self, value: object) -> SecretStr:
        text = Text(4096).parse(value)
        check_dsn(text)
        return SecretStr(text)

    def show(self, value: Any) -> str:
        return mask_dsn(value.get_secret_value())


def parse_json(text: str) -> object:
    """The value of JSON text without duplicate keys; raises ValueError without a part of it."""

    def pairs(items: list[tuple[str, object]]) -> dict[str, object]:
        table: dict[str, object] = {}
        for name, value in items:
            if name in table:
                raise _Duplicate(name)
            table[name] = value
        return table

    try:
        return json.loads(text, object_pairs_hook=pairs)
    except _Duplicate as error:
        raise ValueError(f"its JSON has the key {error.name[:80]!r} twice") from None
    except json.JSONDecodeError as error:
        raise ValueError(
            f"is not valid JSON: {error.msg} (line {error.lineno}, column {error.colno})"
        ) from None
    except (ValueError, RecursionError):
        raise ValueError("is JSON with a number or a nesting that is too large") from None


class _Duplicate(Exception):
    def __init__(self, name: str) -> None:
        self.name = name
