"""How values become JSON text, quickly and in Go's spelling; tests/interop/keys asks Go itself."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given

from riverbridge.model.json_object import NESTING_MAX
from riverbridge.model.json_text import encode, encode_as_go, go_float, text_as_go
from tests.support.json_values import finite, objects

NAN, INFINITE = float("nan"), float("inf")


@dataclass
class Inner:
    z: Any = 1
    a: Any = 2


@dataclass
class Holds:
    value: Any
    inner: Inner | None = None
    by_name: dict[Any, Any] = field(default_factory=dict)


@given(objects)
def test_both_spellings_mean_what_was_given(value: dict[str, Any]) -> None:
    assert json.loads(encode(value)) == value
    # 3e16 is an integer in Go's spelling, and equal as a float only.
    for spelled in (encode(value), encode_as_go(value)):
        assert json.loads(spelled, parse_int=float) == json.loads(
            json.dumps(value), parse_int=float
        )


@pytest.mark.parametrize(
    "value",
    [
        Holds(NAN),
        Holds(INFINITE, Inner(None)),
        Holds(1, Inner(-INFINITE)),
        Holds(None, by_name={"a": [1.0, NAN]}),
        Holds(10**30, by_name={"a": (None, {"b": NAN})}),
        {"a": [NAN]},
    ],
    ids=str,
)
@pytest.mark.parametrize("write", [encode, encode_as_go])
def test_what_is_not_finite_is_refused_wherever_it_is(write: Any, value: Any) -> None:
    with pytest.raises(ValueError, match="NaN and infinities have no form in JSON"):
        write(value)


@pytest.mark.parametrize("write", [encode, encode_as_go])
def test_null_is_no_nan(write: Any) -> None:
    text = write(Holds(None, Inner(10**30, [None, "null"]), {"a": 1.5}))
    assert text == (
        '{"value":null,"inner":{"z":1000000000000000000000000000000,"a":[null,"null"]},'
        '"by_name":{"a":1.5}}'
    )


@pytest.mark.parametrize("write", [encode, encode_as_go])
def test_an_endless_value_is_refused(write: Any) -> None:
    endless: dict[str, Any] = {}
    endless["a"] = endless
    with pytest.raises(ValueError, match="levels"):
        write(endless)


@pytest.mark.parametrize("write", [encode, encode_as_go])
def test_as_deep_as_a_row_may_hold(write: Any) -> None:
    value: Any = [0.5]
    for _ in range((NESTING_MAX - 1) // 2):
        value = [{"a": value}]
    assert write(value) == json.dumps(value, separators=(",", ":"))


@pytest.mark.parametrize("write", [encode, encode_as_go])
def test_half_a_surrogate_pair_is_told_from_other_faults(write: Any) -> None:
    with pytest.raises(UnicodeEncodeError):
        write({"a": "\ud800"})


@pytest.mark.parametrize("write", [encode, encode_as_go])
def test_a_field_is_left_out_at_the_top_only(write: Any) -> None:
    value = Holds(1, None, {"value": 2})
    assert write(value, leave_out="value") == '{"inner":null,"by_name":{"value":2}}'


EAST = timezone(timedelta(hours=5, minutes=30))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": {"d": 1, "c": 2}}, '{"a":{"c":2,"d":1},"b":1}'),
        ({10: 1, 9: 2, "x": 3}, '{"10":1,"9":2,"x":3}'),
        ({"\uffff": 1, "😀": 2, "é": 3, "Z": 4}, '{"Z":4,"é":3,"\uffff":1,"😀":2}'),
        (Inner({"y": 1, "x": 2}, {"b", "a"}), '{"z":{"x":2,"y":1},"a":["a","b"]}'),
        (Inner([Inner()], (2.0, -0.0)), '{"z":[{"z":1,"a":2}],"a":[2,-0]}'),
        (Inner("<a&b>\u2028\u2029é", "\x7f"),
         r'{"z":"\u003ca\u0026b\u003e\u2028\u2029é","a":"' + '\x7f"}'),
        (Inner("\b\f\n\r\t\x01\"\\/"), r'{"z":"\b\f\n\r\t\u0001\"\\/","a":2}'),
        ({"<": 1}, r'{"\u003c":1}'),
        (Inner(datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)), '{"z":"2026-01-02T03:04:05Z","a":2}'),
        (Inner(datetime(2026, 1, 2, 3, 4, 5, 120000, UTC)),
         '{"z":"2026-01-02T03:04:05.12Z","a":2}'),
        (Inner(datetime(2026, 1, 2, 3, 4, 5, 1, EAST)),
         '{"z":"2026-01-02T03:04:05.000001+05:30","a":2}'),
        (Inner([datetime(2026, 1, 2, 3, 4, 5, 500000)]), '{"z":["2026-01-02T03:04:05.5"],"a":2}'),
        (Inner("2026-01-02T03:04:05.120000Z"), '{"z":"2026-01-02T03:04:05.120000Z","a":2}'),
        (Inner(b"\xff\xfe", None), '{"z":"//4=","a":null}'),
    ],
    ids=str,
)  # fmt: skip
def test_gos_spelling(value: object, text: str) -> None:
    assert encode_as_go(value) == text


def test_dicts_that_stand_for_structs_keep_their_order() -> None:
    assert encode_as_go({"b": 2.0, "a": {"d": 1, "c": 2}}, sort_maps=False) == (
        '{"b":2,"a":{"d":1,"c":2}}'
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2.0, "2"), (-0.0, "-0"), (10.5, "10.5"), (1e20, "100000000000000000000"), (1e21, "1e+21"),
        (1.5e21, "1.5e+21"), (1e16, "10000000000000000"), (1e-6, "0.000001"), (1e-7, "1e-7"),
        (-1.5e-9, "-1.5e-9"), (1e-10, "1e-10"), (123456789.125, "123456789.125"),
        (5e-324, "5e-324"), (1.7976931348623157e308, "1.7976931348623157e+308"), (1e-5, "0.00001"),
    ],
)  # fmt: skip
def test_gos_floats(value: float, text: str) -> None:
    assert go_float(value) == text


@given(finite)
def test_a_float_reads_back(value: float) -> None:
    assert float(go_float(value)) == value


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (' { "b" : [ 1 , 2.0 ] ,\n\t"a" : { } }\r', '{"b":[1,2.0],"a":{}}'),
        ('{"a": 1E+2, "b": -0.00, "a": 1}', '{"a":1E+2,"b":-0.00,"a":1}'),
        (r'{"< ": "a & b\u00e9\/\u003c"}', r'{"\u003c ":"a \u0026 b\u00e9\/\u003c"}'),
        ('{"a":"\u2028"}', r'{"a":"\u2028"}'),
    ],
)  # fmt: skip
def test_text_passes_through_go_compact_and_escaped_only(given: str, text: str) -> None:
    assert text_as_go(given) == text
