"""Outcomes to rows, waits between attempts, and error texts."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from riverbridge.model.job import JobState
from riverbridge.model.outcome import (
    Cancelled,
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
)
from riverbridge.model.retry import LONGEST, ExponentialRetry, FixedRetry, RiverRetry
from riverbridge.model.settlement import LAST_ATTEMPT, Settlement, released, settlement
from riverbridge.model.text import LIMIT, error_text
from tests.support.jobs import job

SOON, LATE = FixedRetry(1.0), FixedRetry(100.0)
FINAL = {JobState.COMPLETED, JobState.DISCARDED, JobState.CANCELLED}


def test_each_outcome_leaves_its_row() -> None:
    one = job(id=7, attempt=2)
    assert settlement(one, Delivered("x"), retry=SOON) == Settlement(7, JobState.COMPLETED, 3)
    assert settlement(one, Permanent("no"), retry=SOON) == Settlement(
        7, JobState.DISCARDED, 3, "no"
    )
    assert settlement(one, Cancelled("old"), retry=SOON) == Settlement(
        7, JobState.CANCELLED, 3, "old"
    )
    assert settlement(one, Unreachable("x"), retry=SOON) is None
    assert settlement(one, Misconfigured("x"), retry=SOON) is None
    assert released(one) == Settlement(7, JobState.AVAILABLE, 2)


class WholeSeconds:
    """A policy of an application's own."""

    def delay(self, failures: int) -> float:
        return 60


def test_a_wait_in_whole_seconds_is_a_number_as_others() -> None:
    """psycopg refuses lists of both kinds of numbers."""
    for outcome in (Retry("no"), Retry("no", delay=60)):
        row = settlement(job(), outcome, retry=WholeSeconds())
        assert row is not None
        assert type(row.delay) is float


@pytest.mark.parametrize(
    ("policy", "state"), [(SOON, JobState.AVAILABLE), (LATE, JobState.RETRYABLE)]
)
def test_a_near_retry_skips_retryable(policy: FixedRetry, state: JobState) -> None:
    row = settlement(job(attempt=0), Retry("x"), retry=policy)
    assert row is not None
    assert (row.state, row.attempt, row.error) == (state, 1, "x")
    assert row.delay == pytest.approx(policy.seconds, rel=0.1001)


@pytest.mark.parametrize(
    ("policy", "after", "delay"), [(SOON, 90.0, 90.0), (LATE, 60.0, 100.0), (LATE, 0.0, 100.0)]
)
def test_the_next_attempt_is_not_before_the_receiver_asked_for_it(
    policy: FixedRetry, after: float, delay: float
) -> None:
    row = settlement(job(attempt=0), Retry("x", after=after), retry=policy)
    assert row is not None
    assert row.state is JobState.RETRYABLE
    assert row.delay == pytest.approx(delay, rel=0.1001)


@pytest.mark.parametrize(
    ("attempt", "own", "route", "state"),
    [
        (23, 25, None, JobState.AVAILABLE),
        (24, 25, None, JobState.DISCARDED),
        (30, 25, None, JobState.DISCARDED),
        (1, 25, 3, JobState.AVAILABLE),
        (2, 25, 3, JobState.DISCARDED),
        (2, 3, 25, JobState.DISCARDED),
        (0, 1, None, JobState.DISCARDED),
        (LAST_ATTEMPT, LAST_ATTEMPT, None, JobState.DISCARDED),
        (LAST_ATTEMPT - 1, LAST_ATTEMPT, None, JobState.DISCARDED),
    ],
)
def test_the_last_attempt_discards(
    attempt: int, own: int, route: int | None, state: JobState
) -> None:
    one = job(attempt=attempt, max_attempts=own)
    row = settlement(one, Retry("x"), retry=SOON, max_attempts=route)
    assert row is not None
    assert row.state is state
    assert row.attempt == min(attempt + 1, LAST_ATTEMPT)
    assert (row.delay is None) == (state is JobState.DISCARDED)


