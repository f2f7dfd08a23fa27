"""In which order jobs are listed, and where the next page begins (contract 3.11).

A cursor is River's own text: what a Go client wrote can be gone on from here, and the reverse.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, get_args

import msgspec

from riverbridge.errors import InvalidRequest
from riverbridge.model.job import Job, JobState
from riverbridge.model.job_filter import FINALIZED, ID_MAX

OrderBy = Literal["id", "scheduled_at", "finalized_at", "time"]

_ZERO = datetime.min.replace(tzinfo=UTC)
_NEVER = datetime.max.replace(tzinfo=UTC)
_INFINITE = {_ZERO: "-infinity", _NEVER: "infinity"}
"""What a row's first and last moment may have stood for, so that no row is met twice or never."""

# Go writes base64 in the alphabet of URLs and reads only the other. They differ in two characters,
# which come from these ones and from what is not ASCII: all of it is written as escapes.
_ESCAPES = {ord(char): f"\\u{ord(char):04x}" for char in "<>&?~\x7f"}
_TO_STANDARD = str.maketrans("-_", "+/")


class _Cursor(msgspec.Struct):
    id: Annotated[int, msgspec.Meta(ge=0, le=ID_MAX)]
    kind: str
    queue: str
    sort_field: str
    time: Annotated[datetime, msgspec.Meta(tz=True)]


class JobOrder(msgspec.Struct, frozen=True):
    """An order: the field that was asked for, and the column that this comes to.

    time: the column is that of the first state asked for: scheduled_at, attempted_at of running
    jobs, finalized_at of finalized ones; without states, scheduled_at.
    """

    by: OrderBy
    column: Literal["id", "scheduled_at", "attempted_at", "finalized_at"]
    descending: bool
    may_be_missing: bool
    """Whether a job that is listed may have no such instant; it comes where the latest would."""

    @property
    def name(self) -> str:
        """The order as the statement knows it."""
        return f"{self.column} or none" if self.may_be_missing else self.column

    def cursor(self, job: Job) -> str:
        """The text after which the page following `job` begins."""
        at = _ZERO if self.column == "id" else getattr(job, self.column) or _NEVER
        fields = {
            "id": job.id,
            "kind": job.kind,
            "queue": job.queue,
            "sort_field": self.by,
            "time": _go_time(at),
        }
        text = json.dumps(fields, separators=(",", ":")).translate(_ESCAPES)
        return base64.b64encode(text.encode()).decode()

    def after(self, cursor: str | None) -> dict[str, Any]:
        """The cursor as parameters of the statement. Raises InvalidRequest."""
        if cursor is None:
            return {"after_id": None, "after_time": None}
        read = _read(cursor)
        if read.sort_field != self.by:
            raise InvalidRequest(
                f"after: the cursor is from a list ordered by {read.sort_field!r}, and this one is "
                f"by {self.by!r}: order both alike"
            )
        if self.column == "id":
            return {"after_id": read.id, "after_time": None}
        at = _INFINITE.get(read.time) or _go_time(read.time)
        return {"after_id": read.id, "after_time": at}


def job_order(
    by: OrderBy = "id", *, descending: bool = False, states: Sequence[str] | None = None
) -> JobOrder:
    """The order for a list of jobs in `states`, any if None. Raises InvalidRequest."""
    if by not in get_args(OrderBy):
        raise InvalidRequest(f"order_by: {by!r} is no order: use {', '.join(get_args(OrderBy))}")
    if by == "id" or by == "scheduled_at":
        return JobOrder(by, by, descending, False)
    unfinished = [state for state in states or () if state not in FINALIZED]
    if by == "finalized_at":
        if unfinished:
            raise InvalidRequest(
                f"order_by: finalized_at is only in finished jobs, not in {', '.join(unfinished)} "
                f"ones: ask for the states {', '.join(FINALIZED)}"
            )
        return JobOrder(by, by, descending, False)
    match states[0] if states else None:
        case JobState.RUNNING:
            return JobOrder(by, "attempted_at", descending, True)
        case JobState.CANCELLED | JobState.COMPLETED | JobState.DISCARDED:
            return JobOrder(by, "finalized_at", descending, bool(unfinished))
        case _:
            return JobOrder(by, "scheduled_at", descending, False)


def _go_time(at: datetime) -> str:
    """As Go writes a time: no more digits of a fraction than there are."""
    text = at.isoformat().removesuffix("+00:00")
    return (text.rstrip("0") if "." in text else text) + "Z"


def _read(text: str) -> _Cursor:
    try:
        data = base64.b64decode(text.translate(_TO_STANDARD), validate=True)
        cursor = msgspec.json.decode(data, type=_Cursor)
        cursor.time = cursor.time.astimezone(UTC)
    except (ValueError, OverflowError, AttributeError, TypeError):
        raise InvalidRequest(
            "after: is no cursor of a list of jobs: give back last_cursor as it was"
        ) from None
    return cursor
