"""Searching jobs, a page at a time, for people who wait for the answer.

What an index tells is asked of the index. What only reading tells (words, errors, what is not so)
is found by looks at a window of jobs each, until there is a page or the time is over: then the page
says how far it came, and the next one goes on from there.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from riverbridge.errors import InvalidRequest
from riverbridge.model.job import JobState
from riverbridge.model.job_order import JobOrder, job_order
from riverbridge.model.job_search import JobSearch
from riverbridge.store.exchange import Exchange, Query
from riverbridge.store.rows import instant_of, value_of

SortBy = Literal["id", "time", "scheduled_at", "finalized_at"]

WINDOW = 2000
"""Jobs of one look, where jobs have to be read."""

BUDGET = 2.0
"""Seconds for one page."""

PAGE_MAX = 200


class JobLine(msgspec.Struct, frozen=True):
    """A job as a list shows it. args: None where they are large; error: the last attempt's."""

    id: int
    state: JobState
    kind: str
    queue: str
    attempt: int
    max_attempts: int
    priority: int
    tags: list[Any]
    created_at: Any
    scheduled_at: Any
    attempted_at: Any
    finalized_at: Any
    args: Any
    args_size: int
    error: str | None
    worker: str | None


class Found(NamedTuple):
    """A page. after: where the next one begins, None at the end. examined: jobs looked at. cut: the
    time was over before the page was full."""

    jobs: list[JobLine]
    after: str | None
    examined: int
    cut: bool


class _Row(JobLine, frozen=True):
    """As the statement has it: instants are still text, and args not read."""

    args: msgspec.Raw


_row = msgspec.json.Decoder(_Row)


def job_search(
    search: JobSearch,
    *,
    sort: SortBy = "id",
    descending: bool = True,
    after: str | None = None,
    limit: int = 50,
    loosely: bool = False,
    words_in_args: bool = True,
    budget: float = BUDGET,
    monotonic: Callable[[], float] = time.monotonic,
    schema: str | None,
) -> Exchange[Found]:
    """A page of the jobs that match. Raises InvalidRequest.

    sort: as of `job_list`; `time` is the instant that goes with the state. loosely: ask no index
    for kinds and queues: slower, but each look ends in time, where the first way did not.
    words_in_args: look for words in args too.
    """
    if sort not in get_args(SortBy):
        raise InvalidRequest(f"sort: {sort} is none: use {', '.join(get_args(SortBy))}")
    if not 1 <= limit <= PAGE_MAX:
        raise InvalidRequest(f"limit: {limit} is out of range: use 1 to {PAGE_MAX}")
    order = job_order(
        sort, descending=descending, states=[str(state) for state in search.states] or None
    )
    parameters = search.parameters() | {
        "sorted_by": order.name,
        "descending": descending,
        "loosely": loosely,
        "words_in_args": words_in_args,
    }
    return _looks(
        parameters, order, _read_cursor(after, order), limit, loosely or search.reads,
        lambda started: monotonic() - started > budget, monotonic, schema,
    )  # fmt: skip


def _looks(
    parameters: dict[str, Any],
    order: JobOrder,
    place: tuple[int | None, str | None],
    limit: int,
    reads: bool,
    over: Callable[[float], bool],
    monotonic: Callable[[], float],
    schema: str | None,
) -> Exchange[Found]:
    started = monotonic()
    jobs: list[JobLine] = []
    examined = 0
    # Without anything to read, one job more says whether there is a next page.
    window = WINDOW if reads else limit * 4 + 1
    while True:
        wanted = limit - len(jobs)
        values = {"after_id": place[0], "after_time": place[1], "window": window, "limit": wanted}
        rows = yield Query("job/search", parameters | values, schema)
        (_, last_id, last_moment, seen, _), *found = rows
        jobs += [_line(text) for *_, text in found]
        if len(jobs) == limit:
            _, id, moment, number, _ = found[-1]
            examined += number
            more = number < seen or seen == window
            return Found(jobs, _cursor(order, id, moment) if more else None, examined, False)
        examined += seen
        if seen < window:
            return Found(jobs, None, examined, False)
        place = (last_id, last_moment)
        if over(started):
            return Found(jobs, _cursor(order, *place), examined, True)


def _line(text: str) -> JobLine:
    row = _row.decode(text)
    values = msgspec.structs.asdict(row)
    for name in ("created_at", "scheduled_at", "attempted_at", "finalized_at"):
        values[name] = None if values[name] is None else instant_of(values[name])
    values["args"] = value_of(row.args)
    return JobLine(**values)


def _cursor(order: JobOrder, id: int | None, moment: str | None) -> str:
    text = json.dumps([order.name, order.descending, id, moment])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _read_cursor(text: str | None, order: JobOrder) -> tuple[int | None, str | None]:
    if not text:
        return None, None
    try:
        data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        name, descending, id, moment = msgspec.json.decode(
            data, type=tuple[str, bool, int, str | None]
        )
    except (ValueError, msgspec.DecodeError):
        raise InvalidRequest("after: is no place in a list of jobs: begin again") from None
    if (name, descending) != (order.name, order.descending) or (moment is None) != (name == "id"):
        raise InvalidRequest("after: is a place in a list of another order: begin again")
    return id, moment
