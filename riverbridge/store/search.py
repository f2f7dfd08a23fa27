"""Searching jobs, a page at a time, for people who wait for the answer.

What indexes know to be few is gathered and put in order. Anything else is found by walking along an
index that has all jobs in the order asked for, by looks at so many jobs each that none takes long,
until there is a page or the time is over: then the page says how far it came, and the next one goes
on from there.
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
from riverbridge.store.looks import next_window
from riverbridge.store.rows import instant_of, value_of

SortBy = Literal["id", "time", "scheduled_at", "finalized_at"]

WINDOW = 500
"""Jobs of the first look, where jobs have to be read."""

WINDOW_MOST = 50_000

COST_MAX = 20_000
"""The most that gathering may cost, as the planner counts: about a tenth of a second."""

COST_READING = 2_000
"""The same where what is gathered has to be read, look by look."""

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

    sort: as of `job_list`; `time` is the instant that goes with the state. loosely: do not gather,
    whatever the planner thinks of it: slower, but each look ends in time. words_in_args: look for
    words in args too.
    """
    if sort not in get_args(SortBy):
        raise InvalidRequest(f"sort: {sort} is none: use {', '.join(get_args(SortBy))}")
    if not 1 <= limit <= PAGE_MAX:
        raise InvalidRequest(f"limit: {limit} is out of range: use 1 to {PAGE_MAX}")
    states = [str(state) for state in search.states]
    order = job_order(sort, descending=descending, states=states or None)
    place = _read_cursor(after, order)
    parameters = search.parameters() | {
        "sorted_by": order.name,
        "descending": descending,
        "words_in_args": words_in_args,
    }
    window = WINDOW if search.reads else limit * 4 + 1
    walkable = order.name == "id" or (order.name == "finalized_at" and len(states) == 1)
    walking = walkable and loosely
    if not walking:
        values = {"after_id": place[0], "after_time": place[1], "window": window, "limit": limit}
        cost = yield from _cost_of_gathering(parameters | values, schema)
        walking = walkable and cost > (COST_READING if search.reads else COST_MAX)
        if cost > COST_MAX and not walking:
            raise InvalidRequest(
                f"sort: there are too many such jobs to put them in order by {sort}: ask for one "
                "state, for a kind or a queue, or sort by id"
            )
    return (
        yield from _looks(
            parameters | {"walking": walking}, order, place, limit, window,
            lambda started: monotonic() - started > budget, monotonic, schema,
        )
    )  # fmt: skip


def _cost_of_gathering(parameters: dict[str, Any], schema: str | None) -> Exchange[float]:
    """As the planner thinks."""
    ((plan,),) = yield Query("job/search_plan", parameters | {"walking": False}, schema)
    [top] = json.loads(plan) if isinstance(plan, str) else plan
    for part in top["Plan"]["Plans"]:
        if part.get("Subplan Name") == "CTE examined":
            return float(part["Total Cost"])
    raise AssertionError("the statement has a part of this name")


def _looks(
    parameters: dict[str, Any],
    order: JobOrder,
    place: tuple[int | None, str | None],
    limit: int,
    window: int,
    over: Callable[[float], bool],
    monotonic: Callable[[], float],
    schema: str | None,
) -> Exchange[Found]:
    started = began = monotonic()
    jobs: list[JobLine] = []
    examined = 0
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
        took, began = monotonic() - began, monotonic()
        window = next_window(window, took, WINDOW_MOST)


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
