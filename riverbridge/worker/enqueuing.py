"""The duty that inserts a process's periodic jobs, by the clients' own insert."""

from __future__ import annotations

from collections.abc import Sequence

from riverbridge.client.adapters.psycopg3 import send
from riverbridge.model.options import NewJob
from riverbridge.store.database import Connection
from riverbridge.store.exchange import carry_out
from riverbridge.store.insert import insert_many, to_announce
from riverbridge.upkeep.enqueuer import PeriodicEnqueuer
from riverbridge.upkeep.periodic import PeriodicJobs


def enqueuer(jobs: PeriodicJobs, *, schema: str | None) -> PeriodicEnqueuer:
    """For the leader of these tables."""

    def insert(connection: Connection, new: Sequence[NewJob]) -> None:
        inserting = insert_many(new, queues=to_announce(new), schema=schema)
        carry_out(inserting, lambda query: send(connection, query))

    return PeriodicEnqueuer(jobs, insert, schema=schema)
