"""What every page of the console is made of.

A module of pages lists its own `PAGES`; `app.py` puts them together and checks, before any of them
is called, who asks, whether the role is enough, and that a change was meant (`guard.py`). A page
that states no role is shown to nobody.

    def job(request: Request, ground: Ground) -> Response: ...

    PAGES = (Page("/jobs/{id:int}", job, Role.VIEWER),)
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl

from starlette.requests import Request
from starlette.responses import Response

if TYPE_CHECKING:
    from riverbridge.console.ground import Ground

FIELDS_MAX = 2000
"""Fields of one form."""


class Role(IntEnum):
    """What somebody may do; each may do what those below may."""

    VIEWER = 1
    OPERATOR = 2
    ADMIN = 3

    @property
    def word(self) -> str:
        """As the settings and the audit spell it."""
        return self.name.lower()


class Visitor(NamedTuple):
    """Who asks. way: how it is known: `open` (no login asked for), `basic`, `bearer`, `proxy`."""

    name: str
    role: Role
    way: str


Endpoint = Callable[[Request, "Ground"], Response]
"""Runs in a thread, and may wait for the database."""

StreamEndpoint = Callable[[Request, "Ground"], Awaitable[Response]]
"""Runs in the event loop and must not wait there: for server-sent events."""


@dataclass(frozen=True)
class Page:
    """One route. path: below the prefix, as Starlette spells paths. role: the least that may ask.

    role None is for what needs no login: it must show nothing of any database. changes: it changes
    something, so it is refused where the console is read-only, and to a request that another site
    made; GET and HEAD never change anything. A path below /api answers in JSON, also errors.
    """

    path: str
    endpoint: Endpoint | StreamEndpoint
    role: Role | None
    methods: tuple[str, ...] = ("GET",)
    changes: bool = False

    def __post_init__(self) -> None:
        """Raises ValueError for a page that contradicts itself."""
        if not self.path.startswith("/"):
            raise ValueError(f"{self.path}: a path starts with /")
        if self.changes and {"GET", "HEAD"} & set(self.methods):
            raise ValueError(f"{self.path}: what changes something cannot be asked for by GET")
        if not self.changes and {"PUT", "PATCH", "DELETE"} & set(self.methods):
            raise ValueError(f"{self.path}: {self.methods} says that it changes something")
        if self.changes and self.role is None:
            raise ValueError(f"{self.path}: what changes something needs a role")

    @property
    def is_api(self) -> bool:
        """Whether it speaks JSON."""
        return self.path.startswith("/api/")


class Refused(Exception):
    """Raised by an endpoint: answer with this status and say why. The text is shown."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        self.message = message
        super().__init__(message)


class TooMany(Refused):
    """Raised where somebody has to wait. seconds: for how long."""

    def __init__(self, message: str, seconds: float) -> None:
        super().__init__(429, message)
        self.seconds = seconds


class Form:
    """The fields of a form that was sent; a field that is not there reads as empty."""

    def __init__(self, pairs: list[tuple[str, str]]) -> None:
        self._pairs = pairs

    def get(self, name: str, default: str = "") -> str:
        """The first value of a field."""
        return next((value for key, value in self._pairs if key == name), default)

    def all(self, name: str) -> list[str]:
        """All values of a field, in order."""
        return [value for key, value in self._pairs if key == name]

    def as_dict(self) -> Mapping[str, str]:
        """The fields; of several values the last."""
        return dict(self._pairs)


def visitor_of(request: Request) -> Visitor:
    """Who asks; only in pages with a role."""
    visitor: Visitor = request.state.visitor
    return visitor


def body_of(request: Request) -> bytes:
    """The body of a request to a page that changes something; at most 1 MiB, else 413."""
    body: bytes = request.state.body
    return body


def form_of(request: Request) -> Form:
    """The form that was sent. Raises Refused."""
    try:
        pairs = parse_qsl(
            body_of(request).decode(),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=FIELDS_MAX,
        )
    except ValueError:
        raise Refused(400, f"not a form in UTF-8 with at most {FIELDS_MAX} fields") from None
    return Form(pairs)
