"""Where in the log of a Postgres server a source is.

`1:0/16B3748+3`: on timeline 1, all that was committed before 0/16B3748, and of the transaction
whose commit lies there the first three events. A restart reads that transaction again, as the
server knows no other way, and passes over those three.

A standby that is promoted goes on with the log on a timeline of its own, from where it was. What
its predecessor wrote behind that is not its history.
"""

from __future__ import annotations

import re

import msgspec

_TEXT = re.compile(r"([0-9]{1,10}):([0-9A-F]{1,8})/([0-9A-F]{1,8})\+([0-9]{1,18})", re.ASCII)


class Place(msgspec.Struct, frozen=True, order=True):
    """lsn: of a commit, or of a message outside of transactions. taken: events of it that are
    done. timeline: of the server when it was read."""

    lsn: int
    taken: int
    timeline: int

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises ValueError."""
        found = _TEXT.fullmatch(text)
        if found is None:
            raise ValueError(f"{text[:60]!r} is no position; it has to look like 1:0/16B3748+0")
        return cls(int(found[2], 16) << 32 | int(found[3], 16), int(found[4]), int(found[1]))

    def __str__(self) -> str:
        return f"{self.timeline}:{spell(self.lsn)}+{self.taken}"


def spell(lsn: int) -> str:
    """An LSN as Postgres writes it."""
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


def read_lsn(text: str) -> int:
    """An LSN that Postgres wrote."""
    high, _, low = text.partition("/")
    return int(high, 16) << 32 | int(low, 16)


class Timeline(msgspec.Struct, frozen=True):
    """The server's timeline, and those before it with the LSN at which each was left."""

    number: int
    before: tuple[tuple[int, int], ...] = ()

    @classmethod
    def parse(cls, number: int, history: str) -> Timeline:
        """history: the file that the server has of it."""
        lines = (line.split() for line in history.splitlines())
        return cls(
            number,
            tuple(
                (int(words[0]), read_lsn(words[1]))
                for words in lines
                if len(words) > 1 and words[0].isdigit()
            ),
        )

    def of(self, lsn: int) -> int:
        """On which timeline the record at `lsn` was written."""
        return next((number for number, left in self.before if lsn < left), self.number)

    def parting(self, place: Place) -> int | None:
        """Where this server's history left that of `place`, if that is before it; None if `place`
        lies in it, and 0 if its timeline is none of this server's."""
        if place.timeline == self.number:
            return None
        for number, left in self.before:
            if number == place.timeline:
                return None if place.lsn <= left else left
        return 0
