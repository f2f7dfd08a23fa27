"""The console on a database, asked without a server in between; and what its pages hold."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html.parser import HTMLParser
from typing import Any

import msgspec
import psycopg
from starlette.applications import Starlette
from starlette.testclient import TestClient

from riverbridge.console.access.authentication import Authentication, User
from riverbridge.console.access.forgery import Hosts
from riverbridge.console.access.hashes import PasswordHash, token_hash
from riverbridge.console.app import console
from riverbridge.console.database import Database as Shown
from riverbridge.console.frame import Page, Role
from riverbridge.console.ground import Ground
from riverbridge.console.pages import PAGES
from riverbridge.store.database import connector
from tests.support.database import Database

SITE = "http://localhost:8080"
PASSWORD = "correct horse battery"
HASH = PasswordHash(14, 8, 1, b"salt of the tests", b"")
HASH = HASH._replace(digest=HASH._derived(PASSWORD, 32))
"""The cheapest that is allowed: what it costs to guess is not what these tests are about."""

USERS = [User(role.word, role, HASH, [token_hash(f"token of {role.word}")]) for role in Role]


def bearer(role: Role | None) -> dict[str, str]:
    """The headers of somebody with this role."""
    return {} if role is None else {"Authorization": f"Bearer token of {role.word}"}


def basic(name: str, password: str = PASSWORD) -> dict[str, str]:
    """The headers of a browser that has asked for a name and a password."""
    given = base64.b64encode(f"{name}:{password}".encode()).decode()
    return {"Authorization": f"Basic {given}"}


MADE: list[Desk] = []
"""Those that the fixture `closed` closes at the end of a test."""


@dataclass
class Desk:
    """A console, its database, and somebody who asks it: an administrator unless it is said."""

    database: Database | None
    ground: Ground
    app: Starlette
    role: Role | None = Role.ADMIN

    def client(self, **headers: str) -> TestClient:
        """Somebody with cookies of their own; redirects are not followed."""
        return TestClient(
            self.app,
            base_url=SITE,
            headers=headers or bearer(self.role),
            follow_redirects=False,
            raise_server_exceptions=True,
        )

    def get(self, path: str, **query: Any) -> Any:
        """The answer to a question."""
        return self.client().get(path, params=query)

    def post(self, path: str, role: Role | None = None, **fields: Any) -> Any:
        """The answer to a form, sent by a program with a token."""
        headers = bearer(role or self.role)
        return TestClient(self.app, base_url=SITE, follow_redirects=False).post(
            path, data=fields, headers=headers
        )

    def row(self, id: int) -> Any:
        """The job's row, as JSON has it; None if there is none."""
        assert self.database is not None  # this test has one
        with self.database.connect() as connection:
            found = connection.execute(
                "SELECT to_json(job)::text FROM river_job AS job WHERE id = %s", [id]
            ).fetchone()
        return None if found is None else msgspec.json.decode(found[0])

    def audit(self) -> list[tuple[Any, ...]]:
        """Who did what to what, in order."""
        assert self.database is not None  # this test has one
        with self.database.connect() as connection:
            return connection.execute(
                "SELECT who, action, subject FROM riverbridge_audit ORDER BY id"
            ).fetchall()

    def close(self) -> None:
        self.ground.close()


def desk(
    database: Database | None,
    *,
    login: bool = True,
    pages: Sequence[Page] = PAGES,
    prefix: str = "",
    hosts: Hosts | None = None,
    others: Mapping[str, Database] | None = None,
    **ground: Any,
) -> Desk:
    """A console; without a database for pages that need none. ground: what else its is told."""

    def shown(name: str, of: Database | None) -> Shown:
        dsn = "host=/nowhere" if of is None else of.dsn
        return Shown(name, connector(dsn), label=f"the {name} one", colour="red")

    databases = {"main": shown("main", database)}
    databases |= {name: shown(name, other) for name, other in (others or {}).items()}
    made = Ground(databases, **ground)
    app = console(
        made,
        authentication=Authentication(USERS if login else ()),
        hosts=hosts,
        prefix=prefix,
        pages=pages,
    )
    MADE.append(Desk(database, made, app, Role.ADMIN if login else None))
    return MADE[-1]


def insert(connection: psycopg.Connection[Any], **columns: Any) -> int:
    """A job with these columns; args and metadata as values, errors as a list of them."""
    given: dict[str, Any] = {"kind": "k", "queue": "q", "state": "available", "max_attempts": 25}
    given |= columns
    finalized = given["state"] in ("completed", "cancelled", "discarded")
    row = connection.execute(
        """
        INSERT INTO river_job (kind, queue, state, attempt, max_attempts, args, metadata, tags,
            priority, errors, attempted_by, attempted_at, finalized_at, created_at)
        VALUES (%(kind)s, %(queue)s, %(state)s::river_job_state, %(attempt)s, %(max_attempts)s,
            %(args)s::jsonb, %(metadata)s::jsonb, %(tags)s::varchar[], %(priority)s,
            (SELECT array_agg(each) FROM jsonb_array_elements(%(errors)s::jsonb) AS each),
            %(attempted_by)s, CASE WHEN %(attempt)s > 0 THEN now() END, %(finalized_at)s,
            now() - make_interval(secs => %(age)s))
        RETURNING id
        """,
        {
            "attempt": 0, "tags": [], "priority": 1, "attempted_by": None, "age": 0.0,
            **given,
            "finalized_at": "now" if finalized else None,
            "args": msgspec.json.encode(given.get("args", {})).decode(),
            "metadata": msgspec.json.encode(given.get("metadata", {})).decode(),
            "errors": msgspec.json.encode(given.get("errors", [])).decode(),
        },
    ).fetchone()  # fmt: skip
    assert row is not None
    return int(row[0])


class Markup(HTMLParser):
    """The elements of a page: what a browser would make of it."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        """All words."""
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, name: str) -> list[str]:
        """The values of an attribute."""
        return [attrs[name] for found, attrs in self.elements if found == tag and name in attrs]

    def ids(self) -> list[int]:
        """The jobs of a list."""
        return [int(attrs["data-id"]) for tag, attrs in self.elements
                if tag == "tr" and "data-id" in attrs]  # fmt: skip
