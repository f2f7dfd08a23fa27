"""The console, served on loopback over a test's database, and what it says to programs."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlencode

from starlette.applications import Starlette

from riverbridge.console import database as of_console
from riverbridge.console.app import console
from riverbridge.console.ground import Ground
from riverbridge.console.probes import Server
from riverbridge.console.redaction import Redaction, Rule
from riverbridge.embedded.process import LOOPBACK, port_answers
from riverbridge.store.database import connector
from tests.support.database import Database
from tests.support.running import running
from tests.support.wait import eventually


class Said(NamedTuple):
    """An answer: its status, what it holds, and of which type that is."""

    status: int
    body: Any
    kind: str


class Site:
    """Something that speaks JSON at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url

    def get(self, path: str, **query: Any) -> Said:
        """The answer at `path`; a list in `query` is a parameter several times."""
        return self.call("GET", f"{path}?{urlencode(query, doseq=True)}" if query else path)

    def call(self, method: str, path: str, body: Any = None) -> Said:
        """body: bytes as they are, or what is to be JSON; None for none."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as answer:
                return _said(answer)
        except urllib.error.HTTPError as error:
            with error:
                return _said(error)


def _said(answer: Any) -> Said:
    kind = answer.headers.get_content_type()
    data = answer.read()
    body = json.loads(data) if kind == "application/json" and data else data
    return Said(answer.status, body, kind)


def ground(database: Database, *, redact: tuple[str, ...] = (), **options: Any) -> Ground:
    """What a console over this database stands on."""
    main = of_console.Database("main", connector(database.dsn, application_name="console"))
    rules = Redaction([Rule.parse(text) for text in redact])
    return Ground({"main": main}, redaction=rules, **options)


@contextmanager
def served(app: Any) -> Iterator[Site]:
    """The application at a port of its own."""
    server = Server(app, host=LOOPBACK, port=0)
    with closing(server), running(server):
        eventually(lambda: port_answers(server.port))
        yield Site(f"http://{LOOPBACK}:{server.port}")


@contextmanager
def console_on(database: Database, **options: Any) -> Iterator[Site]:
    """The console over this database, without a login."""
    base = ground(database, **options)
    app: Starlette = console(base)
    try:
        with served(app) as site:
            yield site
    finally:
        base.close()
