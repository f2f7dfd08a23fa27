"""All pages of the console, in the order in which their paths are tried."""

from __future__ import annotations

from collections.abc import Sequence

from riverbridge.console.api import bridge, river
from riverbridge.console.api import tail as tail_api
from riverbridge.console.frame import Page
from riverbridge.console.pages import (
    assets,
    audit,
    clone,
    dead_letters,
    job,
    jobs,
    operations,
    overview,
    periodic,
    processes,
    queues,
    replays,
    routes,
    sources,
    storage,
    tail,
    views,
)

PAGES: Sequence[Page] = (
    *assets.PAGES,
    *overview.PAGES,
    *jobs.PAGES,
    *views.PAGES,
    *job.PAGES,
    *clone.PAGES,
    *dead_letters.PAGES,
    *queues.PAGES,
    *routes.PAGES,
    *sources.PAGES,
    *replays.PAGES,
    *periodic.PAGES,
    *operations.PAGES,
    *processes.PAGES,
    *storage.PAGES,
    *audit.PAGES,
    *tail.PAGES,
    *river.PAGES,
    *tail_api.PAGES,
    *bridge.PAGES,
)
