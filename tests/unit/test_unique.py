"""Unique keys and masks: River's vectors (contract 4.6), its quirks, and what is refused."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from riverbridge import InvalidJob, JobState, UniqueOpts, unique_key

NOW = datetime(2024, 9, 18, 12, 34, 56, 789000, tzinfo=UTC)
CHARGE = '{"customer_id":"c1","amount":10.5,"note":"x"}'
SORTED = '{"amount":10.5,"customer_id":"c1","note":"x"}'
REQUIRED = [JobState.AVAILABLE, JobState.PENDING, JobState.RUNNING, JobState.SCHEDULED]
RAW = (
    r'{"uni":"héllo ☃ 😀","n":null,"html":"\u003ca\u0026b\u003e\u2028","b":{"a":2,"z":1},'
    r'"a":["x",1e+21,1e-7,100]}'
)
RAW_SORTED = (
    r'{"a":["x",1e+21,1e-7,100],"b":{"a":2,"z":1},"html":"\u003ca\u0026b\u003e\u2028","n":null,'
    r'"uni":"héllo ☃ 😀"}'
)

ALL = UniqueOpts(by_args=True)
EVERYTHING = UniqueOpts(True, timedelta(hours=24), True, list(JobState))
QUARTER = UniqueOpts(by_period=timedelta(minutes=15))
EMAIL = UniqueOpts(by_args=["subject", "recipient"])
NESTED = '{"customer":{"id":"42","name":"Bob"},"trace_id":"t","a_zone":"z1"}'
SPACED = '{"b": {"y": 1,  "x": 2}, "a": 1.0, "c": 1e3}'
SPACED_SORTED = '{"a":1.0,"b":{"y": 1,  "x": 2},"c":1e3}'
EAST = timezone(timedelta(hours=2))

# The contract's 16, by number; 7 is what a Go host with another zone than UTC would write.
VECTORS: list[tuple[int, str, str, UniqueOpts, str, str]] = [
    (1, "charge", CHARGE, ALL, f"&kind=charge&args={SORTED}",
     "b3468e7afaccdad6a84c50b1de8c200d62d77ab258d840c1d4de1b23532e9fb3"),
    (2, "email", '{"recipient":"a@b.c","subject":"Hi","body":"zzz"}', EMAIL,
     '&kind=email&args={"recipient":"a@b.c","subject":"Hi"}',
     "90433a9843e706718b0bb40ccf3e42af575bc5942cb0e8128fe65c35c50ea3ea"),
    (3, "email", '{"recipient":"a@b.c","body":"zzz"}', EMAIL,
     '&kind=email&args={"recipient":"a@b.c"}',
     "aa0d5eb6f3319d01696404ceff7b141e28694bb485d689abcfb9f8f6d28c65f8"),
    (4, "nested", NESTED, UniqueOpts(by_args=["customer.id", "a_zone"]),
     '&kind=nested&args={"a_zone":"z1","customer":{"id":"42"}}',
     "b209b9c9e5fa4f35109fef026e358e354b3bf12ddbed871ab1c67d472bb7f163"),
    (5, "charge", CHARGE, QUARTER, "&kind=charge&period=2024-09-18T12:30:00Z",
     "9d9ad02fd8657e89d14d1910ad426841bfadb12fcf1e97e2aaa24da43ffef3ef"),
    (6, "charge", CHARGE, UniqueOpts(by_period=7 * 24 * 3600),
     "&kind=charge&period=2024-09-16T00:00:00Z",
     "3fda6c24f92e160b35981d4d679d66446e8e1c93720cb4a4f11509b197191339"),
    (8, "charge", CHARGE, UniqueOpts(by_queue=True), "&kind=charge&queue=high",
     "26a91fce0602517396e563ae30a767f9aec7d2320d2c554f8cedbce054d7985b"),
    (9, "charge", CHARGE, EVERYTHING,
     f"&kind=charge&args={SORTED}&period=2024-09-18T00:00:00Z&queue=high",
     "3673b315e917d052e2f09ba6730880b40a49a2c034674502f1eb77add817485b"),
    (10, "charge", CHARGE, UniqueOpts(by_args=True, exclude_kind=True), f"&args={SORTED}",
     "c8a662d6a4d9c7fb58c96dd93d315ba1b318b4d9216870bd73c53a7442b38097"),
    (11, "allmissing", '{"a":1}', UniqueOpts(by_args=["b"]), "&kind=allmissing&args=",
     "1d3d3a771ed82e24ceac90ea87877c75139dfc6ab46054a88e01ba1281f573f0"),
    (12, "charge", CHARGE, UniqueOpts(by_state=REQUIRED), "&kind=charge",
     "3f325e1cf3e8def002e5fff08491b296398b524d9200b771f1857dcfd7e66e4e"),
    (13, "empty", "{}", ALL, "&kind=empty&args={}",
     "88625ed945004243a273b45e5cf14faf6b91c6bb4a6e6cc621d859637385f9ec"),
    (14, "whole", '{"customer":{"z":"zz","id":"1"},"t":"t"}', UniqueOpts(by_args=["customer"]),
     '&kind=whole&args={"customer":{"z":"zz","id":"1"}}',
     "c29264d44e3b863ffcc07121cbcb9333749473c8e21deb96e6e358f141be2efd"),
    (15, "rawjson", SPACED, ALL, f"&kind=rawjson&args={SPACED_SORTED}",
     "2769412679c060873f670ef65609763d06e64fec938ef05d5eae7c482a8b37ea"),
    (16, "raw", RAW, ALL, f"&kind=raw&args={RAW_SORTED}",
     "3c72158b9308e42884d4b523230c432e38f7da5a548248d3ec96326ba0da53b3"),
]  # fmt: skip


def key(
    args: str, opts: UniqueOpts = ALL, *, kind: str = "k", queue: str = "high", now: Any = NOW
) -> bytes | None:
    return unique_key(kind, args, queue=queue, unique_opts=opts, now=now)


def hashed(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


@pytest.mark.parametrize(
    ("number", "kind", "args", "opts", "text", "digest"), VECTORS, ids=lambda value: str(value)[:12]
)
def test_rivers_vectors(
    number: int, kind: str, args: str, opts: UniqueOpts, text: str, digest: str
) -> None:
    assert hashed(text).hex() == digest, "the vector itself"
    found = key(args, opts, kind=kind)
    assert found is not None
    assert found.hex() == digest


def test_vector_7_a_period_is_the_same_instant_from_any_zone_and_is_written_in_utc() -> None:
    assert key("{}", QUARTER, kind="charge", now=NOW.astimezone(EAST)) == key(
        "{}", QUARTER, kind="charge"
    )
    local = hashed("&kind=charge&period=2024-09-18T14:30:00+02:00").hex()
    assert local == "209409d2d3d4d91e6ef6f65267aaa191abfa8b33f2146e4413b3669a2145cd85"


@pytest.mark.parametrize(
    ("opts", "mask"),
    [
        (UniqueOpts(), 0xF5),
        (UniqueOpts(by_state=[]), 0xF5),
        (EVERYTHING, 0xFF),
        (UniqueOpts(by_state=REQUIRED), 0xD1),
        (UniqueOpts(by_state=[*REQUIRED, JobState.AVAILABLE, JobState.DISCARDED]), 0xD9),
    ],
    ids=["none", "empty", "all", "required", "twice"],
)
def test_masks(opts: UniqueOpts, mask: int) -> None:
    assert opts.state_mask() == mask


@pytest.mark.parametrize(
    "opts",
    [
        UniqueOpts(),
        UniqueOpts(exclude_kind=True),
        UniqueOpts(by_period=0),
        UniqueOpts(by_period=timedelta(0)),
    ],
)
def test_empty_options_make_no_job_unique(opts: UniqueOpts) -> None:
    assert opts.is_empty
    assert key("{}", opts) is None


def test_an_empty_list_of_states_makes_the_job_unique() -> None:
    assert key("{}", UniqueOpts(by_state=[])) == hashed("&kind=k")


@pytest.mark.parametrize(
    ("args", "counted"),
    [
        ('{"é":4,"alpha":2,"_x":3,"Zed":1,"9":6,"10":5}',
         '{"10":5,"9":6,"Zed":1,"_x":3,"alpha":2,"é":4}'),
        ('{"😀":1,"\uffff":2}', '{"\uffff":2,"😀":1}'),
        (' { "b" : 1 ,\n"a" :\t[ 1, 2 ]\r} ', '{"a":[ 1, 2 ],"b":1}'),
        (r'{"\u0062":"\u0061\/","a":1.50}', r'{"a":1.50,"b":"\u0061\/"}'),
        (r'{"<b":"\u003c"}', r'{"<b":"\u003c"}'),
        ('{"中é":1,"<é":2}', r'{"\u003cé":2,"中é":1}'),
        (r'{"é\u2028&":1}', r'{"é\u2028\u0026":1}'),
        (r'{"a\"<":1,"b\n\b\u0001":2}', r'{"a\"\u003c":1,"b\n\b\u0001":2}'),
        ('{"\x7f>":1}', '{"\x7f>":1}'),
        ('{"a":{"b.c":1,"b":{"*":[]}}}', '{"a":{"b.c":1,"b":{"*":[]}}}'),
        (r'{"a\ud83d\ude00":1}', '{"a😀":1}'),
    ],
)  # fmt: skip
def test_what_is_counted_of_all_args(args: str, counted: str) -> None:
    assert key(args) == hashed(f"&kind=k&args={counted}")


@pytest.mark.parametrize(
    ("paths", "args", "counted"),
    [
        (["b.x", "b-c"], '{"b":{"x":1},"b-c":2}', '{"b-c":2,"b":{"x":1}}'),
        (["a.b", "a.c.d", "z"], '{"z":0,"a":{"c":{"d":[1, 2],"e":1},"b":null}}',
         '{"a":{"b":null,"c":{"d":[1, 2]}},"z":0}'),
        (["a.b"], '{"a":null}', ""),
        (["a.b"], '{"a":"{\\"b\\":1}"}', ""),
        (["a.b"], '{"a":[{"b":1}]}', ""),
        (["a.b"], '{"a.b":1}', ""),
        (["a", "a.b", "a-b"], '{"a":{"b":1,"c":2},"a-b":3}', '{"a":{"b":1,"c":2},"a-b":3}'),
        (["a", "a"], '{"a":1}', '{"a":1}'),
        (["é<"], '{"é<":1,".":2}', r'{"é\u003c":1}'),
        (["a"], '{"b":1,"b":2,"a":1}', None),
        (["a.b"], '{"a":{"b":1,"b":2}}', None),
    ],
)  # fmt: skip
def test_what_is_counted_of_paths(paths: list[str], args: str, counted: str | None) -> None:
    if counted is None:
        with pytest.raises(InvalidJob, match="the key 'b' is there twice"):
            key(args, UniqueOpts(by_args=paths))
    else:
        assert key(args, UniqueOpts(by_args=paths)) == hashed(f"&kind=k&args={counted}")


@pytest.mark.parametrize(
    ("period", "began"),
    [
        (7, "2024-09-18T12:34:52Z"),
        (3600 * 24 * 365, "2024-08-28T00:00:00Z"),
        (timedelta(seconds=1.5), "2024-09-18T12:34:55Z"),
        (timedelta(seconds=1, microseconds=1), "2024-09-18T12:34:56Z"),
        (1, "2024-09-18T12:34:56Z"),
        (9223372036, "1754-08-30T22:43:36Z"),
    ],
)
def test_periods_begin_in_the_year_1(period: timedelta | int, began: str) -> None:
    assert key("{}", UniqueOpts(by_period=period)) == hashed(f"&kind=k&period={began}")


def test_the_first_years_are_written_in_four_digits() -> None:
    early = datetime(7, 1, 1, 12, tzinfo=UTC)
    assert key("{}", UniqueOpts(by_period=86400), now=early) == hashed(
        "&kind=k&period=0007-01-01T00:00:00Z"
    )


@pytest.mark.parametrize(
    "key_text",
    ["", "a.b", "a*", "a?", "a|b", "#", "a@b", "@this", "[b", "{a}", ":5", "!true", "a\\\\b", "."],
)
def test_keys_that_river_garbles_are_refused(key_text: str) -> None:
    with pytest.raises(InvalidJob, match=r"^args: .*key"):
        key(f'{{"{key_text}":1,"c":2}}')
    assert key(f'{{"{key_text}":1,"c":2}}', UniqueOpts(by_args=["c"])) == hashed(
        '&kind=k&args={"c":2}'
    ), "what is not counted does no harm"


@pytest.mark.parametrize("args", ['{"a":1,"a":2}', r'{"a":1,"\u0061":1}', '{"a":1,"b":2, "a":{}}'])
def test_a_counted_key_there_twice_is_refused(args: str) -> None:
    with pytest.raises(InvalidJob, match=r"^args: the key 'a' is there twice"):
        key(args)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"by_args": "a"}, "unique_opts.by_args: must be True, False or a list"),
        ({"by_args": 1}, "unique_opts.by_args: must be True, False or a list"),
        ({"by_args": []}, "unique_opts.by_args: the list has no path"),
        ({"by_args": ["a", 1]}, "unique_opts.by_args[1]: must be text, not int"),
        ({"by_args": ["a..b"]}, "unique_opts.by_args[0]: an empty key"),
        ({"by_args": ["a.#"]}, "unique_opts.by_args[0]: the key '#' holds '#'"),
        ({"by_args": ["a.1"]}, "unique_opts.by_args[0]: the key '1' of a path is an index"),
        ({"by_args": ["-1"]}, "unique_opts.by_args[0]: the key '-1' of a path is an index"),
        ({"by_period": 0.5}, "unique_opts.by_period: must be a timedelta or a whole number"),
        ({"by_period": True}, "unique_opts.by_period: must be a timedelta"),
        ({"by_period": timedelta(microseconds=999_999)}, "0:00:00.999999 is out of range: use 1 s"),
        ({"by_period": -1}, "unique_opts.by_period: -1 is out of range"),
        ({"by_period": 9223372037}, "unique_opts.by_period: 9223372037 is out of range"),
        ({"by_period": 10**30}, "is out of range: use 1 second to 292 years"),
        ({"by_queue": 1}, "unique_opts.by_queue: must be True or False"),
        ({"exclude_kind": "no"}, "unique_opts.exclude_kind: must be True or False"),
        ({"by_state": "available"}, "unique_opts.by_state: must be a list of states"),
        ({"by_state": ["available", "done"]}, "unique_opts.by_state[1]: 'done' is no state"),
        ({"by_state": [JobState.PENDING, JobState.RUNNING]}, "missing: available, scheduled"),
    ],
    ids=str,
)
def test_options_refused_with_field_and_rule(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        UniqueOpts(**given)
    assert says in str(refused.value)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"kind": ""}, "kind: has 0 characters"),
        ({"queue": "A"}, "queue: 'A' is not allowed"),
        ({"args": "[]"}, "args: must be a JSON object, not an array"),
        ({"args": '{"a":NaN}'}, "args: is not JSON"),
        ({"opts": {"by_args": True}}, "unique_opts: must be UniqueOpts, not dict"),
        (
            {"opts": QUARTER, "now": datetime(2024, 1, 1)},
            "now: must be a datetime with a time zone",
        ),
    ],
    ids=str,
)
def test_jobs_refused_with_field_and_rule(given: dict[str, Any], says: str) -> None:
    with pytest.raises(InvalidJob) as refused:
        key(**{"args": "{}"} | given)
    assert says in str(refused.value)
