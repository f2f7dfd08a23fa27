"""Whose turn it is: lines, gaps and waves, against what they promise."""

from __future__ import annotations

import time
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from riverbridge.engine.batch import Batch
from riverbridge.engine.lines import Lines
from riverbridge.engine.missing import MOST, Missing
from riverbridge.engine.waves import Waves
from riverbridge.model.outcome import Delivered, Outcome, Retry, Withheld
from riverbridge.model.receipt import Receipt
from riverbridge.store.order import Standing
from tests.support.jobs import ATaker, job

COMES_BACK = Standing(ready=False, out=False)
READY = Standing(ready=True, out=False)
AT_WORK = Standing(ready=False, out=True)


class World:
    """What becomes of jobs, and what the lines may never do."""

    def __init__(self) -> None:
        self.lines = Lines()
        self.available: dict[int, str] = {}
        self.kept: dict[int, str] = {}

    def add(self, id_: int, key: str) -> None:
        if id_ not in self.kept:
            self.available[id_] = key
            self.lines.add(id_, key)

    def take(self, limit: int, depth: int) -> None:
        taken = self.lines.take(limit, depth)
        assert len(taken) == len(set(taken)) <= limit
        busy = set(self.kept.values())
        open_ = {key for key in self.available.values() if key not in busy}
        by_key: dict[str, list[int]] = {}
        for id_ in taken:
            by_key.setdefault(self.available[id_], []).append(id_)
        assert by_key.keys() <= open_
        assert len(by_key) == min(limit, len(open_))
        for key, ids in by_key.items():
            first = sorted(id_ for id_, other in self.available.items() if other == key)
            assert ids == first[: len(ids)]
            assert len(ids) <= depth
        for id_ in taken:
            self.kept[id_] = self.available.pop(id_)

    def look(self, fates: Sequence[int]) -> None:
        asked = sorted(self.lines.kept)
        assert asked == sorted(self.kept)
        found: dict[int, Standing] = {}
        for id_, fate in zip(asked, fates, strict=False):
            if fate == 0:
                del self.kept[id_]
            elif fate == 1:
                found[id_] = READY
                self.available[id_] = self.kept.pop(id_)
            else:
                found[id_] = COMES_BACK if fate == 2 else AT_WORK
        self.lines.looked(asked[: len(fates)], found)

    def check(self) -> None:
        assert self.lines.waiting == len(self.available)
        open_ = set(self.available.values()) - set(self.kept.values())
        assert self.lines.ready(10_000, 10_000) == sum(
            key in open_ for key in self.available.values()
        )


STEPS = st.one_of(
    st.tuples(st.just("add"), st.integers(1, 60), st.sampled_from("abcd")),
    st.tuples(st.just("take"), st.integers(1, 6), st.integers(1, 3)),
    st.tuples(st.just("look"), st.lists(st.integers(0, 3), max_size=8)),
)


@given(st.lists(STEPS, max_size=60))
def test_a_key_goes_by_id_and_waits_for_what_is_kept(steps: list[tuple[object, ...]]) -> None:
    world = World()
    keys: dict[object, object] = {}
    for name, *given_ in steps:
        if name == "add":
            given_[1] = keys.setdefault(given_[0], given_[1])  # a row keeps its key
        getattr(world, str(name))(*given_)
        world.check()


def test_a_failing_job_lets_its_key_go_after_a_while_and_joins_again() -> None:
    now = [0.0]
    lines = Lines(10.0, lambda: now[0])
    for id_ in (1, 2, 3):
        lines.add(id_, "a")
    assert lines.take(10, 1) == [1]
    lines.looked([1], {1: COMES_BACK})
    now[0] = 9.9
    lines.looked([1], {1: COMES_BACK})
    assert lines.take(10, 1) == []
    now[0] = 10.0
    lines.looked([1], {1: COMES_BACK})
    assert lines.take(10, 1) == [2]
    lines.looked([1, 2], {1: READY, 2: AT_WORK})
    assert lines.take(10, 1) == []  # 2 is out
    lines.done([2])
    assert lines.take(10, 1) == [1]
    lines.looked([1], {1: AT_WORK})
    assert lines.take(10, 1) == []  # it does not fail, it is out
    lines.looked([1], {1: COMES_BACK})
    assert lines.take(10, 1) == [3]
    lines.done([3])
    lines.done([1])
    assert not lines.kept
    assert lines.waiting == 0