@pytest.mark.parametrize(
    ("metadata", "snoozes"),
    [
        ("{}", 1),
        ('{"snoozes": 4}', 5),
        ('{"snoozes": "x"}', 1),
        ('{"snoozes": null}', 1),
        ("[1]", 1),
        ('{"a": ' * 5000 + "1" + "}" * 5000, 1),
    ],
    ids=range(6),
)
def test_a_snooze_gives_the_attempt_back_and_counts(metadata: str, snoozes: int) -> None:
    near = settlement(job(attempt=3, metadata=metadata), Snoozed(5.0), retry=SOON)
    far = settlement(job(attempt=3, metadata=metadata), Snoozed(5.1), retry=SOON)
    assert near is not None
    assert far is not None
    assert (near.state, far.state) == (JobState.AVAILABLE, JobState.SCHEDULED)
    for row in (near, far):
        assert (row.attempt, row.error) == (3, None)
        assert json.loads(row.metadata or "") == {"snoozes": snoozes}


errors = st.text(st.characters())
outcomes: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Delivered),
    st.builds(Retry, errors, st.booleans()),
    st.builds(Permanent, errors),
    st.builds(Cancelled, errors),
    st.builds(Snoozed, st.floats(0, 1e6)),
    st.builds(Unreachable, errors),
    st.builds(Misconfigured, errors),
)


@given(
    outcome=outcomes,
    attempt=st.integers(0, LAST_ATTEMPT),
    own=st.integers(1, LAST_ATTEMPT),
    failures=st.integers(0, LAST_ATTEMPT),
    route=st.none() | st.integers(1, LAST_ATTEMPT),
)
def test_every_row_is_one_that_river_could_have_left(
    outcome: Outcome, attempt: int, own: int, failures: int, route: int | None
) -> None:
    one = job(attempt=attempt, max_attempts=own, failures=failures)
    row = settlement(one, outcome, retry=RiverRetry(), max_attempts=route)
    if row is None:
        assert isinstance(outcome, Unreachable | Misconfigured)
        return
    assert 0 <= row.attempt <= LAST_ATTEMPT
    assert row.attempt in (attempt, attempt + 1)
    failed = isinstance(outcome, Retry | Permanent | Cancelled)
    assert (row.error is not None) == failed
    assert (row.delay is None) == (row.state in FINAL)
    assert row.state not in (JobState.RUNNING, JobState.PENDING)
    if row.state is JobState.DISCARDED and not isinstance(outcome, Permanent):
        assert row.attempt >= min(own, route or own)


@pytest.mark.parametrize(
    ("failures", "seconds"),
    [(0, 1), (1, 16), (2, 81), (3, 256), (4, 625), (9, 10_000), (23, 331_776)],
)
def test_rivers_waits(failures: int, seconds: int) -> None:
    waits = [RiverRetry().delay(failures) for _ in range(300)]
    assert seconds * 0.9 <= min(waits) < seconds * 0.95
    assert seconds * 1.05 < max(waits) <= seconds * 1.1


def test_no_wait_is_longer_than_rivers_longest() -> None:
    # The 309th failure is the last whose base is below the limit; a tenth more is above it.
    near = [RiverRetry().delay(308) for _ in range(200)]
    assert max(near) == LONGEST
    assert min(near) < LONGEST
    assert RiverRetry().delay(LAST_ATTEMPT) == LONGEST


def test_other_waits() -> None:
    assert FixedRetry(10).delay(99) == pytest.approx(10, rel=0.1001)
    doubling = ExponentialRetry(2, 60)
    for failures, seconds in [(0, 2), (1, 4), (4, 32), (5, 60), (99_999, 60)]:
        assert doubling.delay(failures) == pytest.approx(seconds, rel=0.1001)


@given(errors)
def test_an_error_text_is_one_that_a_row_can_hold(text: str) -> None:
    clean = error_text(text)
    assert len(clean.encode()) <= LIMIT  # raises at half a surrogate pair
    assert "\x00" not in clean


@pytest.mark.parametrize("letter", ["x", "é", "語", "😀", "\x00", "\ud800"])
def test_a_long_error_text_is_cut_between_characters_and_says_so(letter: str) -> None:
    short = letter * (LIMIT // 8)
    assert not error_text(short).endswith("(cut)")
    clean = error_text("ab" + letter * LIMIT)
    assert LIMIT - 8 <= len(clean.encode()) <= LIMIT
    assert clean.endswith(" … (cut)")
    assert "\ufffd" not in clean
    assert error_text("x" * LIMIT) == "x" * LIMIT
