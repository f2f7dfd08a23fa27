"""The live tail: jobs as they are committed, as server-sent events, by a search like the list's.

event: job      data: a job as the list has it; the id of the event is the job's
event: skipped  data: how many jobs came too fast to be shown
"""

from __future__ import annotations

import asyncio
import logging
import weakref
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

import anyio.to_thread
import msgspec
import psycopg
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from riverbridge.console.api.bridge import shown
from riverbridge.console.arrivals import WATCHERS_MAX, Arrivals
from riverbridge.console.database import Database
from riverbridge.console.frame import Page, Refused, Role
from riverbridge.console.ground import Ground
from riverbridge.console.pages.jobs import Wanted
from riverbridge.model.job_search import JobSearch
from riverbridge.store.search import PAGE_MAX, JobLine, job_search

log = logging.getLogger(__name__)

QUIET = 15.0
"""Seconds without a job after which a comment is sent, so that nobody takes the line for dead."""

_arrivals: weakref.WeakKeyDictionary[Database, Arrivals] = weakref.WeakKeyDictionary()


async def tail(request: Request, ground: Ground) -> Response:
    """The jobs that are committed from now on, if they match `q`."""
    search = Wanted.of(request.query_params.get).search(ground)
    events = _events(request, ground, search)
    # Before the answer begins, as a browser then says that it watches.
    first = await anext(events)
    return StreamingResponse(
        _all(first, events),
        media_type="text/event-stream",
        headers={"X-Accel-Buffering": "no"},
    )


async def _all(first: bytes, events: AsyncGenerator[bytes]) -> AsyncIterator[bytes]:
    async with aclosing(events):
        yield first
        async for event in events:
            yield event


async def _events(request: Request, ground: Ground, search: JobSearch) -> AsyncGenerator[bytes]:
    """The first one comes once no job can be missed any more."""
    database = ground.database(request)
    if database not in _arrivals:
        _arrivals[database] = Arrivals(database.open, database.schema)
    with _arrivals[database].watched(asyncio.get_running_loop()) as watcher:
        if watcher is None:
            raise Refused(503, f"{WATCHERS_MAX} are watching already: try again later")
        ids, skipped = await watcher.next(QUIET)
        yield b"retry: 1000\n: watching\n\n"
        while True:
            if skipped:
                yield b"event: skipped\ndata: %d\n\n" % skipped
            if not ids:
                yield b": nothing new\n\n"
            for start in range(0, len(ids), PAGE_MAX):
                some = ids[start : start + PAGE_MAX]
                for line in await anyio.to_thread.run_sync(_found, request, ground, search, some):
                    yield b"id: %d\nevent: job\ndata: %s\n\n" % (line.id, msgspec.json.encode(line))
            ids, skipped = await watcher.next(QUIET)


def _found(request: Request, ground: Ground, search: JobSearch, ids: list[int]) -> list[JobLine]:
    """Those of the new jobs that match, in the order of their ids."""
    wanted = sorted(set(ids) & set(search.ids)) if search.ids else ids
    if not wanted:
        return []
    search = msgspec.structs.replace(search, ids=tuple(wanted))
    page = job_search(
        search,
        sort="id",
        descending=False,
        limit=PAGE_MAX,
        words_in_args=not ground.redaction,
        schema=ground.database(request).schema,
    )
    try:
        found = ground.read(request, page, seconds=2.0)
    except (psycopg.Error, Refused) as error:
        log.warning("the live tail misses %d jobs: %s", len(wanted), error)
        return []
    return [shown(ground, line) for line in found.jobs]


PAGES = (Page("/api/bridge/tail", tail, Role.VIEWER),)
