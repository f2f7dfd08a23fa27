"""The log of a job's attempts, kept in its row for River UI (contract 11.4, `river:log`)."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import msgspec

from riverbridge.model.text import fitting

log = logging.getLogger(__name__)

KEY = "river:log"

ATTEMPT_BYTES_MAX = 2 << 20
"""Bytes of text kept of one attempt."""

TOTAL_BYTES_MAX = 8 << 20
"""Bytes of the whole array in the row. Its oldest attempts are dropped; the newest one never is."""


class JobLog:
    """What one attempt logged. Any thread may call."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._size = 0

    def add(self, text: str) -> None:
        """Append a line."""
        if self._size <= ATTEMPT_BYTES_MAX:
            self._size += len(text) + 1
            self._lines.append(text)

    def appended_to(self, metadata: str, attempt: int) -> str | None:
        """`"river:log": […]`: what the row's `metadata` holds of earlier attempts, and this one.

        None, and a warning, where the row holds something else under that key.
        """
        text = fitting("\n".join([*self._lines, ""]), ATTEMPT_BYTES_MAX)
        entry = msgspec.Raw(msgspec.json.encode({"attempt": attempt, "log": text}))
        try:
            row = msgspec.json.decode(metadata, type=dict[str, msgspec.Raw])
            earlier = msgspec.json.decode(row.get(KEY, b"[]"), type=list[msgspec.Raw])
        except (msgspec.MsgspecError, RecursionError) as error:
            log.warning("a job's log is lost, as its row has another %r: %s", KEY, error)
            return None
        kept = _newest(earlier, TOTAL_BYTES_MAX - len(bytes(entry)) - 2)
        return f'"{KEY}":{msgspec.json.encode([*kept, entry]).decode()}'


def _newest(entries: Sequence[msgspec.Raw], room: int) -> Sequence[msgspec.Raw]:
    """The last of `entries` that fit into `room` bytes, with a comma each."""
    for place in range(len(entries) - 1, -1, -1):
        room -= len(bytes(entries[place])) + 1
        if room < 0:
            return entries[place + 1 :]
    return entries
