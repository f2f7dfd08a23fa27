"""What the processes wrote of each attempt: when it began and when it ended."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Call:
    """One call of a job function. Instants in nanoseconds; ended: by itself, or by a kill."""

    job: int
    attempt: int
    by: str
    began: int
    ended: int
    whole: bool
    """Whether it came to its own end."""


class Journal:
    """One process's. killed: just before it was; None for one that was not."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.path = path
        self.killed: int | None = None

    def says(self, word: str) -> bool:
        return word in (line[0] for line in self._lines())

    def open(self) -> int:
        """How many calls have begun and not ended."""
        begun = [line[0] for line in self._lines()]
        return begun.count("begin") - begun.count("end")

    def calls(self) -> list[Call]:
        found: list[Call] = []
        open_: dict[tuple[int, int], list[int]] = defaultdict(list)
        for what, *numbers in self._lines():
            if what not in ("begin", "end"):
                continue
            job, attempt, at = map(int, numbers)
            if what == "begin":
                open_[job, attempt].append(at)
            else:
                began = open_[job, attempt].pop()
                found.append(Call(job, attempt, self.name, began, at, whole=True))
        left = [(key, began) for key, all_ in open_.items() for began in all_]
        assert not left or self.killed is not None, f"{self.name}: calls without an end: {left}"
        for (job, attempt), began in left:
            assert self.killed is not None
            found.append(Call(job, attempt, self.name, began, self.killed, whole=False))
        return found

    def _lines(self) -> list[list[str]]:
        if not self.path.exists():
            return []
        # A process that was killed may have left half a line, which tells nothing.
        text = self.path.read_text()
        return [line.split() for line in text[: text.rfind("\n") + 1].splitlines()]


def by_job(journals: Iterable[Journal]) -> dict[int, list[Call]]:
    """Each job's calls, in the order in which they began."""
    calls: dict[int, list[Call]] = defaultdict(list)
    for call in sorted((c for j in journals for c in j.calls()), key=lambda call: call.began):
        calls[call.job].append(call)
    return calls


def overlaps(calls: list[Call]) -> list[tuple[Call, Call]]:
    """Calls of one job that ran at the same time."""
    return [
        (one, next_)
        for place, one in enumerate(calls)
        for next_ in calls[place + 1 :]
        if next_.began < one.ended
    ]
