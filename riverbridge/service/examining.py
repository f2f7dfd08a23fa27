"""What is asked of a database whose tables fit, by somebody who is on call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Literal, NamedTuple, TypeVar

import msgspec
import psycopg

from riverbridge.client.adapters.psycopg3 import read
from riverbridge.console.pages.storage import advice, tables_of
from riverbridge.engine.keeper import SILENCE
from riverbridge.model.durations import in_words
from riverbridge.settings import Settings
from riverbridge.store.clock import server_now
from riverbridge.store.counts import queue_summaries
from riverbridge.store.database import Connection
from riverbridge.store.exchange import Exchange
from riverbridge.store.ingest import HELD_MAX, source_summaries
from riverbridge.store.pauses import pauses
from riverbridge.store.periodic import periodic_jobs
from riverbridge.store.rights import missing_rights
from riverbridge.store.storage import holders, relations
from riverbridge.store.workers import leader_seat, working_processes

T = TypeVar("T")

LIMIT = 5.0
"""Seconds for each statement."""

CLOCK_OFF = 2.0
"""Seconds between this machine's clock and the server's that are worth a word."""

WAITS_LONG = 300.0
"""Seconds after which a due job waits for long."""

RUNS_LONG = 3600.0
"""Seconds after which a running job may be stuck."""

RESCUED_WITHIN = 60.0
"""Seconds of silence after which the leases of a dead process should be somebody's again."""

Level = Literal["ok", "warn", "fail"]


class Finding(msgspec.Struct, frozen=True):
    """One line. check: what was looked at. said: how it is. do: what to do about it, where anything
    is to be done. misconfigured: it is the settings', or the tables do not fit."""

    check: str
    level: Level
    said: str
    do: str = ""
    misconfigured: bool = False


class Asking(NamedTuple):
    """Where the questions about a database go, and what the settings say of it."""

    connection: Connection
    settings: Settings

    @property
    def schema(self) -> str | None:
        return self.settings.db_schema

    def read(self, exchange: Exchange[T]) -> T:
        return read(self.connection, exchange, LIMIT)

    def now(self) -> datetime:
        """By the server's clock."""
        return self.read(server_now())


def unread(name: str, error: psycopg.Error) -> Finding:
    match error:
        case psycopg.errors.QueryCanceled():
            return Finding(
                name, "warn", f"takes longer than {LIMIT:g} s to tell", "look at Postgres' load"
            )
        case psycopg.errors.InsufficientPrivilege():
            return Finding(
                name,
                "warn",
                f"cannot be told: {error.diag.message_primary}",
                "grant what docs/operations.md lists for `riverbridge status` and the console",
            )
        case _:
            text = " ".join((error.diag.message_primary or str(error)).split())
            return Finding(name, "fail", f"cannot be told: {text}")


def _rights(asking: Asking) -> Iterator[Finding]:
    settings, user = asking.settings, asking.connection.info.user
    bridged = bool(settings.sinks or settings.routes)
    wanted = {
        "bridge": bridged,
        "receipts": any(route.receipts for route in settings.routes.values()),
        "figures": bool(settings.sinks),
        "upkeep": bridged and settings.elections,
        "ingest": bool(settings.sources),
        "console": settings.http.console,
        "console-changes": settings.http.console and not settings.http.read_only,
    }
    lacking = False
    for name, needed in wanted.items():
        missing = asking.read(missing_rights([name], schema=asking.schema)) if needed else []
        for right in missing:
            lacking = True
            yield Finding(
                "rights",
                "warn" if name.startswith(("console", "figures")) else "fail",
                f"role {user} lacks a right that the {name.replace('-', ' for ')} needs",
                f"as the owner of the tables: GRANT {right} TO {user}",
            )
    if not lacking:
        yield Finding("rights", "ok", f"role {user} has what these settings need")


def _clock(asking: Asking) -> Iterator[Finding]:
    before = datetime.now(UTC)
    there = asking.now()
    after = datetime.now(UTC)
    # The server read its clock in between: what cannot be told apart is not counted.
    off = max((before - there).total_seconds(), (there - after).total_seconds(), 0.0)
    if off > CLOCK_OFF:
        yield Finding(
            "clock",
            "warn",
            f"this machine's and the server's are {in_words(off)} apart",
            "synchronize both; jobs go by the server's, but signatures of AWS and webhooks by ours",
        )
    else:
        yield Finding("clock", "ok", "this machine's and the server's agree")


def _transactions(asking: Asking) -> Iterator[Finding]:
    found = list(advice([], asking.read(holders(schema=asking.schema)), asking.now()))
    yield from _advised("transactions", found, "none has been open for long")


