"""The console of a process that knows routes, sinks and sources, for browsers."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from riverbridge.console.app import console
from riverbridge.console.database import Database as Shown
from riverbridge.console.frame import Page
from riverbridge.console.ground import Ground
from riverbridge.console.known import KNOWN, SinkNow
from riverbridge.console.operations import Operator
from riverbridge.console.pages import PAGES
from riverbridge.model.replay import ReplayRoute
from riverbridge.service.knowing import make_known
from riverbridge.settings import load
from riverbridge.store.database import connector
from tests.support.console_server import served
from tests.support.database import Database


@dataclass(frozen=True)
class House:
    """Where it is served. Operations are started, but carried out only inside `operator`."""

    url: str
    ground: Ground

    @contextmanager
    def operator(self) -> Iterator[None]:
        """Somebody carries them out."""
        stop = threading.Event()
        working = threading.Thread(target=Operator(self.ground).run, args=(stop,))
        working.start()
        try:
            yield
        finally:
            stop.set()
            working.join()


@contextmanager
def house(
    database: Database, *, text: str = "orders", label: str = "production"
) -> Iterator[House]:
    """Its route, one of its sinks, their queues and kinds are called `text`; its source `shop` is
    set as Kafka's. It has a second name for the same database."""
    env = {
        "DATABASE_URL": database.dsn,
        "RIVERBRIDGE_SOURCES__SHOP__TYPE": "kafka",
        "RIVERBRIDGE_SOURCES__SHOP__BOOTSTRAP_SERVERS": "nowhere:1",
        "RIVERBRIDGE_SOURCES__SHOP__TOPICS": "shop",
        "RIVERBRIDGE_SOURCES__SHOP__KIND": "{body.type}",
    }
    sinks = {
        text: SinkNow("open", text, 4.0, 1, 3),
        "events": SinkNow("closed", "", 0.0, 2, 3),
        "hooks": SinkNow("half_open", text, 9.0, 0, 3),
    }
    known = replace(
        make_known(load(env, None, None)),
        routes=[ReplayRoute(text, queues=("*", text), kinds=("*", text), sinks=(*sinks,))],
        sinks=dict.fromkeys(sinks, text),
        sinks_now=lambda: sinks,
    )
    connect = connector(database.dsn, application_name=text)
    databases = {
        "main": Shown("main", connect, label=label, colour="red"),
        "other": Shown("other", connect, label=f"{label} too", colour="green"),
    }
    ground = Ground(databases, extra={KNOWN: known})
    try:
        with served(console(ground)) as site:
            yield House(site.url, ground)
    finally:
        ground.close()


def to_see() -> list[Page]:
    """The pages that people look at."""
    return [
        page
        for page in PAGES
        if "GET" in page.methods and not page.is_api and not page.path.startswith("/static/")
    ]


def to_do() -> list[str]:
    """The paths of the forms that people send."""
    return [page.path for page in PAGES if page.changes and not page.is_api]
