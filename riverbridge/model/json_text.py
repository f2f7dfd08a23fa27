"""Python values as JSON text: as they are written fastest, and as Go would write them.

Go's spelling matters only where a unique key is made from it (contract 4.3); for the rest, whatever
means the same is good, as Postgres keeps no spelling of a `jsonb`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from riverbridge.model.json_object import NESTING_MAX

_encode = msgspec.json.Encoder().encode
_encode_lines = msgspec.json.Encoder().encode_lines
_pack = msgspec.msgpack.Encoder().encode

# A float in msgpack: its type, then its sign and an exponent of all ones.
_MAYBE_NOT_FINITE = re.compile(rb"\xcb[\x7f\xff][\xf0-\xff]")
_HTML = [(character, f"\\u{ord(character):04x}") for character in "<>&\u2028\u2029"]
_SAME = frozenset((str, int, bool, type(None)))


def encode(value: object, *, leave_out: str | None = None) -> str:
    """`value` as JSON text, without the key `leave_out`.

    Raises ValueError or TypeError, saying what has no form in JSON; UnicodeEncodeError, which is a
    ValueError, for half a surrogate pair.
    """
    try:
        if leave_out is not None:
            value = _without(msgspec.to_builtins(value, str_keys=True), leave_out)
        text = _encode(value).decode()
        # msgspec writes NaN as null, which would change the job without a word.
        if "null" in text and _may_hold_nan(value):
            _as_go(msgspec.to_builtins(value, str_keys=True))
    except RecursionError:
        raise ValueError(f"is nested in more than {NESTING_MAX} levels") from None
    return text


def encode_lines(values: Sequence[object]) -> str:
    """As `encode`, for many: a line each, in half the time; ends with a line's end."""
    text = _encode_lines(values).decode()
    if "null" in text and _may_hold_nan(values):
        for value in values:
            _as_go(msgspec.to_builtins(value, str_keys=True))
    return text


def encode_as_go(value: object, *, leave_out: str | None = None, sort_maps: bool = True) -> str:
    """`value` as Go's encoding/json writes a struct of the same fields.

    The keys of dicts are sorted, fields keep their order; 2.0 is `2` and 1e21 `1e+21`; the fraction
    of an instant has no zeros at its end; `<`, `>`, `&`, U+2028 and U+2029 are escaped. sort_maps:
    False where dicts stand for structs. Raises as `encode` does.
    """
    try:
        plain = msgspec.to_builtins(
            value,
            str_keys=True,
            builtin_types=(datetime,),
            order="deterministic" if sort_maps else None,
        )
        if leave_out is not None:
            plain = _without(plain, leave_out)
        return _escape_html(_encode(_as_go(plain)).decode())
    except RecursionError:
        raise ValueError(f"is nested in more than {NESTING_MAX} levels") from None


def text_as_go(text: str) -> str:
    """JSON text as Go passes on what it is given as text: compact and escaped, numbers as spelled.

    text: an object that `object_problem` found nothing wrong with.
    """
    return _escape_html(msgspec.json.format(text, indent=-1))


def go_float(value: float) -> str:
    """The shortest digits that give `value`, laid out as by Go; ValueError if it is not finite."""
    if value - value != 0:
        raise ValueError("NaN and infinities have no form in JSON")
    text = repr(value)
    if text.endswith(".0"):
        return text[:-2]
    if "e" not in text:
        return text
    if 1e-6 <= abs(value) < 1e21:
        return f"{Decimal(text):f}"
    return text.replace("e-0", "e-")


def _as_go(plain: Any) -> Any:
    """Builtins with floats and instants as Go spells them; ValueError for what is not finite."""
    # Loops, as a comprehension would take a second frame for each level, and there may be many.
    if isinstance(plain, dict):
        spelled = {}
        for key, value in plain.items():
            spelled[key] = value if type(value) in _SAME else _as_go(value)
        return spelled
    if isinstance(plain, list | tuple):
        values = []
        for value in plain:
            values.append(value if type(value) in _SAME else _as_go(value))
        return values
    if isinstance(plain, float):
        return msgspec.Raw(go_float(plain).encode())
    if isinstance(plain, datetime):
        text: str = msgspec.to_builtins(plain)
        start, dot, fraction = text.partition(".")
        return f"{start}.{fraction[:6].rstrip('0')}{fraction[6:]}" if dot else text
    return plain


def _may_hold_nan(value: object) -> bool:
    try:
        return _MAYBE_NOT_FINITE.search(_pack(value)) is not None
    except (OverflowError, ValueError, TypeError):
        return True  # an integer that msgpack cannot hold, which JSON can


def _without(plain: Any, key: str) -> Any:
    if isinstance(plain, dict):
        plain.pop(key, None)
    return plain


def _escape_html(text: str) -> str:
    # None of these stands outside of a string.
    for character, escape in _HTML:
        if character in text:
            text = text.replace(character, escape)
    return text
