"""Positions, histories and values of the Postgres source, without a server."""

from __future__ import annotations

import json

import pytest

from riverbridge.sources.postgres_json import Type, Types
from riverbridge.sources.postgres_output import Unread, decode
from riverbridge.sources.postgres_position import Place, Timeline, read_lsn, spell

HISTORY = "1\t0/3000158\tno recovery target specified\n\n2\t1/50\tbefore 2026-01-01\n"


def test_a_position_is_read_as_it_was_written() -> None:
    for text in ("1:0/0+0", "3:16B3748/FFFFFFFF+200000"):
        assert str(Place.parse(text)) == text
    assert read_lsn("1/50") == (1 << 32) + 0x50
    assert spell(read_lsn("AB/1F")) == "AB/1F"


@pytest.mark.parametrize("text", ["", "0", "0/16B3748", "1:0/16B3748", "1:0/g+0", "1:0/1+0\n"])
def test_what_is_no_position_is_said(text: str) -> None:
    with pytest.raises(ValueError, match="has to look like 1:0/16B3748"):
        Place.parse(text)


def test_what_a_predecessor_wrote_behind_the_parting_is_not_in_the_history() -> None:
    timeline = Timeline.parse(3, HISTORY)
    parting = read_lsn("0/3000158")
    assert timeline.of(parting - 1) == 1
    assert timeline.of(parting) == 2
    assert timeline.of(read_lsn("1/50")) == 3
    assert timeline.parting(Place(parting, 0, 1)) is None
    assert timeline.parting(Place(parting + 1, 0, 1)) == parting
    assert timeline.parting(Place(parting + 1, 0, 2)) is None
    assert timeline.parting(Place(1 << 40, 0, 3)) is None
    assert timeline.parting(Place(5, 0, 4)) == 0  # a later one than this server's


TYPES = {
    25: Type(),
    1009: Type(element=25),
    1007: Type(element=23),
    3807: Type(element=3802),
    603: Type(),
    1020: Type(element=603, delimiter=";"),
    50_000: Type(base=1700),
    50_001: Type(fields=(("n", 23), ("text", 25), ("parts", 1009))),
    50_002: Type(element=50_001),
}


class Named:
    """A catalogue with these types."""

    def look_up(self, type_: int) -> Type | None:
        return TYPES.get(type_)

    def primary_key(self, relation: int) -> tuple[str, ...]:
        return ()


@pytest.mark.parametrize(
    ("type_", "raw", "value"),
    [
        (16, "f", False),
        (20, "-9223372036854775808", -(2**63)),
        (1700, "NaN", "NaN"),
        (701, "-Infinity", "-Infinity"),
        (701, "1e+300", 1e300),
        (50_000, "12.50", 12.5),
        (3802, '{"a": [1]}', {"a": [1]}),
        (25, 'a "b"\\\n\u20ac', 'a "b"\\\n\u20ac'),
        (1114, "infinity", "infinity"),
        (1114, "2026-01-02 03:04:05.6", "2026-01-02T03:04:05.6"),
        (1184, "0044-03-15 00:00:00+00 BC", "0044-03-15T00:00:00+00:00 BC"),
        (1007, "{}", []),
        (1007, "[0:1]={1,NULL}", [1, None]),
        (1007, "{{1,2},{3,4}}", [[1, 2], [3, 4]]),
        (1009, r'{a,"b, \"c\" \\ {}","",NULL,"NULL"}', ["a", 'b, "c" \\ {}', "", None, "NULL"]),
        (3807, r'{"{\"a\": \"b,\\\"}\"}",1}', [{"a": 'b,"}'}, 1]),
        (1020, "{(1,1),(0,0);(2,2),(1,1)}", ["(1,1),(0,0)", "(2,2),(1,1)"]),
        (50_001, '(1,,)', {"n": 1, "text": None, "parts": None}),
        (50_001, r'(,"a ""b"" \\ (,)","{x,""y z""}")',
         {"n": None, "text": 'a "b" \\ (,)', "parts": ["x", "y z"]}),
        (50_001, '(1)', "(1)"),
        (50_002, r'{"(1,\"a b\",)","(2,,{})"}',
         [{"n": 1, "text": "a b", "parts": None}, {"n": 2, "text": None, "parts": []}]),
        (99_999, "of a type that is gone", "of a type that is gone"),
    ],
)  # fmt: skip
def test_values_become_json(type_: int, raw: str, value: object) -> None:
    written = Types(Named()).convert(type_)(raw.encode())
    assert json.loads(written) == value


def test_every_digit_of_a_number_stays() -> None:
    digits = b"1" * 500 + b"." + b"2" * 500
    assert Types(Named()).convert(1700)(digits) == digits


def test_a_text_of_no_encoding_stays_as_it_is() -> None:
    assert Types(Named()).convert(25)(b'\xff"') == b'"\xff\\""'


def test_a_message_of_a_newer_protocol_is_said_to_be_one() -> None:
    with pytest.raises(Unread, match="'S'"):
        decode(b"S....")
