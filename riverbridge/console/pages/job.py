"""One job: what happened to it, attempt by attempt, and what it carries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.differences import Difference, difference
from riverbridge.console.frame import Page, Role
from riverbridge.console.ground import Ground
from riverbridge.console.templating import pretty
from riverbridge.model.job import Job, JobState
from riverbridge.model.job_filter import FINALIZED
from riverbridge.store.administration import job_get
from riverbridge.store.receipts import receipts_of
from riverbridge.store.rows import FIRST, LAST

LOG = "river:log"
SHOWN_MAX = 100_000
"""Characters of one value."""

COMPARED_MAX = 24
"""Attempts that are compared with the one before."""


class Moment(NamedTuple):
    """One point of a job's history. gap: seconds since the one before."""

    what: str
    at: datetime
    gap: float | None
    tone: str


class Attempt(NamedTuple):
    """What is known of one attempt."""

    number: int
    worker: str | None
    at: datetime | None
    error: str | None
    trace: str
    log: str


def job(request: Request, ground: Ground) -> Response:
    """The page."""
    schema = ground.database(request).schema
    id = request.path_params["id"]
    found = ground.read(request, job_get(id, schema=schema))
    receipts = ground.read(request, receipts_of(id, schema=schema))
    metadata = found.metadata if isinstance(found.metadata, dict) else {}
    return ground.render(
        request,
        "job.html",
        job=found,
        moments=list(_moments(found)),
        attempts=(tried := attempts(found)),
        differences=differences(tried),
        receipts=receipts,
        args=shown(ground.redaction.args(found.kind, found.args)),
        metadata=shown({k: v for k, v in metadata.items() if k not in (LOG, "output")} or {}),
        output=shown(metadata["output"]) if "output" in metadata else None,
        trace_id=trace_id(metadata),
        final=found.state in FINALIZED,
    )


def shown(value: Any) -> tuple[str, bool]:
    """JSON on several lines, and whether it was cut."""
    text = pretty(value)
    return text[:SHOWN_MAX], len(text) > SHOWN_MAX


def trace_id(metadata: dict[str, Any]) -> str | None:
    """The trace that inserted the job, from W3C's traceparent."""
    parts = str(metadata.get("traceparent", "")).split("-")
    return parts[1] if len(parts) >= 4 and len(parts[1]) == 32 and parts[1].isalnum() else None


def attempts(job: Job) -> list[Attempt]:
    """The attempts, the newest first. Of early ones only what the row still holds."""
    errors = {error.attempt: error for error in job.errors or ()}
    logs = _logs(job.metadata)
    workers = job.attempted_by or []
    # The row keeps the last hundred of them; the last one is the present attempt's.
    offset = job.attempt - len(workers)
    numbers = sorted({*errors, *logs, *range(max(1, offset + 1), job.attempt + 1)}, reverse=True)
    found = []
    for number in numbers:
        error = errors.get(number)
        place = number - offset - 1
        found.append(
            Attempt(
                number,
                str(workers[place]) if 0 <= place < len(workers) else None,
                (error.at if error else job.attempted_at if number == job.attempt else None),
                error.error if error else None,
                error.trace if error else "",
                logs.get(number, "")[:SHOWN_MAX],
            )
        )
    return found


def differences(tried: Sequence[Attempt]) -> dict[int, tuple[int, Difference]]:
    """By attempt, the one that failed before it and how their errors differ; of the newest."""
    failed = [attempt for attempt in tried if attempt.error is not None][: COMPARED_MAX + 1]
    return {
        after.number: (
            before.number,
            difference((before.error or "", before.trace), (after.error or "", after.trace)),
        )
        for after, before in pairwise(failed)
    }


def _logs(metadata: Any) -> dict[int, str]:
    entries = metadata.get(LOG) if isinstance(metadata, dict) else None
    logs: dict[int, str] = {}
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict) and isinstance(entry.get("attempt"), int):
            number = entry["attempt"]
            logs[number] = logs.get(number, "") + str(entry.get("log", ""))
    return logs


def _moments(job: Job) -> Iterator[Moment]:
    points: list[tuple[datetime, str, str]] = [(job.created_at, "created", "")]
    for error in job.errors or ():
        points.append((error.at, f"attempt {error.attempt} failed", "bad"))
    if job.attempted_at is not None:
        points.append((job.attempted_at, f"attempt {job.attempt} began", ""))
    if job.finalized_at is not None:
        tone = {"completed": "good", "discarded": "bad"}.get(str(job.state), "warn")
        points.append((job.finalized_at, str(job.state), tone))
    elif job.state in (JobState.SCHEDULED, JobState.RETRYABLE, JobState.AVAILABLE):
        points.append((job.scheduled_at, "due", ""))
    before: datetime | None = None
    for at, what, tone in sorted(points, key=lambda point: point[0]):
        known = at not in (FIRST, LAST)
        gap = (at - before).total_seconds() if before is not None and known else None
        yield Moment(what, at, gap, tone)
        before = at if known else before


PAGES = (Page("/jobs/{id:int}", job, Role.VIEWER),)
