"""Whether a request comes from the console's own pages: hosts, origins and tokens.

A page on any other site can make a browser send requests here, with the credentials the browser
has, or with none where none are asked for. So a host that is not the console's own is refused
(a name of somebody else's may be made to lead here), and a change needs, beside that:

- what the browser says of where it comes from: the same origin (`Sec-Fetch-Site`, `Origin`);
- on pages, the token that is both in the form and in a cookie of this host alone;
- on the API, from who says nothing of that, what a plain form cannot send: JSON. (River UI's front
  end sends its JSON as plain text; its browser says that it comes from here.)

A bearer token is sent by programs on purpose and never by a browser by itself: it needs none of it.
"""

from __future__ import annotations

import hmac
import ipaddress
import re
import secrets
from collections.abc import Collection
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.frame import Form, Page, Visitor

FIELD = "csrf"
HEADER = "x-csrf-token"
_TOKEN = re.compile(r"[A-Za-z0-9_\-]{43}", re.ASCII)
_HOST = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-_]+)(?::[0-9]{1,5})?", re.ASCII)


class Hosts:
    """The names under which the console may be asked for; empty: any."""

    def __init__(self, names: Collection[str], *, loopback: bool) -> None:
        """loopback: the names of this machine are good too."""
        self._names = {name.lower() for name in names}
        self._loopback = loopback

    def problem(self, request: Request) -> str | None:
        """Why the request's host is refused, or None."""
        given = request.headers.getlist("host")
        if len(given) != 1 or not _HOST.fullmatch(given[0]):
            return "the request names no host, or one that cannot be"
        host = given[0].lower()
        bare = host.rpartition(":")[0] if re.search(r":[0-9]+$", host) else host
        if self._loopback and _is_loopback(bare.strip("[]")):
            return None
        if bare in self._names or host in self._names:
            return None
        if not self._names and not self._loopback:
            return None
        return (
            f"the console is not served under the name {bare}: if it is its own, add it to "
            "RIVERBRIDGE_HTTP__HOSTS"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def is_secure(request: Request) -> bool:
    """Whether the browser speaks TLS, here or to the proxy before us."""
    return request.scope["scheme"] == "https" or (
        # A stranger who says so only makes the cookie stricter.
        request.headers.get("x-forwarded-proto", "").split(",")[0].strip().lower() == "https"
    )


def token_of(request: Request) -> str:
    """The visitor's token, a new one if there is none yet."""
    given = request.cookies.get(_cookie(request), "")
    return given if _TOKEN.fullmatch(given) else secrets.token_urlsafe(32)


def keep_token(request: Request, response: Response, token: str) -> None:
    """Give the visitor the cookie, unless it is there already."""
    if request.cookies.get(_cookie(request)) != token:
        response.set_cookie(
            _cookie(request), token, path="/", secure=is_secure(request), httponly=True,
            samesite="strict",
        )  # fmt: skip


def _cookie(request: Request) -> str:
    # With __Host- no other host of the domain can set it; browsers allow it over TLS only.
    return "__Host-riverbridge" if is_secure(request) else "riverbridge"


def problem(request: Request, page: Page, visitor: Visitor, form: Form | None) -> str | None:
    """Why a change is not believed to be meant, or None. form: what a page was sent."""
    if visitor.way == "bearer":
        return None
    if (site := request.headers.get("sec-fetch-site")) not in (None, "same-origin"):
        return f"the request comes from another site ({site})"
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc.lower() != request.headers["host"].lower():
        return "the request comes from another origin"
    if page.is_api:
        return None if site or origin else _api_problem(request)
    sent = request.headers.get(HEADER) or ("" if form is None else form.get(FIELD))
    kept = request.cookies.get(_cookie(request), "")
    if not _TOKEN.fullmatch(kept) or not hmac.compare_digest(sent.encode(), kept.encode()):
        return "the form has no token of this console, or an old one: load the page again"
    return None


def _api_problem(request: Request) -> str | None:
    # A form can send POST with a few plain types only; anything else is asked about first, by a
    # preflight that the console never grants.
    if request.method != "POST":
        return None
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return None if kind == "application/json" else "send the request as application/json"
