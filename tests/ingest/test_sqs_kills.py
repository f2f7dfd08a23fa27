"""The long proof for SQS: processes killed at every step, and each message exactly one job."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest

from riverbridge.embedded.sqs import SqsServer
from riverbridge.testing.crash import POINTS
from tests.ingest.field import BAD_EVERY, Field
from tests.ingest.rows import args_of, in_quarantine, numbers
from tests.support.database import Database, new_name
from tests.support.given import GivenSqs

EVENTS = int(os.environ.get("RIVERBRIDGE_TEST_INGEST_EVENTS", "20000"))
ROUNDS = 2
GROUPS = 7


class Queue(Field):
    """A queue; if it is a FIFO queue, with several groups."""

    def __init__(
        self, server: SqsServer | GivenSqs, database: Database, *, fifo: bool = False
    ) -> None:
        self._url = server.create_queue(new_name("killed"), fifo)
        self._fifo = fifo
        self._client = server.client()
        self._number = 0
        told = {"queue_url": self._url, "endpoint_url": server.endpoint_url, "hidden": 2}
        super().__init__(database, told)

    def send(self, bodies: Sequence[bytes]) -> None:
        entries = []
        for body in bodies:
            entry = {"Id": str(self._number), "MessageBody": body.decode()}
            if self._fifo:
                group = f"g{self._number % GROUPS}"
                entry |= {"MessageGroupId": group, "MessageDeduplicationId": entry["Id"]}
            entries.append(entry)
            self._number += 1
        for at in range(0, len(entries), 10):
            answer = self._client.send_message_batch(
                QueueUrl=self._url,
                Entries=entries[at : at + 10],  # type: ignore[arg-type]
            )
            assert not answer.get("Failed")

    def done(self) -> bool:
        """Whether all is deleted, which is after it was committed."""
        found = self._client.get_queue_attributes(QueueUrl=self._url, AttributeNames=["All"])
        counts: dict[Any, str] = {**found["Attributes"]}
        left = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        return not any(int(counts[name]) for name in left)


def check(field: Queue, points: int, events: int) -> None:
    """Send the rest, and hold the jobs against what was sent."""
    assert field.killed > 0.6 * points, "most have to come to their point"
    field.produce(events - field.sent)
    field.finish()
    assert field.cleaned + numbers(field.database) == dict.fromkeys(range(events), 1)
    assert in_quarantine(field.database) == field.bad
    print(f"\n{events} events, as many jobs; {field.killed} processes killed")


def test_each_message_is_one_job_through_some_kills(
    sqs: SqsServer | GivenSqs, database: Database
) -> None:
    field, points = Queue(sqs, database), ["written", "committing", "committed"]
    field.kill_at_every_point(points, 100, latest=1)
    check(field, len(points), 300)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_twenty_thousand_messages_are_as_many_jobs_through_kills_at_every_step(
    own_sqs: SqsServer, database: Database
) -> None:
    field, points = Queue(own_sqs, database), list(POINTS) * ROUNDS
    for at in range(0, len(points), 2):
        field.kill_at_every_point(points[at : at + 2], EVENTS // len(points))
        # What was committed and not deleted comes again when its job is gone.
        field.clean()
        # ministack walks the whole queue for each request: not more than a few thousand in it.
        field.finish()
    check(field, len(points), EVENTS)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_groups_of_a_fifo_queue_keep_their_order_through_kills_at_every_step(
    own_sqs: SqsServer, database: Database
) -> None:
    field = Queue(own_sqs, database, fifo=True)
    for number, point in enumerate(POINTS):
        field.produce(300)
        with field.process(point=point, nth=2, signal=9) as child:
            if number % 2:
                field.finish()
            else:
                child.wait(60)
    field.finish()
    groups = defaultdict(list)
    for args in args_of(database):
        # The bad ones have their turns among the groups too.
        groups[(args["n"] + args["n"] // BAD_EVERY) % GROUPS].append(args["n"])
    assert len(groups) == GROUPS
    assert all(group == sorted(group) for group in groups.values())
    assert numbers(database) == dict.fromkeys(range(field.sent), 1)
    assert in_quarantine(database) == field.bad


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_frozen_reader_whose_messages_others_got_makes_no_second_job(
    own_sqs: SqsServer, database: Database
) -> None:
    field = Queue(own_sqs, database)
    for point in ("begun", "written", "committing"):
        field.produce(500)
        field.freeze_at(point)
    assert numbers(database) == dict.fromkeys(range(field.sent), 1)
    assert in_quarantine(database) == field.bad
