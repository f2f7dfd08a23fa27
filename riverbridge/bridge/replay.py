"""Replays: finished jobs are made available again, and the running bridges deliver them once more.

A replay is a row of `riverbridge_replay`. Each batch moves its jobs and the replay's place in one
transaction, so that one that was stopped or killed anywhere is gone on with exactly where it was.
"""

from __future__ import annotations

import contextlib
import time
import uuid
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from datetime import datetime
from typing import NamedTuple, NoReturn, Protocol

import psycopg

from riverbridge.bridge.template import Template
from riverbridge.engine.settling import by_halves
from riverbridge.errors import ReplayError, TemplateError
from riverbridge.model.job import ClaimedJob, JobState
from riverbridge.model.replay import Replay, ReplayPlan, Skip
from riverbridge.sql import statement
from riverbridge.store.clock import database_now
from riverbridge.store.database import Connection, lost, transaction
from riverbridge.store.limits import bounded_transaction, limit_lock_waits
from riverbridge.store.looks import next_window
from riverbridge.store.replay import Counted, Moved, ReplayTable, Selection

BATCH = 500
"""Jobs of one transaction."""

KEY_BATCH = 100
"""The same where their args are read, to find their key."""

WALK = 10_000
"""Rows that one statement looks at, however few of them match."""

SAMPLE = 10
"""Jobs that a preview names."""

RANGE = 20_000
"""Ids of the first look that counts."""

COUNT_LIMIT = 300.0
"""Seconds that counting may take: it may read the whole table."""

SILENCE = 10.0
"""Seconds after which a runner that says nothing counts as gone."""

BEAT = 2.0
"""Seconds between two signs of life while the rate lets nothing through."""

PATIENCE = 5.0
"""Seconds to wait for a row that others hold; after that it is skipped."""

LOCK_LIMIT = 0.3
"""Seconds to wait for whoever is just inserting a job with the same unique key. It is less than
Postgres takes to look for a deadlock, which might end the application's transaction."""

_PAUSE = 0.1
_IDLE, _TOTAL, _STATEMENT = 5.0, 60.0, 10.0


class Stop(Protocol):
    """A threading.Event, or what tests put in its place."""

    def is_set(self) -> bool: ...
    def wait(self, timeout: float) -> bool: ...


class Preview(NamedTuple):
    """What a replay would be about.

    at: at this moment. jobs: how many, by route and state. unrouted: how many more match that no
    route of the plan takes. sample: the first ids. first_id, last_id: all are between these, both
    included; 0 where there are none.
    """

    at: datetime
    jobs: Counter[tuple[str, JobState]]
    unrouted: int
    sample: list[int]
    first_id: int
    last_id: int

    @property
    def total(self) -> int:
        """How many jobs in all."""
        return self.jobs.total()


class Step(NamedTuple):
    """One batch: the replay as it stands after it, and the jobs of it that were skipped."""

    replay: Replay
    skips: list[Skip]


