"""What is not the same in the errors of two attempts, line by line, in bounded time and size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from itertools import zip_longest
from typing import Literal, NamedTuple

from riverbridge.model.error_class import error_class

TEXT_MAX = 64 * 1024
"""Characters of a message or a trace that are compared."""

LINES_MAX = 200
"""Lines of each that are compared, beside those that are equal at the beginning."""

LINE_MAX = 300
"""Characters of a line that are shown."""

SHOWN_MAX = 120
"""Lines that are shown of one comparison."""

AROUND = 2
"""Equal lines that are shown beside what is not."""


class Change(NamedTuple):
    """A line of a comparison. what: `gap` stands for equal lines that are left out, and says how
    many they are."""

    what: Literal["same", "gone", "new", "gap"]
    text: str


class Difference(NamedTuple):
    """How an error compares with an earlier one.

    alike: nothing differs. same_class: the first lines of the messages differ in numbers and ids
    alone. message, trace: what differs, nothing where they are equal. cut: more is not shown.
    """

    alike: bool
    same_class: bool
    message: list[Change]
    trace: list[Change]
    cut: bool


def difference(before: tuple[str, str], after: tuple[str, str]) -> Difference:
    """Compare the message and the trace of an attempt with those of an earlier one."""
    if before == after:
        return Difference(True, True, [], [], False)
    (message, some), (trace, more) = (
        _compared(*texts) for texts in zip(before, after, strict=True)
    )
    same_class = error_class(before[0]) == error_class(after[0])
    return Difference(False, same_class, message, trace, some or more)


def _compared(before: str, after: str) -> tuple[list[Change], bool]:
    """The lines that are shown, and whether there is more."""
    if before == after:
        return [], False
    one, other = _lines(before), _lines(after)
    equal = 0
    while equal < min(len(one), len(other)) and one[equal] == other[equal]:
        equal += 1
    # What is equal costs nothing; what is not is compared in the square of its length.
    begin = max(0, equal - AROUND)
    skipped = [Change("gap", str(begin))] if begin else []
    left, right = one[begin : begin + LINES_MAX], other[begin : begin + LINES_MAX]
    changes = [*skipped, *_changes(left, right)]
    cut = (
        max(len(before), len(after)) > TEXT_MAX
        or max(len(one), len(other)) > begin + LINES_MAX
        or len(changes) > SHOWN_MAX
    )
    return changes[:SHOWN_MAX], cut


def _lines(text: str) -> list[str]:
    return text[:TEXT_MAX].rstrip("\n").split("\n")


def _changes(one: Sequence[str], other: Sequence[str]) -> Iterator[Change]:
    matcher = SequenceMatcher(None, one, other, autojunk=False)
    blocks = matcher.get_opcodes()
    for number, (what, i, to_i, j, to_j) in enumerate(blocks):
        if what == "equal":
            yield from _equal(one[i:to_i], number > 0, number < len(blocks) - 1)
        else:
            gone, new = one[i:to_i], other[j:to_j]
            places = [_parting(*lines) for lines in zip_longest(gone, new, fillvalue="")]
            yield from (Change("gone", _shown(*line)) for line in zip(gone, places, strict=False))
            yield from (Change("new", _shown(*line)) for line in zip(new, places, strict=False))


def _equal(lines: Sequence[str], before: bool, after: bool) -> Iterator[Change]:
    """Of equal lines those next to what is not. before, after: whether something is."""
    first, last = AROUND if before else 0, AROUND if after else 0
    hidden = len(lines) - first - last
    if hidden <= 1:  # a line is shorter than to say that it is left out
        yield from (Change("same", _shown(line)) for line in lines)
        return
    yield from (Change("same", _shown(line)) for line in lines[:first])
    yield Change("gap", str(hidden))
    yield from (Change("same", _shown(line)) for line in lines[len(lines) - last :])


def _parting(one: str, other: str) -> int:
    """Where two lines begin to differ."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def _shown(line: str, parting: int = 0) -> str:
    """The line; of a long one the part in which it begins to differ."""
    begin = max(0, parting - LINE_MAX // 3) if len(line) > LINE_MAX else 0
    end = begin + LINE_MAX
    return f"{'…' if begin else ''}{line[begin:end]}{'…' if end < len(line) else ''}"
