"""Jobs and queues in the form that River UI's API gives them.

Args are a text that holds the JSON as Postgres spells it, lists are never null, instants are as Go
spells them. Metadata and errors are passed on as they stand; what is no error of River's form is
shown as the text of one.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import msgspec
from starlette.responses import Response

from riverbridge.console.redaction import Redaction
from riverbridge.model.queue import Queue
from riverbridge.store.counts import QueueCount

_ZERO = "0001-01-01T00:00:00Z"
INT32_MAX = 2**31 - 1


class AttemptError(msgspec.Struct):
    at: str = _ZERO
    attempt: int = 0
    error: str = ""
    trace: str = ""


class JobSummary(msgspec.Struct):
    """A job as it is listed."""

    id: int
    args: str
    attempt: int
    attempted_at: str | None
    attempted_by: list[str]
    created_at: str
    finalized_at: str | None
    kind: str
    max_attempts: int
    priority: int
    queue: str
    scheduled_at: str
    state: str
    tags: list[str]


class JobDetail(JobSummary):
    """A job by itself."""

    errors: list[AttemptError]
    metadata: msgspec.Raw


class Partition(msgspec.Struct):
    by_args: list[str] | None = None
    by_kind: bool | None = None


class Concurrency(msgspec.Struct):
    """How many jobs of a queue may run at once, for River Pro; what is null is as if not given."""

    global_limit: int | None = None
    local_limit: int | None = None
    partition: Partition | None = None

    def whole(self) -> dict[str, Any]:
        """With everything that it says by leaving it out, as River keeps it."""
        partition = self.partition or Partition()
        return {
            "global_limit": self.global_limit or 0,
            "local_limit": self.local_limit or 0,
            "partition": {
                "by_args": partition.by_args,
                "by_kind": partition.by_kind or False,
            },
        }


class QueueDetail(msgspec.Struct):
    count_available: int
    count_running: int
    created_at: str
    concurrency: dict[str, Any] | None
    name: str
    paused_at: str | None
    updated_at: str


class _Row(msgspec.Struct):
    """`to_json` of a row of river_job."""

    id: int
    args: msgspec.Raw
    attempt: int
    attempted_at: str | None
    attempted_by: list[Any] | None
    created_at: str
    finalized_at: str | None
    kind: str
    max_attempts: int
    priority: int
    queue: str
    scheduled_at: str
    state: str
    tags: list[Any]
    errors: list[msgspec.Raw] | None
    metadata: msgspec.Raw


_row = msgspec.json.Decoder(_Row)
_error = msgspec.json.Decoder(AttemptError)
_concurrency = msgspec.json.Decoder(Concurrency)


def job_summary(text: str, redaction: Redaction) -> JobSummary:
    """The job of a row, with what may not be seen of its args hidden."""
    row = _row.decode(text)
    return JobSummary(**_shared(row, redaction))


def job_detail(text: str, redaction: Redaction) -> JobDetail:
    """As `job_summary`, with errors and metadata."""
    row = _row.decode(text)
    errors = [_attempt_error(raw) for raw in row.errors or ()]
    return JobDetail(**_shared(row, redaction), errors=errors, metadata=row.metadata)


def queue_detail(queue: Queue, count: QueueCount) -> QueueDetail:
    return QueueDetail(
        count_available=count.available,
        count_running=count.running,
        created_at=go_time(queue.created_at.isoformat()),
        concurrency=_concurrency_of(queue.metadata),
        name=queue.name,
        paused_at=None if queue.paused_at is None else go_time(queue.paused_at.isoformat()),
        updated_at=go_time(queue.updated_at.isoformat()),
    )


def go_time(text: str) -> str:
    """An instant in UTC, its fraction no longer than it has to be; what is none stays as it is."""
    try:
        at = datetime.fromisoformat(text).astimezone(UTC).isoformat().removesuffix("+00:00")
    except (ValueError, OverflowError):
        return text
    return (at.rstrip("0") if "." in at else at) + "Z"


def answer(value: Any) -> Response:
    """This as JSON."""
    return Response(msgspec.json.encode(value), media_type="application/json")


def _shared(row: _Row, redaction: Redaction) -> dict[str, Any]:
    return {
        "id": row.id,
        "args": _args(row, redaction),
        "attempt": row.attempt,
        "attempted_at": row.attempted_at and go_time(row.attempted_at),
        "attempted_by": row.attempted_by or [],
        "created_at": go_time(row.created_at),
        "finalized_at": row.finalized_at and go_time(row.finalized_at),
        "kind": row.kind,
        "max_attempts": row.max_attempts,
        "priority": row.priority,
        "queue": row.queue,
        "scheduled_at": go_time(row.scheduled_at),
        "state": row.state,
        "tags": row.tags,
    }


def _args(row: _Row, redaction: Redaction) -> str:
    text = bytes(row.args).decode()
    if not redaction.paths(row.kind):
        return text
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        value = text  # too deep to look into: all of it is hidden
    return json.dumps(redaction.args(row.kind, value), ensure_ascii=False)


def _attempt_error(raw: msgspec.Raw) -> AttemptError:
    try:
        error = _error.decode(raw)
    except msgspec.ValidationError:
        return AttemptError(error=bytes(raw).decode())
    error.at = go_time(error.at)
    return error


def _concurrency_of(metadata: Any) -> dict[str, Any] | None:
    """What a queue's metadata overrides; an empty object overrides nothing, nor does nonsense."""
    given = metadata.get("concurrency") if isinstance(metadata, dict) else None
    if not isinstance(given, dict) or not given:
        return None
    try:
        return msgspec.convert(given, Concurrency).whole()
    except msgspec.ValidationError:
        return None
