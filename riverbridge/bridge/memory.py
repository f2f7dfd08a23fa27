"""What a job with several sinks remembers in its metadata: who has it, and whom it waits for.

`riverbridge:delivered` is an array of the names of sinks that have confirmed the job;
`riverbridge:parked` an object: `for`, the sinks it waits for, `times`, how often it was parked, and
`refused_by`, the dead-letter sink that did not take it.
Users can write metadata. What is not of this form is read as if it were not there, which costs at
most a second delivery of that very job.
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache

import msgspec

from riverbridge.model.job import ClaimedJob

MARK = '"riverbridge:'
"""What the metadata holds of jobs that may remember something."""

FORGOTTEN = '{"riverbridge:delivered": [], "riverbridge:parked": {"for": [], "times": 0}}'
"""Merged once all sinks have the job: one that is retried by hand then goes to all of them."""

_NUMBER_MAX = 1_000_000
_NULL = msgspec.Raw(b"null")


class Memory(msgspec.Struct, frozen=True, gc=False):
    """What one job remembers."""

    delivered: frozenset[str] = frozenset()
    times: int = 0
    kept_for: frozenset[str] = frozenset()
    """The dead-letter sink it waits for, or that refused it."""
    replay: int = 0

    @property
    def waited(self) -> bool:
        """Whether there is anything to take back once all sinks have the job."""
        return bool(self.delivered or self.times)


NOTHING = Memory()


class _Noted(msgspec.Struct):
    delivered: msgspec.Raw = msgspec.field(name="riverbridge:delivered", default=_NULL)
    parked: msgspec.Raw = msgspec.field(name="riverbridge:parked", default=_NULL)
    replay: msgspec.Raw = msgspec.field(name="riverbridge:replay", default=_NULL)


_noted = msgspec.json.Decoder(_Noted)
_any = msgspec.json.Decoder()


def recall(job: ClaimedJob, sinks: Collection[str]) -> Memory:
    """What `job` remembers of `sinks`; names of others mean nothing here."""
    if MARK not in job.metadata:
        return NOTHING
    try:
        noted = _noted.decode(job.metadata)
        delivered, parked = _any.decode(noted.delivered), _any.decode(noted.parked)
        replay = _any.decode(noted.replay)
    except (msgspec.MsgspecError, RecursionError):
        return NOTHING
    parked = parked if isinstance(parked, dict) else {}
    kept_for = _names(parked.get("for")) | _names(parked.get("refused_by"))
    times = _number(parked.get("times"))
    memory = Memory(_names(delivered, sinks), times, kept_for, _number(replay))
    return NOTHING if memory == NOTHING else memory


def note_delivered(delivered: Collection[str]) -> str | None:
    """What is merged into the metadata of a job that these sinks have; None if none has it."""
    return _delivered(tuple(sorted(delivered))) if delivered else None


def note_parked(
    metadata: str | None,
    waits_for: Collection[str],
    times: int,
    refused_by: Collection[str] = (),
) -> str:
    """`metadata`, the text of an object to merge, and that the job is parked.

    waits_for: the sinks whose return brings it forward. refused_by: that of the dead letters, if it
    answers and does not take this one: only time helps.
    """
    return _parked(metadata, tuple(sorted(waits_for)), times, tuple(refused_by))


# The jobs of a batch nearly always remember the same.
@lru_cache(maxsize=1000)
def _delivered(names: tuple[str, ...]) -> str:
    return msgspec.json.encode({"riverbridge:delivered": names}).decode()


@lru_cache(maxsize=1000)
def _parked(
    metadata: str | None, names: tuple[str, ...], times: int, refused_by: tuple[str, ...]
) -> str:
    parked: dict[str, object] = {"for": names, "times": times}
    if refused_by:
        parked["refused_by"] = refused_by
    noted = msgspec.json.encode({"riverbridge:parked": parked}).decode()
    return noted if metadata is None or metadata == "{}" else f"{metadata[:-1]},{noted[1:]}"


def _number(value: object) -> int:
    return value if type(value) is int and 0 <= value <= _NUMBER_MAX else 0


def _names(value: object, known: Collection[str] | None = None) -> frozenset[str]:
    if not isinstance(value, list):
        return frozenset()
    return frozenset(
        name for name in value if isinstance(name, str) and (known is None or name in known)
    )
