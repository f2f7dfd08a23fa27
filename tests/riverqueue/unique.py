"""riverqueue's unique jobs. (Its own 0.7.0 cannot insert them into River's tables of version 7.)"""

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


url = os.environ["DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://")
engine = sqlalchemy.create_engine(url)
client = riverqueue.Client(riversqlalchemy.Driver(engine))
once = riverqueue.InsertOpts(
    unique_opts=riverqueue.UniqueOpts(by_args=True, by_period=24 * 3600, by_queue=True)
)
first = client.insert(Welcome(address="one@example.com"), insert_opts=once)
with engine.begin() as session:
    again = client.insert_tx(session, Welcome(address="one@example.com"), insert_opts=once)
other = client.insert(Welcome(address="two@example.com"), insert_opts=once)
print(first.unique_skipped_as_duplicated, again.unique_skipped_as_duplicated)
print(again.job.id == first.job.id, other.job.id == first.job.id)
engine.dispose()