def _storage(asking: Asking) -> Iterator[Finding]:
    tables = tables_of(asking.read(relations(schema=asking.schema)))
    found = list(advice(tables, [], asking.now()))
    yield from _advised("storage", found, "the vacuum keeps up, and every index is valid")


def _advised(check: str, found: list[str], good: str) -> Iterator[Finding]:
    for text in found:
        said, _, do = text.partition(": ")
        yield Finding(check, "warn", said, do)
    if not found:
        yield Finding(check, "ok", good)


def _queues(asking: Asking) -> Iterator[Finding]:
    good = True
    for queue in asking.read(queue_summaries(schema=asking.schema)):
        if queue.paused_at is not None:
            good = False
            yield Finding(
                "queues",
                "warn",
                f"{queue.name} is paused since {_moment(queue.paused_at)}",
                f"riverbridge queues resume {queue.name}",
            )
        elif (queue.oldest_seconds or 0.0) > WAITS_LONG:
            good = False
            yield Finding(
                "queues",
                "warn",
                f"a job of {queue.name} has been due for {in_words(queue.oldest_seconds or 0.0)}",
                "see docs/operations.md, Is it delivering?",
            )
    for pause in asking.read(pauses(schema=asking.schema)):
        good = False
        yield Finding(
            "queues",
            "warn",
            f"{pause.what} {pause.name} is {pause}",
            f"riverbridge {pause.what}s resume {pause.name}",
        )
    if good:
        yield Finding("queues", "ok", "none is paused, and no due job waits for long")


def _periodic(asking: Asking) -> Iterator[Finding]:
    good, now = True, asking.now()
    for job in asking.read(periodic_jobs(schema=asking.schema)):
        standing = job.standing(now)
        if standing == "paused" and job.paused_at is not None:
            said = f"{job.id} is paused since {_moment(job.paused_at)}"
            do = f"riverbridge periodic resume {job.id}"
        elif standing == "late":
            said = f"{job.id} was to run at {_moment(job.next_run_at)}"
            do = "see whether somebody leads, and what its log says of this job"
        else:
            continue
        good = False
        yield Finding("periodic", "warn", said, do)
    if good:
        yield Finding("periodic", "ok", "no durable job is late or paused")


def _processes(asking: Asking) -> Iterator[Finding]:
    good = True
    processes = asking.read(working_processes(schema=asking.schema))
    for process in processes:
        silence, oldest = process.silence, process.oldest or 0.0
        if silence is not None and silence > SILENCE:
            good = False
            held = f" and holds {process.running} jobs" if process.running else ""
            yield Finding(
                "processes",
                "fail" if held and silence > RESCUED_WITHIN else "warn",
                f"{process.id} is silent for {in_words(silence)}{held}",
                "any bridge that serves its queues gives them back: start one"
                if held
                else "it died; its record goes at the next start on that machine, or in a day",
            )
        elif oldest > RUNS_LONG:
            good = False
            yield Finding(
                "processes",
                "warn",
                f"{process.id} runs a job since {in_words(oldest)}",
                "see riverbridge jobs list --state running, and whether it goes on",
            )
    alive = [one for one in processes if one.silence is None or one.silence <= SILENCE]
    if not alive:
        yield Finding("processes", "fail", "nobody works on this database", "start riverbridge run")
    elif good:
        yield Finding("processes", "ok", f"{len(alive)} at work")


def _leader(asking: Asking) -> Iterator[Finding]:
    seat = asking.read(leader_seat(schema=asking.schema))
    if seat is not None and seat.expires_at >= asking.now():
        yield Finding("leader", "ok", f"{seat.leader_id}, since {_moment(seat.elected_at)}")
        return
    yield Finding(
        "leader",
        "fail",
        "nobody leads, so nothing is scheduled, rescued or cleaned up",
        "start a process with RIVERBRIDGE_ELECTIONS=true, or a client of River in Go",
    )


def _moment(at: datetime) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"


def _sources(asking: Asking) -> Iterator[Finding]:
    held = False
    for source in asking.read(source_summaries(schema=asking.schema)):
        if source.quarantined:
            held = True
            many = source.quarantined > HELD_MAX
            events = f"more than {HELD_MAX}" if many else str(source.quarantined)
            yield Finding(
                "quarantine",
                "warn",
                f"{events} events of {source.name} could not become jobs",
                f"riverbridge quarantine list --source {source.name}",
            )
    if not held:
        yield Finding("quarantine", "ok", "holds no event")


CHECKS: dict[str, Callable[[Asking], Iterator[Finding]]] = {
    "rights": _rights,
    "clock": _clock,
    "transactions": _transactions,
    "storage": _storage,
    "queues": _queues,
    "periodic": _periodic,
    "processes": _processes,
    "leader": _leader,
    "quarantine": _sources,
}
"""What is asked of a database whose tables fit."""
