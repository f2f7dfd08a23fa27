"""The statements of a replay: what is selected, the jobs that move, and the replay's own row.

`ReplayTable` is about replays, `Selection` about the jobs of one. They raise what psycopg raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

import msgspec

from riverbridge.model import globs
from riverbridge.model.job import ClaimedJob, JobState
from riverbridge.model.job_filter import FINALIZED
from riverbridge.model.replay import Replay, ReplayPlan, Skip
from riverbridge.sql import statement
from riverbridge.store.database import Connection
from riverbridge.store.exchange import Exchange, Query

_replay = msgspec.json.Decoder(Replay)
_encode = msgspec.json.Encoder().encode


class Counted(NamedTuple):
    """Finished jobs of a route, None for those that no route of the plan takes, in a state."""

    route: str | None
    state: JobState
    jobs: int
    first_id: int
    last_id: int

    def joined(self, other: Counted) -> Counted:
        """Both, of the same route and state."""
        first, last = min(self.first_id, other.first_id), max(self.last_id, other.last_id)
        return Counted(self.route, self.state, self.jobs + other.jobs, first, last)


class Looked(NamedTuple):
    """Matching jobs by id, and up to which id was looked."""

    ids: list[int]
    up_to: int


class Moved(NamedTuple):
    """The jobs that are available again, their queues, and those that could not be."""

    ids: list[int]
    queues: set[str]
    skips: list[Skip]


def replay_list(limit: int, *, schema: str | None) -> Exchange[list[Replay]]:
    """The latest replays, the last first."""
    rows = yield Query("replay/list", {"limit": limit}, schema)
    return [_replay.decode(text) for (text,) in rows]


class Selection:
    """The jobs of a plan, finished before `started_at`, by the clock of the database."""

    def __init__(self, schema: str | None, plan: ReplayPlan, started_at: datetime) -> None:
        self._schema = schema
        self._parameters = _parameters(plan) | {"started_at": started_at}

    def count(self, connection: Connection, low: int, high: int) -> list[Counted]:
        """How many of these ids, both included, there are, whatever their key."""
        return [
            Counted(route, JobState(state), *rest)
            for route, state, *rest in self._run(connection, "replay/count", low=low, high=high)
        ]

    def bounds(self, connection: Connection) -> tuple[int, int]:
        """The lowest and the highest id of all jobs."""
        [(low, high)] = self._run(connection, "job/bounds")
        return low, high

    def look(
        self, connection: Connection, *, after_id: int, last_id: int, limit: int, walk: int
    ) -> Looked:
        """The next jobs above `after_id`, of any key: at most `limit`, among `walk` rows."""
        [(ids, up_to)] = self._run(
            connection, "replay/look", after_id=after_id, last_id=last_id, limit=limit, walk=walk
        )
        if len(ids) == limit:
            return Looked(ids, ids[-1])
        return Looked(ids, last_id if up_to is None else up_to)

    def jobs(self, connection: Connection, ids: Sequence[int]) -> list[tuple[ClaimedJob, JobState]]:
        """These jobs, for templates, and their states."""
        rows = self._run(connection, "replay/jobs", ids=list(ids))
        return [(ClaimedJob(*columns), JobState(state)) for *columns, state in rows]

    def lock(self, connection: Connection, ids: Sequence[int]) -> set[int]:
        """Lock jobs that are as they were selected; those that others hold are left out."""
        return {id for (id,) in self._run(connection, "replay/lock", ids=list(ids))}

    def move(self, connection: Connection, ids: Sequence[int]) -> Moved:
        """Make locked jobs available again, marked as a replay."""
        moved = Moved([], set(), [])
        for id, queue, holder_id, markable in self._run(connection, "replay/move", ids=list(ids)):
            if queue is not None:
                moved.ids.append(id)
                moved.queues.add(queue)
            elif not markable:
                moved.skips.append(Skip(id, "its metadata is no JSON object and cannot be marked"))
            elif holder_id is not None:
                moved.skips.append(Skip(id, f"job {holder_id} has its unique key"))
            else:
                moved.skips.append(Skip(id, "its row did not take the update (a trigger?)"))
        return moved

    def announce(self, connection: Connection, queues: set[str]) -> None:
        """Wake the lanes of `queues` at the commit."""
        values = {"queues": sorted(queues), "schema": self._schema}
        connection.execute(statement("notify/insert"), values)

    def _run(self, connection: Connection, name: str, **more: Any) -> list[tuple[Any, ...]]:
        sql = statement(name, self._schema)
        # Planned for these filters each time: a plan for any could use no index.
        return connection.execute(
            sql, self._parameters | more, prepare=False, binary=True
        ).fetchall()


class ReplayTable:
    """`riverbridge_replay`. Each call is one statement."""

    def __init__(self, schema: str | None) -> None:
        self._schema = schema

    def start(
        self,
        connection: Connection,
        *,
        plan: ReplayPlan,
        rate: float | None,
        started_by: str,
        started_at: datetime,
        bounds: tuple[int, int],
        total: int,
    ) -> Replay:
        """A new replay, nobody's yet; finished at once if `total` is 0. bounds: first, last id."""
        found = self._one(
            connection,
            "replay/start",
            plan=_encode(plan).decode(),
            rate=rate,
            started_by=started_by,
            started_at=started_at,
            after_id=bounds[0] - 1,
            last_id=bounds[1],
            total=total,
        )
        assert found is not None  # an insert returns its row
        return found

    def claim(
        self, connection: Connection, id: int, runner: str, *, silence: float, rate: float | None
    ) -> Replay | None:
        """Make `runner` the one who runs it, or keep it; None if somebody else does, or it is over.

        silence: seconds after which a runner counts as gone. rate: a new one, None for the old.
        """
        return self._one(
            connection, "replay/claim", id=id, runner=runner, silence=silence, rate=rate
        )

    def hold(self, connection: Connection, id: int, runner: str) -> Replay | None:
        """Lock the replay for a batch; None if it is over or somebody else's."""
        return self._one(connection, "replay/hold", id=id, runner=runner)

    def advance(
        self, connection: Connection, id: int, *, after_id: int, done: int, skipped: int
    ) -> Replay:
        """Move it on to `after_id`, with so many more jobs done and skipped."""
        found = self._one(
            connection, "replay/advance", id=id, after_id=after_id, done=done, skipped=skipped
        )
        assert found is not None  # the caller holds it
        return found

    def release(self, connection: Connection, id: int, runner: str) -> None:
        """Let others run it."""
        self._one(connection, "replay/release", id=id, runner=runner)

    def cancel(self, connection: Connection, id: int) -> Replay | None:
        """End it where it is; None if it is over or not there."""
        return self._one(connection, "replay/cancel", id=id)

    def get(self, connection: Connection, id: int) -> Replay | None:
        """The replay, if there is one."""
        return self._one(connection, "replay/get", id=id)

    def list(self, connection: Connection, limit: int) -> list[Replay]:
        """The latest replays, the last first."""
        sql = statement("replay/list", self._schema)
        rows = connection.execute(sql, {"limit": limit}, binary=True).fetchall()
        return [_replay.decode(text) for (text,) in rows]

    def _one(self, connection: Connection, name: str, **parameters: Any) -> Replay | None:
        sql = statement(name, self._schema)
        row = connection.execute(sql, parameters, binary=True).fetchone()
        return None if row is None else _replay.decode(row[0])


def _parameters(plan: ReplayPlan) -> dict[str, Any]:
    wanted = plan.filter
    pairs = [
        (route.name, queue, globs.to_like(kind))
        for route in plan.routes
        for queue in route.expressions()
        for kind in route.kinds
    ]
    others = [route.others(plan.sink) for route in plan.routes]
    return {
        "states": list(wanted.states) or [state.value for state in FINALIZED],
        "kinds": [globs.to_like(kind) for kind in wanted.kinds] or None,
        "queues": list(wanted.queues) or None,
        "ids": sorted(set(wanted.ids)) or None,
        "from_id": wanted.from_id,
        "to_id": wanted.to_id,
        "created_from": wanted.created_from,
        "created_before": wanted.created_before,
        "finalized_from": wanted.finalized_from,
        "finalized_before": wanted.finalized_before,
        "error": wanted.error,
        "tags": list(wanted.tags) or None,
        "metadata": wanted.metadata,
        "args": wanted.args,
        "route_names": [name for name, _, _ in pairs],
        "route_queues": [queue for _, queue, _ in pairs],
        "route_kinds": [kind for _, _, kind in pairs],
        "sinks_of": [route.name for route in plan.routes],
        "delivered": [None if names is None else _encode(names).decode() for names in others],
    }
