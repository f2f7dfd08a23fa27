"""What is done to all jobs that match a search: its row, and one batch of it.

The row and the jobs of a batch move in one transaction. So an operation can be stopped anywhere,
by a kill too, and whoever comes next goes on with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec

from riverbridge.errors import InvalidRequest
from riverbridge.model.job import JobState
from riverbridge.model.job_search import JobSearch, parse_search
from riverbridge.store.administration import job_delete_many
from riverbridge.store.audit import Record
from riverbridge.store.exchange import Exchange, Query
from riverbridge.store.looks import next_window
from riverbridge.store.search import job_search

BATCH = 200
"""Jobs of one transaction."""

BUDGET = 2.0
"""Seconds that counting may take."""

RANGE = 20_000
"""Ids of the first look at what matches."""

SILENCE = 20.0
"""Seconds after which an operation whose runner says nothing is somebody else's."""


class Operation(msgspec.Struct, frozen=True):
    """One row. state: open, finished, cancelled, failed. total: counted before it began."""

    id: int
    action: str
    search: str
    job_state: str
    state: str
    started_by: str
    role: str
    way: str
    started_at: datetime
    ended_at: datetime | None
    total: int
    last_id: int
    after: str
    done: int
    skipped: int
    error: str | None
    runner: str | None

    @property
    def wanted(self) -> JobSearch:
        """Which jobs; ages in it were before it began."""
        return whole_search(self.search, self.job_state, self.started_at)


_operation = msgspec.json.Decoder(Operation)


def whole_search(text: str, state: str, now: datetime) -> JobSearch:
    """What is written in the search and chosen at its side. Raises InvalidRequest."""
    search = parse_search(text, now)
    if not state:
        return search
    if search.states:
        raise InvalidRequest("state: is chosen at the side already: leave one of the two out")
    return msgspec.structs.replace(search, states=(JobState(state),))


def count_matching(
    search: JobSearch,
    *,
    limit: int,
    words_in_args: bool,
    budget: float = BUDGET,
    monotonic: Callable[[], float] = time.monotonic,
    schema: str | None,
) -> Exchange[tuple[int, bool]]:
    """How many jobs match, and whether these are all: not if they are `limit` or more, or if there
    was no time for more."""
    ((low, last),) = yield Query("job/bounds", {}, schema)
    values = search.parameters() | {"words_in_args": words_in_args}
    found, window = 0, RANGE
    until = monotonic() + budget
    while low <= last:
        began = monotonic()
        if began > until:
            return found, False
        high = low + window - 1
        ((count,),) = yield Query("job/count_matching", values | {"low": low, "high": high}, schema)
        found += count
        if found >= limit:
            return limit, False
        low, window = high + 1, next_window(window, monotonic() - began)
    return found, True


def operation_start(
    *,
    key: str,
    action: str,
    search: str,
    job_state: str,
    total: int,
    who: tuple[str, str, str],
    schema: str | None,
) -> Exchange[tuple[Operation, list[Record]]]:
    """Start it, or find what the same key has started. who: name, role and way."""
    values = {
        "key": key,
        "action": action,
        "search": search,
        "job_state": job_state,
        "total": total,
        "started_by": who[0],
        "role": who[1],
        "way": who[2],
    }
    ((text, new),) = yield Query("operation/start", values, schema)
    operation = _operation.decode(text)
    if not new:
        return operation, []
    told = {"search": search, "state": job_state, "about": total}
    return operation, [Record(f"{action} all", f"operation {operation.id}", None, told)]


def operation_get(id: int, *, schema: str | None) -> Exchange[Operation | None]:
    """One, if it is there."""
    rows = yield Query("operation/get", {"id": id}, schema)
    return _operation.decode(rows[0][0]) if rows else None


def operation_list(*, limit: int = 50, schema: str | None) -> Exchange[list[Operation]]:
    """The newest."""
    rows = yield Query("operation/list", {"limit": limit}, schema)
    return [_operation.decode(text) for (text,) in rows]


def operation_claim(*, runner: str, schema: str | None) -> Exchange[Operation | None]:
    """One to go on with, if there is any that nobody runs."""
    rows = yield Query("operation/claim", {"runner": runner, "silence": SILENCE}, schema)
    return _operation.decode(rows[0][0]) if rows else None


def operation_end(
    id: int, *, state: str, error: str | None = None, schema: str | None
) -> Exchange[tuple[Operation | None, list[Record]]]:
    """End one that is open, before its end; None if it was over already."""
    rows = yield Query("operation/end", {"id": id, "state": state, "error": error}, schema)
    if not rows:
        return None, []
    operation = _operation.decode(rows[0][0])
    return operation, [_told(operation)]


def operation_step(
    operation: Operation, *, words_in_args: bool, schema: str | None
) -> Exchange[tuple[Operation | None, list[Record]]]:
    """One batch, in one transaction; None if it is not open any more, or not this runner's."""
    page = yield from job_search(
        operation.wanted,
        sort="id",
        descending=False,
        after=operation.after or None,
        limit=BATCH,
        words_in_args=words_in_args,
        schema=schema,
    )
    ids = [line.id for line in page.jobs if line.id <= operation.last_id]
    done = yield from _acted(operation.action, ids, schema)
    ended = page.after is None or len(ids) < len(page.jobs)
    values = {
        "id": operation.id,
        "runner": operation.runner,
        "after": page.after or operation.after,
        "done": done,
        "skipped": len(ids) - done,
        "ended": ended,
    }
    rows = yield Query("operation/advance", values, schema)
    if not rows:
        raise Overtaken
    moved = _operation.decode(rows[0][0])
    return moved, [_told(moved)] if ended else []


class Overtaken(Exception):
    """Somebody cancelled it or took it over meanwhile: this batch is to be rolled back."""


def _acted(action: str, ids: Sequence[int], schema: str | None) -> Exchange[int]:
    """Do it to these jobs; to how many it was done."""
    if not ids:
        return 0
    match action:
        case "retry":
            rows = yield Query("job/retry", {"ids": list(ids)}, schema)
            return sum(holder is None for _, holder in rows)
        case "cancel":
            rows = yield Query("job/cancel", {"ids": list(ids), "schema": schema}, schema)
            return len(rows)
        case _:
            deleted = yield from job_delete_many(ids=ids, limit=len(ids), schema=schema)
            return len(deleted)


def _told(operation: Operation) -> Record:
    after = {"state": operation.state, "done": operation.done, "skipped": operation.skipped}
    return Record(f"{operation.action} all ended", f"operation {operation.id}", None, after)
