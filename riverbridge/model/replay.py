"""Replays, in which finished jobs are delivered once more: as they are asked for, and as kept."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import datetime
from typing import Literal

import msgspec

from riverbridge.errors import InvalidRequest
from riverbridge.model import globs
from riverbridge.model.job_filter import FINALIZED, check, id_problem
from riverbridge.model.json_object import object_problem
from riverbridge.model.names import text_problem

ReplayState = Literal["open", "finished", "cancelled"]

_STATES = tuple(state.value for state in FINALIZED)


class ReplayFilter(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which finished jobs; all that is given must hold.

    kinds: globs. ids, from_id, to_id: these, and the bounds, both included. *_from is included,
    *_before is not. error: what an error of any of its attempts contains, whatever the case.
    key: what the route's key is for the job. tags: all of them. metadata, args: the text of a JSON
    object that the job's contains, as with Postgres' `@>`.
    """

    kinds: tuple[str, ...] = ()
    queues: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    ids: tuple[int, ...] = ()
    from_id: int | None = None
    to_id: int | None = None
    created_from: datetime | None = None
    created_before: datetime | None = None
    finalized_from: datetime | None = None
    finalized_before: datetime | None = None
    error: str | None = None
    key: str | None = None
    tags: tuple[str, ...] = ()
    metadata: str | None = None
    args: str | None = None


class ReplayRoute(msgspec.Struct, frozen=True):
    """What a replay needs to know of a route.

    queues, kinds: globs. key: its template, if it has one. sinks: all of its sinks, by name.
    deletes: whether it deletes the jobs it has delivered. served: the queues as regular
    expressions, where other routes serve some that match. conditional: whether what is in a job
    decides, too, and not its queue and kind alone.
    """

    name: str
    queues: tuple[str, ...]
    kinds: tuple[str, ...]
    sinks: tuple[str, ...]
    key: str | None = None
    deletes: bool = False
    served: tuple[str, ...] = ()
    conditional: bool = False

    def expressions(self) -> tuple[str, ...]:
        """The queues it serves, as regular expressions."""
        return self.served or tuple(map(globs.to_regex, self.queues))

    def serves(self, queue: str) -> bool:
        """Whether `queue` is one of its queues."""
        return any(re.search(expression, queue) for expression in self.expressions())

    def takes(self, queue: str, kind: str) -> bool:
        """Whether a job of `queue` and `kind` is the route's."""
        return self.serves(queue) and globs.matches(self.kinds, kind)

    def others(self, sink: str | None) -> tuple[str, ...] | None:
        """The sinks that get nothing where the replay is for `sink` alone; None if all get it."""
        return None if sink is None else tuple(name for name in self.sinks if name != sink)


class ReplayPlan(msgspec.Struct, frozen=True):
    """What is replayed: all that a replay needs to be gone on with, whatever the settings say then.

    sink: the only one that gets the jobs; None for all of the route's.
    """

    filter: ReplayFilter
    routes: tuple[ReplayRoute, ...]
    sink: str | None = None


class Replay(msgspec.Struct, frozen=True):
    """One row of `riverbridge_replay`.

    total: how many jobs matched at the start. done: made available again. skipped: could not be.
    Fewer than `total` in the end were deleted or changed meanwhile. rate: jobs a second at most.
    after_id, last_id: jobs between them, without the first, are still to be looked at. runner: who
    runs it, and when it last said so.
    """

    id: int
    state: ReplayState
    plan: ReplayPlan
    rate: float | None
    started_by: str
    started_at: datetime
    ended_at: datetime | None
    after_id: int
    last_id: int
    total: int
    done: int
    skipped: int
    runner: str | None
    beat_at: datetime


class Skip(msgspec.Struct, frozen=True):
    """A job that was selected and cannot be made available."""

    job_id: int
    reason: str


def plan_replay(
    filter: ReplayFilter, routes: Iterable[ReplayRoute], sink: str | None = None
) -> ReplayPlan:
    """The plan, confined to those of `routes` that it can be about.

    Raises InvalidRequest with the reason where none is left, or none for a queue that is named: no
    route takes such jobs, delivers them to `sink` or keeps them.
    """
    _check(filter)
    known = tuple(routes)
    for queue in filter.queues:
        if not any(route.serves(queue) for route in known):
            raise InvalidRequest(
                f"queue {queue}: no route takes its jobs, so a replay would reach no sink; to have "
                "them worked again use: riverbridge jobs retry"
            )
    chosen = tuple(route for route in known if _may_match(filter, route))
    if not chosen:
        raise InvalidRequest(
            "no route takes such jobs: see the queues and kinds of the routes with "
            "`riverbridge config`"
        )
    if (sink is not None or filter.key is not None) and any(r.conditional for r in chosen):
        raise InvalidRequest(
            "conditions (WHEN) tell the routes of such jobs apart, which only their delivery "
            "judges: replay to all sinks and without a key, or name other queues"
        )
    if sink is not None:
        sinks = ", ".join(sorted({name for route in chosen for name in route.sinks}))
        chosen = tuple(route for route in chosen if sink in route.sinks)
        if (where := _left_out(filter, chosen)) is not None:
            raise InvalidRequest(
                f"sink {sink}: no route delivers such jobs{where} to it; their sinks are {sinks}"
            )
    if filter.key is not None:
        chosen = tuple(route for route in chosen if route.key is not None)
        if (where := _left_out(filter, chosen)) is not None:
            raise InvalidRequest(f"key: no route that takes such jobs{where} has a key")
    chosen = tuple(route for route in chosen if not route.deletes)
    if (where := _left_out(filter, chosen)) is not None:
        raise InvalidRequest(
            f"the route of such jobs{where} deletes what it has delivered (ON_SUCCESS=delete): "
            "nothing is kept to be replayed; what it discarded or cancelled can be retried with: "
            "riverbridge jobs retry"
        )
    return ReplayPlan(filter, chosen, sink)


def _left_out(filter: ReplayFilter, routes: tuple[ReplayRoute, ...]) -> str | None:
    """What was asked for and is in none of `routes`, to follow "such jobs"; None if nothing is."""
    if not routes:
        return ""
    for queue in filter.queues:
        if not any(route.serves(queue) for route in routes):
            return f" of queue {queue}"
    return None


def _may_match(filter: ReplayFilter, route: ReplayRoute) -> bool:
    queue = not filter.queues or any(map(route.serves, filter.queues))
    kinds = filter.kinds or ("*",)
    return queue and any(globs.intersect(one, other) for one in kinds for other in route.kinds)


def _check(filter: ReplayFilter) -> None:
    for state in filter.states:
        if state not in _STATES:
            raise InvalidRequest(
                f"states: {state!r} is not one of a finished job: use {', '.join(_STATES)}"
            )
    for name in ("kinds", "queues", "tags"):
        for index, text in enumerate(getattr(filter, name)):
            check(f"{name}[{index}]", text_problem(text))
    for index, id in enumerate(filter.ids):
        check(f"ids[{index}]", id_problem(id))
    for name in ("from_id", "to_id"):
        if (bound := getattr(filter, name)) is not None:
            check(name, id_problem(bound))
    for name in ("error", "key"):
        if (text := getattr(filter, name)) is not None:
            check(name, text_problem(text))
    for name in ("metadata", "args"):
        if (text := getattr(filter, name)) is not None:
            check(name, object_problem(text))
    for name in ("created_from", "created_before", "finalized_from", "finalized_before"):
        at = getattr(filter, name)
        if at is not None and at.tzinfo is None:
            raise InvalidRequest(f"{name}: has no time zone; write it as 2026-01-31T08:00:00Z")
