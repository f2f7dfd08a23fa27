"""What the pages stand on: the databases, the templates, and what the console was told."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from riverbridge.client.adapters.psycopg3 import send
from riverbridge.console.database import Database
from riverbridge.console.frame import Refused, visitor_of
from riverbridge.console.redaction import Redaction
from riverbridge.console.replays import Replays
from riverbridge.console.templating import Templates
from riverbridge.store.audit import Record, audited
from riverbridge.store.database import Connection
from riverbridge.store.exchange import Exchange, carry_out

T = TypeVar("T")


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True)
class Ground:
    """One for all requests; every method may be called from several threads at once.

    databases: by name, the default first. read_only: nothing can be changed, by anybody.
    redaction: which values of args are not shown. clock: now, for what is shown; instants that are
    written are the database's. extra: what pages need of the process they are served by, such as
    its breakers, by name. wake: set once there is an operation to be carried out.
    replays: runs those that are started here.
    """

    databases: Mapping[str, Database]
    templates: Templates = field(default_factory=Templates)
    read_only: bool = False
    redaction: Redaction = field(default_factory=Redaction)
    clock: Any = _now
    extra: Mapping[str, Any] = field(default_factory=dict)
    wake: threading.Event = field(default_factory=threading.Event)
    replays: Replays = field(default_factory=Replays)

    def database(self, request: Request) -> Database:
        """The one that the path names, as in /on/NAME/jobs, or the default."""
        database: Database = request.state.database
        return database

    def read(self, request: Request, exchange: Exchange[T], *, seconds: float = 5.0) -> T:
        """Run a question in a read-only transaction whose statements take `seconds` at most.

        Raises psycopg.errors.QueryCanceled past that, which the visitor is told.
        """
        return self.database(request).read(exchange, seconds=seconds)

    def change(
        self,
        request: Request,
        exchange: Exchange[tuple[T, Sequence[Record]]],
        *,
        seconds: float = 10.0,
    ) -> T:
        """Run a change and write what it says it did to the audit, in one transaction.

        exchange: an operation that returns its result and a Record for each thing it changed.
        Raises Refused where the console or the database is read-only.
        """
        if self.is_read_only(request):
            raise Refused(403, "this console is read-only")
        return self.database(request).change(self._audited(request, exchange), seconds=seconds)

    def record(self, request: Request, connection: Connection, records: Sequence[Record]) -> None:
        """Enter into the audit what was changed in the transaction that `connection` is in."""

        def told() -> Exchange[tuple[None, Sequence[Record]]]:
            yield from ()
            return None, records

        carry_out(self._audited(request, told()), lambda query: send(connection, query))

    def _audited(
        self, request: Request, exchange: Exchange[tuple[T, Sequence[Record]]]
    ) -> Exchange[T]:
        visitor = visitor_of(request)
        return audited(
            exchange,
            who=visitor.name,
            role=visitor.role.word,
            way=visitor.way,
            schema=self.database(request).schema,
        )

    def is_read_only(self, request: Request) -> bool:
        """Whether nothing can be changed in this request's database."""
        return self.read_only or self.database(request).read_only

    def render(
        self, request: Request, template: str, /, status: int = 200, **values: Any
    ) -> Response:
        """A page or a fragment of one; what every template has is said in `templating.py`."""
        text = self.templates.render(template, self.shared(request) | values)
        return HTMLResponse(text, status)

    def shared(self, request: Request) -> dict[str, Any]:
        """What every template has."""
        state = request.state
        return {
            "request": request,
            "base": request.scope.get("root_path", ""),
            "home": state.home,
            "visitor": getattr(state, "visitor", None),
            "database": state.database,
            "databases": tuple(self.databases.values()),
            "read_only": self.is_read_only(request),
            "csrf": state.csrf,
            "said": state.said,
            "now": self.clock(),
        }

    def close(self) -> None:
        """Stop the replays that run here, and close all connections."""
        self.replays.close()
        for database in self.databases.values():
            database.close()
