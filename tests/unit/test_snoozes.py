"""Counting snoozes in metadata that others wrote: no row may stop a lane."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from riverbridge.model.instant import write_instant
from riverbridge.model.job import ClaimedJob, JobState
from riverbridge.model.outcome import Snoozed
from riverbridge.model.retry import RiverRetry
from riverbridge.model.settlement import settlement

NOW = write_instant(datetime(2026, 1, 2, tzinfo=UTC))


def counted(metadata: str) -> int:
    job = ClaimedJob(1, "k", "{}", metadata, 3, 25, 0, 1, "q", "", NOW, NOW)
    row = settlement(job, Snoozed(30), retry=RiverRetry())
    assert row is not None
    assert row.state is JobState.SCHEDULED
    assert row.attempt == 3
    assert row.metadata is not None
    merged = msgspec.json.decode(row.metadata, type=dict[str, int])
    assert merged.keys() == {"snoozes"}
    return merged["snoozes"]


@pytest.mark.parametrize(
    ("metadata", "count"),
    [
        ("{}", 1),
        ('{"snoozes": 4, "a": {"snoozes": 9}}', 5),
        ('{"snoozes": 2.5}', 3),
        ('{"snoozes": "7"}', 8),
        ('{"snoozes": " +1_0"}', 1),
        ('{"snoozes": "٣"}', 1),
        ('{"snoozes": [4]}', 1),
        ('{"snoozes": null}', 1),
        ('{"snoozes": 9223372036854775807}', 1),
        ('{"snoozes": 1' + "0" * 400 + "}", 1),
        ('{"snoozes": 1' + "0" * 400 + ".5}", 1),
        ('{"snoozes": 1' + "0" * 5000 + "}", 1),
        ('{"snoozes": "1' + "0" * 5000 + '"}', 1),
        ("[1]", 1),
        ("null", 1),
        ('"text"', 1),
        ('{"snoozes": ' + "[" * 5000 + "]" * 5000 + "}", 1),
    ],
)
def test_one_more_than_what_river_would_read(metadata: str, count: int) -> None:
    assert counted(metadata) == count
