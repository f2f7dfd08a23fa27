"""The rows of `river_job`, as a lane and a rescuer need them.

All calls run inside a transaction that the caller has opened.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

import msgspec

from riverbridge.model.job import ClaimedJob, JobState
from riverbridge.model.receipt import Receipt
from riverbridge.model.settlement import Lease, Settlement
from riverbridge.model.text import error_text
from riverbridge.sql import statement
from riverbridge.store.database import Connection
from riverbridge.store.exchange import Rows

EVERYTHING = "-infinity"
"""The floor that hides nothing."""


class Orphan(msgspec.Struct, frozen=True):
    """A lease whose process has fallen silent."""

    lease: Lease
    cancel_marked: bool
    rescues: int
    """How often it was taken back before."""


class JobTable:
    """Claims, settles and leases. `client` is what goes into attempted_by."""

    def __init__(self, schema: str | None, client: str) -> None:
        self._client = client
        self._claim = statement("job/claim", schema)
        self._complete = statement("job/complete", schema)
        self._delete = statement("job/delete", schema)
        self._settle = statement("job/settle", schema)
        self._lease = statement("job/lease", schema)
        self._settle_leased = statement("job/settle_leased", schema)
        self._still_leased = statement("job/still_leased", schema)
        self._delete_leased = statement("job/delete_leased", schema)
        self._orphans = statement("job/orphans", schema)
        self._newest = statement("job/newest", schema)
        self._waiting = statement("job/waiting", schema)
        self._orphans_of_batch = statement("job/orphans_of_batch", schema)
        self._insert_receipts = statement("receipt/insert", schema)

    def claim(
        self,
        connection: Connection,
        *,
        queue: str,
        kinds: Sequence[str],
        taken: bool,
        floors: Sequence[str],
        aside: Sequence[int],
        limit: int,
        byte_budget: int,
        after: Sequence[int] = (0, 0, 0, 0),
        back: float = 1.0,
    ) -> list[ClaimedJob]:
        """Lock up to `limit` due jobs of `queue`, or as many as `byte_budget` bytes of args hold.

        kinds, taken: LIKE patterns, and whether a kind must match one of them or none.
        floors: for priorities 1 to 4, the scheduled_at (as text) below which no job is expected.
        aside: ids not to take. after: of the jobs right at a floor, the id above which they are.
        back: seconds below the floors from which on it reads.
        """
        parameters = claim_parameters(
            queue=queue,
            kinds=kinds,
            taken=taken,
            floors=floors,
            aside=aside,
            limit=limit,
            byte_budget=byte_budget,
            after=after,
            back=back,
        )
        rows = connection.execute(self._claim, parameters, binary=True).fetchall()
        return [ClaimedJob(*row) for row in rows]

    def complete(self, connection: Connection, ids: Sequence[int]) -> int:
        """Settle locked rows as delivered; returns how many rows were written."""
        return connection.execute(
            self._complete, {"ids": list(ids), "client": self._client}
        ).rowcount

    def delete(self, connection: Connection, ids: Sequence[int]) -> int:
        """Delete delivered rows, complete those that must stay; returns how many were settled."""
        deleted = connection.execute(self._delete, {"ids": list(ids)}).rowcount
        return deleted if deleted == len(ids) else deleted + self.complete(connection, ids)

    def settle(
        self, connection: Connection, settlements: Sequence[Settlement]
    ) -> dict[int, JobState]:
        """Settle locked rows, each in its own way; returns what those that were written got.

        That is `cancelled` for a job that was to come back though somebody asked to cancel it.
        """
        parameters = _columns(settlements) | {
            "ages": [s.age for s in settlements],
            "client": self._client,
        }
        return _states(connection.execute(self._settle, parameters).fetchall())

    def lease(self, connection: Connection, jobs: Sequence[ClaimedJob]) -> list[Lease]:
        """Turn locked rows into leases, in the order of `jobs`; they hold once committed."""
        rows = connection.execute(
            self._lease, {"ids": [job.id for job in jobs], "client": self._client}
        ).fetchall()
        return leases_of(jobs, rows, self._client)

    def settle_leased(
        self, connection: Connection, settled: Sequence[tuple[Lease, Settlement]]
    ) -> dict[int, JobState]:
        """Settle leases that are still ours; returns what those got, as `settle` does."""
        parameters = leased_parameters(settled)
        return _states(connection.execute(self._settle_leased, parameters).fetchall())

    def still_leased(self, connection: Connection, leases: Sequence[Lease]) -> set[int]:
        """The ids of those `leases` that are still ours, as `settle_leased` judges it."""
        if not leases:
            return set()
        parameters = {"ids": [lease.job.id for lease in leases]} | _fence(leases)
        rows = connection.execute(self._still_leased, parameters).fetchall()
        return {id_ for (id_,) in rows}

    def delete_leased(self, connection: Connection, leases: Sequence[Lease]) -> set[int]:
        """Delete delivered leases that are still ours; returns the ids that were.

        A row that must stay, for its unique key, is not deleted: settle it as completed.
        """
        parameters = {"ids": [lease.job.id for lease in leases]} | _fence(leases)
        rows = connection.execute(self._delete_leased, parameters).fetchall()
        return {id_ for (id_,) in rows}

    def newest(self, connection: Connection, *, limit: int, byte_budget: int) -> list[ClaimedJob]:
        """The last `limit` jobs that were inserted, or as many as `byte_budget` bytes of args hold,
        whatever became of them; nothing is locked."""
        parameters = {"limit": limit, "bytes": byte_budget}
        rows = connection.execute(self._newest, parameters, binary=True).fetchall()
        return [ClaimedJob(*row) for row in rows]

    def waiting(self, connection: Connection, ids: Sequence[int]) -> dict[int, float]:
        """Those of `ids` that are still due, each with the seconds since then."""
        if not ids:
            return {}
        return dict(connection.execute(self._waiting, {"ids": list(ids)}).fetchall())

    def keep_receipts(self, connection: Connection, receipts: Sequence[Receipt]) -> None:
        """Write these into our own table; a text is cut as an error's is."""
        values = {
            "jobs": [each.job_id for each in receipts],
            "sinks": [each.sink for each in receipts],
            "attempts": [each.attempt for each in receipts],
            "receipts": [None if each.text is None else error_text(each.text) for each in receipts],
        }
        connection.execute(self._insert_receipts, values)

    def orphans(
        self,
        connection: Connection,
        *,
        owners: Sequence[str],
        queues: Sequence[str],
        limit: int,
        age: float = 0.0,
        held: Collection[int] = (),
    ) -> list[Orphan]:
        """Lock up to `limit` rows of `queues` running for `age` seconds, last owned by `owners`.

        held: ids to pass over.
        """
        rows = connection.execute(
            self._orphans,
            {
                "owners": list(owners),
                "queues": list(queues),
                "limit": limit,
                "age": age,
                "held": list(held),
            },
            binary=True,
        ).fetchall()
        return _orphans(rows)

    def orphans_of_batch(
        self, connection: Connection, ids: Sequence[int], *, leased_by: str, leased_at: datetime
    ) -> list[Orphan]:
        """Lock those rows of a batch that are still leased as they were."""
        given = {"ids": list(ids), "leased_by": leased_by, "leased_at": leased_at}
        return _orphans(connection.execute(self._orphans_of_batch, given, binary=True).fetchall())


