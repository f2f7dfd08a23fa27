"""What riverqueue's examples and documentation show of its client, as one program."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass

import riverqueue
import sqlalchemy
from riverqueue.driver import riversqlalchemy


@dataclass
class Welcome:
    address: str

    kind: str = "welcome"

    def to_json(self) -> str:
        return json.dumps({"address": self.address})


@dataclass
class Report:
    day: int

    kind: str = "report"

    def to_json(self) -> str:
        return json.dumps({"day": self.day})

    def insert_opts(self) -> riverqueue.InsertOpts:
        return riverqueue.InsertOpts(queue="reports", max_attempts=3)


url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
engine = sqlalchemy.create_engine(url)
client = riverqueue.Client(riversqlalchemy.Driver(engine))

client.insert(Welcome(address="one@example.com"))
result = client.insert(
    Welcome(address="two@example.com"),
    insert_opts=riverqueue.InsertOpts(max_attempts=17, priority=3, queue="my_queue", tags=["mine"]),
)
print(result.job.args, result.job.state, result.unique_skipped_as_duplicated)

client.insert_many([Report(day=1), Report(day=2)])
client.insert_many(
    [
        riverqueue.InsertManyParams(
            Report(day=3), insert_opts=riverqueue.InsertOpts(max_attempts=5)
        ),
        riverqueue.InsertManyParams(
            args=Report(day=4), insert_opts=riverqueue.InsertOpts(queue="other")
        ),
    ]
)

with engine.begin() as session:
    client.insert_tx(session, Welcome(address="three@example.com"))
    client.insert_many_tx(session, [Report(day=5)])
engine.dispose()
