"""Whose a key is: the keys of an ordered route are dealt to its shares."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from zlib import crc32

from riverbridge.engine.lines import Key, Lines
from riverbridge.errors import TemplateError
from riverbridge.model.job import ClaimedJob

SHARES = 2
"""Lanes that can serve a route at once. It says whose a key is: all processes must agree on it."""

NOTED = 50_000
"""Rows that are noted for each share at most, at about 200 bytes each."""

_UNREAD = object()


class Deal:
    """Deals the jobs of one route and queue; one for all its shares, each of which may call.

    All shares look for the same rows, and would read each of them to see whose it is. So what one
    has read is noted for the others, by id. That a row is available they find out themselves.
    """

    def __init__(self, key_of: Callable[[ClaimedJob], str]) -> None:
        """key_of: raises TemplateError for a job that has no key; it is in nobody's way."""
        self._key_of = key_of
        self._notes: list[dict[int, Key]] = [{} for _ in range(SHARES)]
        """By share: the keys of rows that another has read, or None where they are not its own."""

        self._lines: list[Lines | None] = [None] * SHARES

    def serve(self, share: int, lines: Lines) -> None:
        """From now on the jobs of `share` wait in these lines."""
        self._lines[share] = lines

    def knows(self, id_: int) -> bool:
        """Whether a job is waiting, of whichever share it is."""
        return any(lines is not None and lines.knows(id_) for lines in self._lines)

    def key(self, share: int, job: ClaimedJob) -> Key | None:
        """The job's key; None if it is of another share. A job without a key is in a line of its
        own; its delivery says what is wrong with it."""
        owner, key = self._dealt(job)
        return key if owner == share else None

    def note(self, share: int, jobs: Sequence[ClaimedJob]) -> list[tuple[int, Key]]:
        """The ids and keys of those that are of `share`; the others are noted for theirs."""
        own: list[tuple[int, Key]] = []
        for job in jobs:
            owner, key = self._dealt(job)
            if owner == share:
                own.append((job.id, key))
            for other, notes in enumerate(self._notes):
                if other != share:
                    notes[job.id] = key if owner == other else None
        for notes in self._notes:
            if len(notes) > NOTED:
                notes.clear()  # they will be read again
        return own

    def noted(self, share: int, ids: Sequence[int]) -> tuple[list[tuple[int, Key]], list[int]]:
        """Of `ids`, the ids and keys that are noted as of `share`, and the ids to be read. Notes
        are used once."""
        notes = self._notes[share]
        own: list[tuple[int, Key]] = []
        unread = []
        for id_ in ids:
            key = notes.pop(id_, _UNREAD)
            if key is _UNREAD:
                unread.append(id_)
            elif key is not None:
                own.append((id_, key))
        return own, unread

    def _dealt(self, job: ClaimedJob) -> tuple[int, Key]:
        try:
            key = self._key_of(job)
        except TemplateError:
            return job.id % SHARES, job.id
        return crc32(key.encode()) % SHARES, key
