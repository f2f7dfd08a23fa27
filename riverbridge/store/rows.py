"""Rows of `river_job` and `river_queue` as values: the one place that reads them whole.

A statement returns a row as one text, `to_json(row)::text`. So every driver gives back the same,
whatever it makes of arrays, bit strings and instants, and a column that a later version of the
tables adds is no trouble.

A row that River could not read must still be seen, cancelled and deleted. What no rule of River's
allows is therefore passed on as it stands, args and metadata nested too deeply for Python as their
text, and an instant beyond Python's years becomes their first or last moment.
"""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from functools import cache
from typing import Any

import msgspec

from riverbridge.model.job import AttemptError, Job, JobState
from riverbridge.model.json_object import BRACKETS, NESTING_MAX
from riverbridge.model.queue import Queue

FIRST = datetime.min.replace(tzinfo=UTC)
LAST = datetime.max.replace(tzinfo=UTC)

_ESCAPED = re.compile(r"\\(\\|[0-7]{3})")


class _JobRow(msgspec.Struct, frozen=True, gc=False):
    id: int
    state: JobState
    attempt: int
    max_attempts: int
    kind: str
    queue: str
    priority: int
    args: msgspec.Raw
    metadata: msgspec.Raw
    tags: list[Any]
    created_at: str
    scheduled_at: str
    attempted_at: str | None
    attempted_by: list[Any] | None
    finalized_at: str | None
    errors: list[msgspec.Raw] | None
    unique_key: str | None
    unique_states: str | None


class _QueueRow(msgspec.Struct, frozen=True, gc=False):
    name: str
    created_at: str
    metadata: msgspec.Raw
    paused_at: str | None
    updated_at: str


_job = msgspec.json.Decoder(_JobRow)
_queue = msgspec.json.Decoder(_QueueRow)
_error = msgspec.json.Decoder(AttemptError)
_json = msgspec.json.Decoder()


def read_job(text: str) -> Job:
    """The job in `to_json(row)::text` of a row of `river_job`."""
    try:
        row = _job.decode(text)
    except RecursionError:
        row = _job.decode(_shallow(text))
    # By position and in the order of `Job`: by name would cost as much as all the rest.
    return Job(
        row.id,
        row.state,
        row.attempt,
        row.max_attempts,
        row.kind,
        row.queue,
        row.priority,
        value_of(row.args),
        value_of(row.metadata),
        row.tags,
        instant_of(row.created_at),
        instant_of(row.scheduled_at),
        instant_of(row.attempted_at) if row.attempted_at else None,
        row.attempted_by,
        instant_of(row.finalized_at) if row.finalized_at else None,
        None if row.errors is None else [_attempt_error(error) for error in row.errors],
        None if row.unique_key is None else _bytes(row.unique_key),
        None if row.unique_states is None else list(_states(row.unique_states)),
    )


def read_queue(text: str) -> Queue:
    """The queue in `to_json(row)::text` of a row of `river_queue`."""
    row = _queue.decode(text)
    return Queue(
        name=row.name,
        created_at=instant_of(row.created_at),
        metadata=value_of(row.metadata),
        paused_at=instant_of(row.paused_at) if row.paused_at else None,
        updated_at=instant_of(row.updated_at),
    )


def value_of(raw: msgspec.Raw) -> Any:
    """A column of JSON: its text where it is nested too deeply for Python."""
    try:
        return _json.decode(raw)
    except msgspec.ValidationError:  # a number that only arbitrary precision can hold
        return json.loads(bytes(raw), parse_int=_integer)
    except RecursionError:
        return bytes(raw).decode()


def _shallow(text: str) -> str:
    """The row with each deeply nested column as a string that holds its text."""
    pieces = []
    depth = deepest = begin = done = 0
    for found in BRACKETS.finditer(text):
        if found.group() in "[{":
            depth += 1
            deepest = max(deepest, depth)
            if depth == 2:
                begin, deepest = found.start(), depth
        elif found.group() in "]}":
            if depth == 2 and deepest > NESTING_MAX:
                pieces += [text[done:begin], json.dumps(text[begin : found.end()])]
                done = found.end()
            depth -= 1
    return "".join([*pieces, text[done:]])


def _integer(digits: str) -> int | float:
    try:
        return int(digits)
    except ValueError:  # more digits than Python reads
        return float(digits)


def instant_of(text: str) -> datetime:
    """An instant as JSON has it; the first or the last moment where Python has none."""
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        early = text.startswith(("-infinity", "0001-")) or text.endswith(" BC")
        return FIRST if early else LAST


def _attempt_error(raw: msgspec.Raw) -> AttemptError:
    try:
        return _error.decode(raw)
    except msgspec.ValidationError:
        return AttemptError(at=FIRST, attempt=0, error=bytes(raw).decode())


def _bytes(text: str) -> bytes:
    """A `bytea` in either of the forms that a session may have chosen for its output."""
    if text.startswith("\\x"):
        return bytes.fromhex(text[2:])
    return _ESCAPED.sub(_unescaped, text).encode("latin-1")


def _unescaped(found: re.Match[str]) -> str:
    code = found.group(1)
    return code if code == "\\" else chr(int(code, 8))


@cache
def _states(bits: str) -> tuple[JobState, ...]:
    """The states of a mask, whose bits stand for them in order from the right (contract 4.5)."""
    pairs = zip(JobState, reversed(bits), strict=True)
    return tuple(state for state, bit in pairs if bit == "1")
