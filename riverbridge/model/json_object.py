"""JSON objects that Postgres, River and Python can all store and read again.

`jsonb` refuses a NUL, half a surrogate pair, NaN and numbers beyond its range, and runs out of
stack at deep nesting; Go and Python refuse other numbers and other depths. What passes here passes
everywhere.
"""

from __future__ import annotations

import math
import re
from typing import Any

import msgspec

NESTING_MAX = 500
"""Levels of nesting. Postgres and Go hold thousands, a Python reader about a thousand less what is
already on its stack."""

SIZE_MAX = 268_435_455
"""Bytes of a text: just under 256 MiB, the most that a `jsonb` holds in all."""

NUMBER_LENGTH_MAX = 1000
"""Characters of one number with a fraction or exponent, and the largest exponent either way."""

_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]|[\]}]', re.DOTALL)
"""The brackets of a JSON text; and its strings whole, so that none inside of them is met."""


def object_problem(text: object) -> str | None:
    """Why `text` cannot be a job's args or metadata, or None. Content is never repeated."""
    if not isinstance(text, str):
        return f"must be JSON text, not {type(text).__name__}"
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        return f"holds half a surrogate pair at character {error.start}: send whole characters"
    if size > SIZE_MAX:
        return f"has {size} bytes; a jsonb holds at most {SIZE_MAX}: send a reference to the data"
    if "\\u0000" in text and (found := _NUL.search(text)) is not None:
        return f"holds a NUL at character {found.end() - 6}, which Postgres cannot store: remove it"
    if _too_deep(text):
        return f"is nested in more than {NESTING_MAX} levels: flatten it"
    try:
        value = _decoder.decode(text)
    except msgspec.ValidationError as error:
        return f"holds a number no reader of it can hold: {error}; send it as text"
    except RecursionError:
        return "is nested too deeply to be read from here: flatten it"
    except (msgspec.DecodeError, ValueError) as error:
        return f"is not JSON: {error} (NaN, Infinity and half a surrogate pair are not JSON either)"
    if not isinstance(value, dict):
        return f"must be a JSON object, not {_NAMES[type(value)]}: put the value under a key"
    return None


def encoded_problem(text: str) -> str | None:
    """As `object_problem`, quicker: for text that an encoder wrote, so that it is JSON."""
    if text.startswith("{") and "\\u0000" not in text:
        size = len(text)
        if size <= 2 * NESTING_MAX or (size <= SIZE_MAX // 4 and not _too_deep(text)):
            return None
    return object_problem(text)


def read_object(text: str) -> dict[str, Any]:
    """The object in a column of a row."""
    return _reader.decode(text)


def _too_deep(text: str) -> bool:
    # Counting is cheap and nearly always enough; only many brackets are worth a real look.
    if text.count("{") + text.count("[") <= NESTING_MAX:
        return False
    depth = 0
    for found in BRACKETS.finditer(text):
        bracket = found.group()
        if bracket in "[{":
            depth += 1
            if depth > NESTING_MAX:
                return True
        elif bracket in "]}":
            depth -= 1
    return False


def _number(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError("it is beyond 1.8e308")
    exponent = text.lower().partition("e")[2]
    if len(text) > NUMBER_LENGTH_MAX or abs(int(exponent or 0)) > NUMBER_LENGTH_MAX:
        raise ValueError(f"it has more than {NUMBER_LENGTH_MAX} digits when written out")
    return value


_reader = msgspec.json.Decoder(dict[str, Any])
_decoder = msgspec.json.Decoder(float_hook=_number)
_NAMES = {
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}
