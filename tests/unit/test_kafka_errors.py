from __future__ import annotations

from typing import cast

import pytest
from confluent_kafka import KafkaError

from riverbridge.model.outcome import Misconfigured, Outcome, Permanent, Retry, Unreachable
from riverbridge.sinks.kafka_errors import JUDGED_BY_BATCH, Meaning, classify, outcome_of

PERMANENT = [4, 10, 17, 18, 32, 87, -199, -186]
MISCONFIGURED = [3, 29, 30, 31, 33, 34, 35, 40, 43, 44, 54, 58, 66, 76, 93, 100, -188, -181, -169]
RETRY = [-1, 2, 5, 6, 8, 9, 14, 15, 16, 19, 41, 56, 74, 75, 80, 89, -138, -153]
RETRY_AMBIGUOUS = [7, 13, 20]
SILENT = [-195, -193, -192, -187, -185, -166, -151]
FATAL = [45, 47, 49, 59, 90, -150, -144, -148]
TABLE = [
    *((code, Meaning.PERMANENT) for code in PERMANENT),
    *((code, Meaning.MISCONFIGURED) for code in MISCONFIGURED),
    *((code, Meaning.RETRY) for code in RETRY),
    *((code, Meaning.RETRY_AMBIGUOUS) for code in RETRY_AMBIGUOUS),
    *((code, Meaning.SILENT) for code in SILENT),
    *((code, Meaning.FATAL) for code in FATAL),
    (-152, Meaning.UNSENT),
]


@pytest.mark.parametrize(("code", "meaning"), TABLE)
def test_each_code_means_one_thing(code: int, meaning: Meaning) -> None:
    assert classify(code) is meaning


def test_the_table_names_codes_the_library_knows() -> None:
    known = {v for v in vars(KafkaError).values() if isinstance(v, int)}
    assert {code for code, _ in TABLE} <= known


def test_an_unknown_code_is_tried_again() -> None:
    assert classify(31_000) is Meaning.RETRY


def test_what_a_broker_says_of_a_batch_is_checked_alone() -> None:
    assert {10, 18, 32, 87, -138} <= JUDGED_BY_BATCH
    assert not JUDGED_BY_BATCH & {3, 6, 7, 19, 29, -192}


@pytest.mark.parametrize(
    ("meaning", "answering", "fault", "expected"),
    [
        (Meaning.PERMANENT, False, "login", Permanent("x")),
        (Meaning.MISCONFIGURED, True, None, Misconfigured("x")),
        (Meaning.RETRY, False, None, Retry("x")),
        (Meaning.RETRY_AMBIGUOUS, False, None, Retry("x", ambiguous=True)),
        (Meaning.FATAL, False, "login", Retry("x", ambiguous=True)),
        (Meaning.SILENT, True, None, Retry("x", ambiguous=True)),
        (Meaning.SILENT, False, None, Unreachable("x")),
        (Meaning.SILENT, False, "login", Misconfigured("login")),
        (Meaning.UNSENT, True, None, Unreachable("x")),
        (Meaning.UNSENT, False, "login", Misconfigured("login")),
    ],
)
def test_the_outcome_depends_on_whether_the_brokers_answer(
    meaning: Meaning, answering: bool, fault: str | None, expected: Outcome
) -> None:
    given = outcome_of(meaning, "x", answering=answering, fault=fault)
    assert given == cast(object, expected)
