"""What became of one job: a value, never an exception.

A taker (a sink, or a Python job function) turns every job of a batch into one of these; the engine
turns them into rows. Three of them leave no trace in the row, because nothing was tried that says
anything about the job: `Unreachable`, `Misconfigured` and `Withheld`.

metadata, where there is one: the text of a JSON object that is merged into the row's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Delivered:
    """The sink acknowledged it (or the function returned). Row: `completed`.

    receipt: where it went, for people: `orders[3]@1042` or an SQS message id.
    """

    receipt: str | None = None


@dataclass(frozen=True, slots=True)
class Completed:
    """The function returned and left something for the row. Row: `completed`."""

    metadata: str


@dataclass(frozen=True, slots=True)
class Retry:
    """Refused or lost for now. Row: one attempt spent, River's backoff, error appended.

    ambiguous: the receiver may have it all the same (the answer was lost). trace: the stack, for
    people. delay: seconds to the next attempt, where the feed's retry policy is not to be asked.
    after: seconds the receiver asked to be left alone; the next attempt is not earlier than that.
    """

    error: str
    ambiguous: bool = False
    trace: str = ""
    delay: float | None = None
    metadata: str | None = None
    after: float = 0.0


@dataclass(frozen=True, slots=True)
class Permanent:
    """Refused for good (too large, invalid). Row: `discarded` at once, error appended."""

    error: str
    metadata: str | None = None


@dataclass(frozen=True, slots=True)
class Unreachable:
    """Nobody answered. Row: released as it was, no attempt spent. The sink's breaker opens."""

    error: str


@dataclass(frozen=True, slots=True)
class Misconfigured:
    """Credentials, rights or a missing topic or queue. Row: released as it was, no attempt spent.

    The sink pauses until a probe gets through.
    """

    error: str


@dataclass(frozen=True, slots=True)
class Withheld:
    """Not sent, as an earlier job of its key has not arrived, or its sink takes no more just now.
    Row: released as it was."""

    error: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Not to be worked. Row: `cancelled`, attempt spent, error appended."""

    error: str
    trace: str = ""
    metadata: str | None = None


@dataclass(frozen=True, slots=True)
class Snoozed:
    """Not yet. Row: `scheduled` (`available` up to 5 s), attempt given back, `snoozes` counted."""

    seconds: float
    metadata: str | None = None


@dataclass(frozen=True, slots=True)
class Parked:
    """One of its receivers is closed or lags. Row: `scheduled`, attempt as it was, no error.

    error: appended all the same, where a refusal is what waits for a receiver (a dead letter).
    """

    seconds: float
    metadata: str | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class Interrupted:
    """The process stops and ended it. Row: `available` at once, attempt given back, no error."""

    metadata: str | None = None


@dataclass(frozen=True, slots=True)
class InDoubt:
    """It may have arrived, and the sink can be asked later. Row: stays `running` until it was.

    Only for a batch that holds a slot of the sink's (`riverbridge.engine.slots`).
    """

    error: str


Outcome = (
    Delivered
    | Completed
    | Retry
    | Permanent
    | Unreachable
    | Misconfigured
    | Withheld
    | Cancelled
    | Snoozed
    | Parked
    | Interrupted
    | InDoubt
)