def test_of_a_key_none_goes_that_is_left_aside_nor_any_after_it() -> None:
    lines = Lines()
    for id_ in range(1, 7):
        lines.add(id_, "ab"[id_ % 2])
    assert lines.take(10, 3, aside={3, 2}) == [1]
    assert lines.take(10, 3) == [2, 4, 6]


def test_missing_ids_are_looked_for_until_all_who_inserted_then_have_ended() -> None:
    missing = Missing()
    missing.add(5, 9)
    missing.writing(frozenset({"1/1", "2/1"}))
    missing.add(20, 20)
    missing.looked([7])
    assert missing.ranges() == [(5, 6), (8, 9), (20, 20)]
    missing.writing(frozenset({"2/1", "3/1"}))
    missing.looked([5])
    assert missing.ranges() == [(6, 6), (8, 9), (20, 20)]
    missing.writing(frozenset({"3/1"}))
    assert missing.ranges() == [(6, 6), (8, 9), (20, 20)]  # once more
    missing.looked([])
    assert missing.ranges() == [(20, 20)]
    missing.writing(frozenset())
    missing.looked([])
    assert not missing


def test_of_too_many_missing_ids_the_oldest_are_given_up() -> None:
    missing = Missing()
    missing.add(1, 1)
    missing.writing(frozenset({"1/1"}))
    for number in range(MOST):
        missing.add(10 + 2 * number, 10 + 2 * number)
    assert missing.ranges()[0] == (10, 10)
    assert len(missing.ranges()) == MOST


def waves(
    keys: str, answer: dict[int, Outcome], *, seconds: float = 60.0
) -> tuple[Batch, list[list[int]]]:
    """A batch with these keys, sent; and which jobs went at a time."""
    batch = Batch([job(id=n) for n in range(len(keys))], time.monotonic() + 10)
    sent: list[list[int]] = []

    def say(out: Batch) -> None:
        sent.append([one.id for one in out.jobs])
        out.add_receipts([Receipt(one.id, "events", 1, None) for one in out.jobs])
        out.answer([answer.get(one.id, Delivered()) for one in out.jobs])

    Waves(batch, keys, seconds).take(ATaker(say))
    return batch, sent


def test_the_second_of_a_key_goes_when_the_first_has_arrived() -> None:
    batch, sent = waves("abcabca", {})
    assert sent == [[0, 1, 2], [3, 4, 5], [6]]
    assert batch.outcomes() == [Delivered()] * 7
    assert [receipt.job_id for receipt in batch.take_receipts()] == [*range(7)]


def test_after_one_that_failed_its_key_sends_no_more() -> None:
    batch, sent = waves("abcabca", {0: Retry("no"), 4: Retry("no")})
    assert sent == [[0, 1, 2], [4, 5]]
    kinds = [type(outcome) for outcome in batch.outcomes()]
    assert kinds == [Retry, Delivered, Delivered, Withheld, Retry, Delivered, Withheld]


def test_a_batch_of_as_many_keys_goes_as_it_is() -> None:
    batch = Batch([job(id=n) for n in range(3)], time.monotonic() + 10)
    taker = ATaker()
    Waves(batch, "abc", 60.0).take(taker)
    assert taker.batches == [batch]


def test_what_has_no_time_is_withheld() -> None:
    batch, sent = waves("abab", {}, seconds=-1.0)
    assert sent == []
    assert [type(outcome) for outcome in batch.outcomes()] == [Withheld] * 4


def test_what_is_out_when_time_is_up_is_all_that_is_left_open() -> None:
    batch = Batch([job(id=n) for n in range(4)], time.monotonic() + 10)
    taker = ATaker()
    Waves(batch, "abab", 60.0).take(taker)
    assert batch.on_late is not None
    batch.on_late()
    assert batch.open() == [0, 1]
    taker.batches[0].answer([Delivered(), Delivered()])
    assert len(taker.batches) == 1
    assert [type(outcome) for outcome in batch.outcomes()] == [Delivered] * 2 + [Withheld] * 2


def test_a_batch_that_was_given_up_sends_nothing_more() -> None:
    batch = Batch([job(id=n) for n in range(2)], time.monotonic() + 10)
    taker = ATaker()
    Waves(batch, "aa", 60.0).take(taker)
    batch.abandon()
    assert taker.batches[0].abandoned
    taker.batches[0].answer([Delivered()])
    assert len(taker.batches) == 1
