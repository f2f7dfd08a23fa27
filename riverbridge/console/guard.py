"""What stands before every page: host, login, role, read-only, forgery; and what follows errors."""

from __future__ import annotations

import inspect
import logging
import math
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import anyio.to_thread
import psycopg
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from riverbridge import telemetry
from riverbridge.console.access import forgery
from riverbridge.console.access.authentication import Authentication
from riverbridge.console.access.forgery import Hosts
from riverbridge.console.access.headers import harden
from riverbridge.console.flash import forget_said, said_before
from riverbridge.console.frame import Page, Refused, TooMany, form_of
from riverbridge.errors import (
    InvalidJob,
    InvalidRequest,
    JobConflict,
    JobNotFound,
    JobRunning,
    PeriodicJobNotFound,
    QueueNotFound,
)

if TYPE_CHECKING:
    from riverbridge.console.ground import Ground

log = logging.getLogger(__name__)

BODY_MAX = 1 << 20
"""Bytes of a request's body."""

WRONG_LOGIN_PAUSE = 1.0
"""Seconds that a wrong login waits for its answer."""

_STATUS: tuple[tuple[type[Exception], int], ...] = (
    (JobNotFound, 404),
    (QueueNotFound, 404),
    (PeriodicJobNotFound, 404),
    (JobConflict, 409),
    (JobRunning, 400),
    (InvalidRequest, 400),
    (InvalidJob, 400),
)


class Guard:
    """Makes the endpoint that is called for a page."""

    def __init__(self, ground: Ground, authentication: Authentication, hosts: Hosts) -> None:
        self._ground = ground
        self._authentication = authentication
        self._hosts = hosts

    def around(self, page: Page) -> Callable[[Request], Awaitable[Response]]:
        """The page, behind everything that is checked first."""

        async def guarded(request: Request) -> Response:
            request.state.csrf = forgery.token_of(request)
            request.state.said = said_before(request)
            try:
                response = await self._answer(page, request)
            except ClientDisconnect:
                return Response(status_code=400)
            except Exception as error:
                response = self._failed(page, request, error)
            if page.role is not None and not page.is_api:
                forgery.keep_token(request, response, request.state.csrf)
                forget_said(request, response)
            return harden(response)

        return guarded

    async def _answer(self, page: Page, request: Request) -> Response:
        if (problem := self._hosts.problem(request)) is not None:
            raise Refused(421, problem)
        if page.role is not None:
            await self._admit(page, request)
        if page.changes:
            await self._check_change(page, request)
        if inspect.iscoroutinefunction(page.endpoint):
            answer: Response = await page.endpoint(request, self._ground)
            return answer
        return await anyio.to_thread.run_sync(page.endpoint, request, self._ground)  # type: ignore[arg-type]

    async def _admit(self, page: Page, request: Request) -> None:
        try:
            visitor = await anyio.to_thread.run_sync(self._authentication.visitor, request)
        except TooMany:
            telemetry.logins_refused.add(1, {"reason": "throttled"})
            raise
        if visitor is None:
            if "authorization" in request.headers:
                telemetry.logins_refused.add(1, {"reason": "wrong"})
                log.warning("a login to the console failed, from %s", _from(request))
                await anyio.sleep(WRONG_LOGIN_PAUSE)
            raise Refused(401, "log in first")
        request.state.visitor = visitor
        assert page.role is not None  # the caller has looked
        if visitor.role < page.role:
            raise Refused(
                403, f"this is for the role {page.role.word}; {visitor.name} is {visitor.role.word}"
            )

    async def _check_change(self, page: Page, request: Request) -> None:
        request.state.body = await _body(request)
        if self._ground.is_read_only(request):
            raise Refused(403, "this console is read-only")
        form = None if page.is_api else form_of(request)
        problem = forgery.problem(request, page, request.state.visitor, form)
        if problem is not None:
            log.warning("refused a change of the console, from %s: %s", _from(request), problem)
            raise Refused(415 if "application/json" in problem else 403, problem)

    def _failed(self, page: Page, request: Request, error: Exception) -> Response:
        status, message = _meaning(error)
        if status == 500:
            log.error("the console failed at %s", page.path, exc_info=error)
        if page.is_api:
            response: Response = JSONResponse({"message": message}, status)
        else:
            response = self._ground.render(
                request, "error.html", status=status, status_code=status, message=message
            )
        if isinstance(error, TooMany):
            response.headers["Retry-After"] = str(math.ceil(error.seconds))
        if status == 401 and self._authentication.challenge:
            response.headers["WWW-Authenticate"] = self._authentication.challenge
        return response


async def _body(request: Request) -> bytes:
    parts, length = [], 0
    async for part in request.stream():
        length += len(part)
        if length > BODY_MAX:
            raise Refused(413, f"the request has more than {BODY_MAX} bytes")
        parts.append(part)
    return b"".join(parts)


def _meaning(error: Exception) -> tuple[int, str]:
    """The status of what was raised, and what the visitor is told."""
    if isinstance(error, Refused):
        return error.status, error.message
    for kind, status in _STATUS:
        if isinstance(error, kind):
            return status, str(error)
    match error:
        case psycopg.errors.QueryCanceled():
            return 504, (
                "the database took too long to answer, so the question was cancelled: ask for "
                "less, as with a state, a kind or a shorter time"
            )
        case psycopg.errors.LockNotAvailable():
            return 409, "somebody else has this in work just now: try again"
        case psycopg.errors.InsufficientPrivilege():
            return 403, f"the console's role in Postgres may not: {error.diag.message_primary}"
        case psycopg.errors.UndefinedTable():
            return 503, (
                f"{error.diag.message_primary}: run `riverbridge migrate up`, or check the schema"
            )
        case psycopg.DataError():
            return 400, f"Postgres cannot read a value: {error.diag.message_primary}"
        case psycopg.OperationalError():
            return 503, "the database does not answer just now"
        case _:
            return 500, "the console failed; its log says how"


def _from(request: Request) -> str:
    return request.client.host if request.client else "a stranger"