def claim_parameters(
    *,
    queue: str,
    kinds: Sequence[str],
    taken: bool,
    floors: Sequence[str],
    aside: Sequence[int],
    limit: int,
    byte_budget: int,
    after: Sequence[int] = (0, 0, 0, 0),
    back: float = 1.0,
) -> dict[str, Any]:
    """Those of `job/claim`; what they mean is said of `JobTable.claim`."""
    return {
        "queue": queue,
        "kinds": list(kinds),
        "taken": taken,
        "floor_1": floors[0],
        "floor_2": floors[1],
        "floor_3": floors[2],
        "floor_4": floors[3],
        "after_1": after[0],
        "after_2": after[1],
        "after_3": after[2],
        "after_4": after[3],
        "back": back,
        "aside": list(aside),
        "limit": limit,
        "bytes": byte_budget,
    }


def leases_of(jobs: Sequence[ClaimedJob], rows: Rows, client: str) -> list[Lease]:
    """The leases of `jobs`, from the rows that `job/lease` returned."""
    written: dict[int, tuple[int, datetime]] = {id_: (number, at) for id_, number, at in rows}
    return [
        Lease(job, written[job.id][0], client, written[job.id][1])
        for job in jobs
        if job.id in written
    ]


def leased_parameters(settled: Sequence[tuple[Lease, Settlement]]) -> dict[str, Any]:
    """Those of `job/settle_leased`."""
    columns = _columns([settlement for _, settlement in settled])
    return columns | _fence([lease for lease, _ in settled])


def _orphans(rows: Rows) -> list[Orphan]:
    found = []
    for *columns, attempted_at, owner, cancel_marked, rescues in rows:
        job = ClaimedJob(*columns)
        # The row already counts the attempt that was lost; a ClaimedJob shows the one before.
        before = msgspec.structs.replace(job, attempt=job.attempt - 1)
        lease = Lease(before, job.attempt, owner, attempted_at)
        found.append(Orphan(lease, cancel_marked, rescues))
    return found


def _columns(settlements: Sequence[Settlement]) -> dict[str, Any]:
    return {
        "ids": [s.id for s in settlements],
        "states": [s.state.value for s in settlements],
        "errors": [s.error for s in settlements],
        "delays": [s.delay for s in settlements],
        "attempts": [s.attempt for s in settlements],
        "metadata": [s.metadata for s in settlements],
        "traces": [s.trace for s in settlements],
    }


def _states(rows: Sequence[tuple[Any, ...]]) -> dict[int, JobState]:
    return {id_: JobState(state) for id_, state in rows}


def _fence(leases: Sequence[Lease]) -> dict[str, Any]:
    return {
        "owners": [lease.owner for lease in leases],
        "claimed_at": [lease.claimed_at for lease in leases],
        "leased": [lease.attempt for lease in leases],
    }
