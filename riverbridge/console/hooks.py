"""`/hooks/<source>`: requests come in, are verified, and are answered when they are committed.

Nothing of a request is kept before it verifies. What a stranger is told is the same whatever was
wrong, and whether or not there is a source of that name.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from riverbridge import telemetry
from riverbridge.sources.base import Event
from riverbridge.sources.webhook import Letter, WebhookSource
from riverbridge.sources.webhook_verify import Headers, Hmac, Refusal, Verifier

log = logging.getLogger(__name__)

ANSWER = 8.0
"""Seconds after which a request is answered, if with a 503: less than GitHub waits."""
RETRY_AFTER = 5
"""Seconds after which a sender may try again, where nothing better is known."""
SAY = 60.0
"""Seconds between two lines in the log about the same source's refusals."""

_NOT_KEPT = frozenset([b"authorization", b"cookie", b"proxy-authorization"])
"""Headers that stay out of the event, and so out of the quarantine."""


class Refused(Exception):
    """A request that is answered with something else than 200."""

    def __init__(self, status: int, text: str, headers: Mapping[str, str] | None = None) -> None:
        self.status = status
        self.response = PlainTextResponse(f"{text}\n", status, headers)


class Gone(Exception):
    """The sender has left."""


class Pace:
    """At most `rate` a second, and that many at once; None has no limit."""

    def __init__(self, rate: float | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._clock = clock
        self._left = max(1.0, rate or 0.0)
        self._at = clock()

    def take(self) -> float:
        """0 to go on now; else the seconds until one may."""
        if self._rate is None:
            return 0.0
        now = self._clock()
        self._left = min(max(1.0, self._rate), self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < 1.0:
            return (1.0 - self._left) / self._rate
        self._left -= 1.0
        return 0.0


@dataclass
class Door:
    """One source's way in. label: its name in metrics. json: whether only JSON may come in."""

    label: str
    verifier: Verifier
    source: WebhookSource
    json: bool = True
    pace: Pace = field(default_factory=lambda: Pace(None))
    _said: float = float("-inf")
    _refusals: int = 0

    def note(self, refusal: Refusal) -> None:
        """Say in the log why requests are refused, not each time."""
        self._refusals += 1
        now = time.monotonic()
        if now - self._said >= SAY:
            log.warning(
                "source %s: %d requests did not verify, the last because %s",
                self.label, self._refusals, refusal,
            )  # fmt: skip
            self._said, self._refusals = now, 0


class Memory:
    """The bytes that bodies may take, of all requests together. Of one event loop."""

    def __init__(self, limit: int) -> None:
        self.left = limit


class Held:
    """What one request takes of it."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._size = 0

    def take(self, size: int) -> bool:
        if size > self._memory.left:
            return False
        self._memory.left -= size
        self._size += size
        return True

    def give_back(self) -> None:
        self._memory.left += self._size
        self._size = 0


class Hooks:
    """The doors of all sources. max_body: bytes of one body. memory: bytes of all that are held."""

    def __init__(self, doors: Mapping[str, Door], *, max_body: int, memory: int) -> None:
        self._doors = doors
        self._max_body = max_body
        self._memory = Memory(memory)
        # A path without a source is taken for one whose secret nobody has.
        never = Hmac([secrets.token_bytes(32)], "x-hub-signature-256")
        self._nobody = Door("unknown", never, WebhookSource())

    def routes(self) -> list[BaseRoute]:
        """`/hooks/<source>` and `/readyz/hooks`."""
        return [
            Route("/hooks/{source}", _Endpoint(self)),
            Route("/readyz/hooks", self._readyz, methods=["GET"]),
        ]

    def _readyz(self, _: Request) -> Response:
        """Whether all that is sent can come in, as far as is known."""
        ready = not any(door.source.problem() for door in self._doors.values())
        return PlainTextResponse("ok\n" if ready else "not ready\n", 200 if ready else 503)

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """An ASGI application, for one source's path."""
        door = self._doors.get(scope["path_params"]["source"], self._nobody)
        held = Held(self._memory)
        try:
            response = await self._take_in(door, scope, receive, held)
        except Refused as refused:
            response = refused.response
            telemetry.hooks_refused.add(1, {"source": door.label, "status": str(refused.status)})
        except Gone:
            return
        finally:
            held.give_back()
        await response(scope, receive, send)

    async def _take_in(self, door: Door, scope: Scope, receive: Receive, held: Held) -> Response:
        headers = Headers(scope["headers"])
        self._check_frame(scope["method"], headers)
        body = await self._read(receive, held)
        try:
            verified = door.verifier.verify(headers, body, time.time())
        except Refusal as refusal:
            door.note(refusal)
            raise Refused(401, "there is no such source, or this is not signed for it") from None
        # Only what verifies counts: nobody else can use up what a sender may send.
        if wait := door.pace.take():
            raise Refused(429, "too many requests", {"retry-after": str(math.ceil(wait))})
        if verified.greeting is not None:
            return PlainTextResponse(verified.greeting)
        if door.json and not _is_json(headers.first("content-type")):
            raise Refused(415, "the content type has to be application/json, or end in +json")
        kept = ((name.decode("latin-1"), v) for name, v in headers.raw if name not in _NOT_KEPT)
        return await _deposit(door, Event(verified.id, body, headers=tuple(kept)))

    def _check_frame(self, method: str, headers: Headers) -> None:
        """What can be told from the head, the same for all sources."""
        close = {"connection": "close"}
        if method != "POST":
            raise Refused(405, "only POST", close | {"allow": "POST"})
        length = headers.first("content-length")
        if length and headers.first("transfer-encoding"):
            raise Refused(400, "both a length and chunks", close)
        if int(length or b"0") > self._max_body:
            raise self._too_large()
        if headers.first("content-encoding") not in (b"", b"identity"):
            raise Refused(415, "the body must not be compressed", close)

    def _too_large(self) -> Refused:
        text = f"a body may have {self._max_body} bytes"
        return Refused(413, text, {"connection": "close"})

    async def _read(self, receive: Receive, held: Held) -> bytes:
        body = bytearray()
        more = True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                raise Gone
            chunk = message.get("body", b"")
            more = message.get("more_body", False)
            if len(body) + len(chunk) > self._max_body:
                raise self._too_large()
            if not held.take(len(chunk)):
                raise _later("too much is under way", close=True)
            body += chunk
        return bytes(body)


class _Endpoint:
    """What Starlette takes for an ASGI application, whatever the method."""

    def __init__(self, hooks: Hooks) -> None:
        self._hooks = hooks

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._hooks.serve(scope, receive, send)


async def _deposit(door: Door, event: Event) -> Response:
    """Wait until the event is committed. Raises Refused where it is not, or nobody knows."""
    loop = asyncio.get_running_loop()
    answered: asyncio.Future[bool] = loop.create_future()

    def settle(safe: bool) -> None:
        if not answered.done():
            answered.set_result(safe)

    letter = Letter(event, lambda safe: _tell(loop, settle, safe))
    if not door.source.offer(letter):
        raise _later("nothing is taken in now")
    try:
        async with asyncio.timeout(ANSWER):
            safe = await answered
    except TimeoutError:
        raise _later("not committed in time") from None
    finally:
        door.source.withdraw(letter)
    if not safe:
        raise _later("not committed")
    return PlainTextResponse("")


def _tell(loop: asyncio.AbstractEventLoop, settle: Callable[[bool], None], safe: bool) -> None:
    try:
        loop.call_soon_threadsafe(settle, safe)
    except RuntimeError:
        # The listener has ended, and with it the connection.
        log.debug("nobody is there to be answered")


def _later(text: str, *, close: bool = False) -> Refused:
    headers = {"retry-after": str(RETRY_AFTER)} | ({"connection": "close"} if close else {})
    return Refused(503, f"{text}; send it again later", headers)


def _is_json(media: bytes) -> bool:
    plain = media.partition(b";")[0].strip().lower()
    return plain == b"application/json" or (
        plain.startswith(b"application/") and plain.endswith(b"+json")
    )