class Replayer:
    """Previews, starts, runs and cancels replays on a connection in autocommit, for one thread.

    name: who this is, for people; two of the same name are told apart all the same. clock: seconds,
    monotonic.
    """

    def __init__(
        self,
        connection: Connection,
        schema: str | None,
        *,
        name: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connection = connection
        self._schema = schema
        self._table = ReplayTable(schema)
        self._name = name
        self._runner = f"{name} {uuid.uuid4().hex[:8]}"
        self._clock = clock

    def preview(self, plan: ReplayPlan, *, patience: float = COUNT_LIMIT) -> Preview:
        """Count the jobs, and change nothing. patience: seconds that counting may take."""
        at = database_now(self._connection)
        selection = Selection(self._schema, plan, at)
        counted = self._counted(selection, patience)
        unrouted = sum(each.jobs for each in counted if each.route is None)
        first = min((each.first_id for each in counted if each.route), default=0)
        last = max((each.last_id for each in counted if each.route), default=0)
        jobs = Counter({(each.route, each.state): each.jobs for each in counted if each.route})
        keys = _Keys(plan)
        if keys.wanted is not None:
            jobs.clear()
        sample: list[int] = []
        after = first - 1
        # All that match are looked at only for their keys, which Postgres does not know.
        while after < last and (keys.wanted is not None or len(sample) < SAMPLE):
            with bounded_transaction(self._connection, _STATEMENT):
                looked = selection.look(
                    self._connection, after_id=after, last_id=last, limit=KEY_BATCH, walk=WALK
                )
                found = keys.among(self._connection, selection, looked.ids)
            after = looked.up_to
            sample += [id for id, _ in found][: SAMPLE - len(sample)]
            jobs.update(place for _, place in found if place is not None)
        return Preview(at, jobs, unrouted, sample, first, last)

    def _counted(self, selection: Selection, patience: float) -> list[Counted]:
        """Of each route and state, from look to look at a range of ids."""
        found: dict[tuple[str | None, JobState], Counted] = {}
        until, window = self._clock() + patience, RANGE
        low, last = 0, -1
        while True:
            began = self._clock()
            # What is left of the time is the limit of each look: the last one is cancelled by it.
            with bounded_transaction(self._connection, max(0.001, until - began)):
                self._connection.execute(statement("transaction/interactive"))
                if not low:
                    low, last = selection.bounds(self._connection)
                for one in selection.count(self._connection, low, low + window - 1):
                    place = (one.route, one.state)
                    found[place] = one.joined(found[place]) if place in found else one
            low += window
            if low > last:
                return list(found.values())
            window = next_window(window, self._clock() - began)

    def start(self, plan: ReplayPlan, preview: Preview, *, rate: float | None = None) -> Replay:
        """A new replay of what was previewed, to be run; finished at once where that is nothing.

        Jobs that finished after the preview are not among them. rate: jobs a second at most.
        """
        return self._table.start(
            self._connection,
            plan=plan,
            rate=rate,
            started_by=self._name,
            started_at=preview.at,
            bounds=(preview.first_id, preview.last_id),
            total=preview.total,
        )

    def get(self, id: int) -> Replay:
        """The replay. Raises ReplayError if there is none."""
        found = self._table.get(self._connection, id)
        if found is None:
            raise ReplayError(f"replay {id} is not there: `riverbridge replay list` shows them")
        return found

    def list(self, limit: int) -> list[Replay]:
        """The latest replays, the last first."""
        return self._table.list(self._connection, limit)

    def cancel(self, id: int) -> Replay:
        """End it where it is; what is available again already stays so. Raises ReplayError."""
        ended = self._table.cancel(self._connection, id)
        if ended is None:
            found = self.get(id)
            raise ReplayError(f"replay {id} is {found.state}: there is nothing to cancel")
        return ended

    def run(self, id: int, stop: Stop, *, rate: float | None = None) -> Generator[Step, None, None]:
        """Run it, or go on with it, until its end or `stop`; the last step's replay says which.

        rate: instead of the one it has. Raises ReplayError if there is no such replay, if it is
        over, or if somebody else runs it, also where that comes about between two steps.
        """
        replay = self._claim(id, rate)
        work = _Work(self._connection, self._schema, replay, self._clock)
        throttle = _Throttle(replay.rate, self._clock)
        try:
            while replay.state == "open" and self._wait(id, stop, throttle.pause()):
                before = replay.done
                step = self._step(id, work, throttle.most)
                replay = step.replay
                throttle.took(replay.done - before)
                yield step
                if work.waits and not self._wait(id, stop, _PAUSE):
                    return
        finally:
            if not lost(self._connection):
                with contextlib.suppress(psycopg.Error):
                    self._table.release(self._connection, id, self._runner)

    def _claim(self, id: int, rate: float | None = None) -> Replay:
        held = self._table.claim(self._connection, id, self._runner, silence=SILENCE, rate=rate)
        if held is None:
            self._refuse(id)
        return held

    def _refuse(self, id: int) -> NoReturn:
        """Raise the reason why it is not ours to run."""
        found = self.get(id)
        if found.state != "open":
            raise ReplayError(
                f"replay {id} is {found.state}, with {found.done} of {found.total} jobs done"
            )
        raise ReplayError(
            f"replay {id} is being run by {found.runner}: stop it there or, if that one is gone, "
            f"try again in {SILENCE:.0f} s"
        )

    def _wait(self, id: int, stop: Stop, seconds: float) -> bool:
        """Wait, giving signs of life; whether it goes on then, False if it was stopped."""
        until = self._clock() + seconds
        while not stop.is_set():
            left = until - self._clock()
            if left <= 0:
                return True
            if not stop.wait(min(left, BEAT)) and left > BEAT:
                self._claim(id)
        return False

    def _step(self, id: int, work: _Work, most: int) -> Step:
        """One batch, in one transaction."""
        connection = self._connection
        with transaction(connection, idle=_IDLE, total=_TOTAL, statement=_STATEMENT):
            held = self._table.hold(connection, id, self._runner)
            if held is None:
                self._refuse(id)
            moved, up_to = work.batch(held, most)
            replay = self._table.advance(
                connection, id, after_id=up_to, done=len(moved.ids), skipped=len(moved.skips)
            )
        return Step(replay, moved.skips)


class _Work:
    """Moves the jobs of one replay, batch by batch.

    waits: the last batch did nothing, as its first row is held by somebody.
    """

    def __init__(
        self,
        connection: Connection,
        schema: str | None,
        replay: Replay,
        clock: Callable[[], float],
    ) -> None:
        self._connection = connection
        self._selection = Selection(schema, replay.plan, replay.started_at)
        self._keys = _Keys(replay.plan)
        self._clock = clock
        self._held: tuple[int, float] | None = None
        self.waits = False

    def batch(self, replay: Replay, most: int) -> tuple[Moved, int]:
        """Move the next jobs, in the caller's transaction; also up to which id it is done then."""
        most = min(most, BATCH if self._keys.wanted is None else KEY_BATCH)
        looked = self._selection.look(
            self._connection,
            after_id=replay.after_id,
            last_id=replay.last_id,
            limit=most,
            walk=WALK,
        )
        ids = [id for id, _ in self._keys.among(self._connection, self._selection, looked.ids)]
        locked = self._selection.lock(self._connection, ids) if ids else set()
        free, up_to, given_up = self._until_held(ids, locked, looked.up_to)
        limit_lock_waits(self._connection, LOCK_LIMIT)
        moved = self._move(free)
        moved.skips.extend(given_up)
        if moved.queues:
            self._selection.announce(self._connection, moved.queues)
        return moved, up_to

    def _until_held(
        self, ids: Sequence[int], locked: set[int], up_to: int
    ) -> tuple[Sequence[int], int, list[Skip]]:
        """The jobs before the first that could not be locked.

        It is waited for, so that none is passed over; if it has changed, it is not found again.
        After that none of the batch is waited for.
        """
        place = next((place for place, id in enumerate(ids) if id not in locked), None)
        self.waits = place == 0
        if place is None:
            return ids, up_to, []
        id = ids[place]
        if place > 0 or self._held is None or self._held[0] != id:
            self._held = (id, self._clock())
        elif self._clock() - self._held[1] > PATIENCE:
            reason = f"its row was held by somebody for more than {PATIENCE:.0f} s"
            given_up = [Skip(id, reason) for id in ids if id not in locked]
            return [id for id in ids if id in locked], up_to, given_up
        return ids[:place], id - 1, []

    def _move(self, ids: Sequence[int]) -> Moved:
        """Move locked jobs; those that Postgres refuses, each by itself, are skipped."""
        whole = Moved([], set(), [])

        def write(part: Sequence[int]) -> None:
            moved = self._selection.move(self._connection, part)
            whole.ids.extend(moved.ids)
            whole.queues.update(moved.queues)
            whole.skips.extend(moved.skips)

        failed = by_halves(self._connection, ids, write)
        whole.skips.extend(Skip(id, reason) for id, reason in failed)
        return whole


class _Keys:
    """The filter by key: what a route's template gives for a job."""

    def __init__(self, plan: ReplayPlan) -> None:
        self.wanted = plan.filter.key
        self._routes = [
            (route, Template.parse(route.key)) for route in plan.routes if route.key is not None
        ]

    def among(
        self, connection: Connection, selection: Selection, ids: Sequence[int]
    ) -> list[tuple[int, tuple[str, JobState] | None]]:
        """Those of `ids` that have the key, with route and state; all of them if none is asked for.

        A job for which the template has no value has no key.
        """
        if self.wanted is None or not ids:
            return [(id, None) for id in ids]
        found: list[tuple[int, tuple[str, JobState] | None]] = []
        for job, state in selection.jobs(connection, ids):
            route = self._route(job)
            if route is not None:
                found.append((job.id, (route, state)))
        return found

    def _route(self, job: ClaimedJob) -> str | None:
        for route, template in self._routes:
            if route.takes(job.queue, job.kind):
                with contextlib.suppress(TemplateError):
                    return route.name if template.render(job) == self.wanted else None
        return None


class _Throttle:
    """Lets `rate` jobs a second through, none if that is None to be waited for.

    most: jobs of one batch, so that they come evenly.
    """

    def __init__(self, rate: float | None, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._clock = clock
        self._next = clock()
        self.most = BATCH if rate is None else max(1, min(BATCH, int(rate / 2)))

    def took(self, jobs: int) -> None:
        """So many went through just now."""
        if self._rate is not None:
            self._next = max(self._next, self._clock()) + jobs / self._rate

    def pause(self) -> float:
        """Seconds until the next may."""
        return max(0.0, self._next - self._clock())
