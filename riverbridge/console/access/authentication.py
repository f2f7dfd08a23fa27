"""Who asks: basic, bearer, or what a trusted proxy says; or anybody, where nothing is asked for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import logging
import math
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from starlette.requests import Request

from riverbridge.console.access.addresses import Network, address_of, within
from riverbridge.console.access.hashes import PasswordHash, token_hash
from riverbridge.console.access.throttle import Throttle
from riverbridge.console.frame import Role, TooMany, Visitor

log = logging.getLogger(__name__)

REMEMBERED = 1000
"""Credentials that need not be put through scrypt again."""

_BEARER = "\0bearer"
"""What stands for the name where there is none but a token."""

_NOBODY = PasswordHash.of(secrets.token_urlsafe())


@dataclass(frozen=True)
class User:
    """Somebody who logs in. password: for basic. tokens: hashes for bearer, each of them good."""

    name: str
    role: Role
    password: PasswordHash | None = None
    tokens: Sequence[str] = ()


@dataclass(frozen=True)
class Proxy:
    """A proxy that logs people in and says who they are, in headers.

    It is believed only from its own addresses and with the secret that it shares with the console.
    roles: by a user's name or, with @ before it, a group's, whole; the highest one counts.
    """

    networks: Sequence[Network]
    secret: str
    user_header: str = "x-auth-request-email"
    groups_header: str = "x-auth-request-groups"
    secret_header: str = "x-riverbridge-proxy-secret"  # noqa: S105 - the header's name
    roles: Mapping[str, Role] = field(default_factory=dict)


class Authentication:
    """Tells visitors apart. Without users and proxy everybody is an administrator."""

    def __init__(
        self,
        users: Sequence[User] = (),
        proxy: Proxy | None = None,
        *,
        forwarded_by: Sequence[Network] = (),
        throttle: Throttle | None = None,
    ) -> None:
        """Whether that is safe, of the address that is listened on, is for the caller to know.

        forwarded_by: proxies that are believed whom they forward, where wrong logins are counted.
        """
        self._users = {user.name: user for user in users}
        self._proxy = proxy
        self._forwarded_by = tuple(forwarded_by)
        self._throttle = throttle or Throttle()
        self._tokens = {digest: user for user in users for digest in user.tokens}
        self._key = secrets.token_bytes(32)
        self._known: OrderedDict[bytes, Visitor] = OrderedDict()
        self._turn = threading.Lock()
        self._scrypt = threading.BoundedSemaphore(2)
        self.asked_for = bool(users) or proxy is not None

    @property
    def challenge(self) -> str | None:
        """What a browser is asked for; None where only the proxy can help."""
        if any(user.password for user in self._users.values()):
            return 'Basic realm="riverbridge", charset="UTF-8"'
        return "Bearer" if self._tokens else None

    def visitor(self, request: Request) -> Visitor | None:
        """Who asks, or None. May take a tenth of a second: not for the event loop.

        Raises TooMany, whoever it may be, after too many wrong logins.
        """
        if not self.asked_for:
            return Visitor("anybody", Role.ADMIN, "open")
        given = request.headers.getlist("authorization")
        if len(given) > 1:
            return None
        if given:
            scheme, _, credentials = given[0].partition(" ")
            address = address_of(request, self._forwarded_by)
            match scheme.lower():
                case "basic":
                    return self._basic(credentials.strip(), address)
                case "bearer":
                    return self._bearer(credentials.strip(), address)
                case _:
                    return None
        return self._proxied(request)

    def _basic(self, credentials: str, address: str) -> Visitor | None:
        name, _, password = _decoded(credentials).partition(":")
        self._check(address, name)
        mark = hmac.digest(self._key, credentials.encode("utf-8", "replace"), hashlib.sha256)
        with self._turn:
            if (known := self._known.get(mark)) is not None:
                self._known.move_to_end(mark)
                return known
        user = self._users.get(name)
        # A name that is not there takes as long as a password that is wrong.
        expected = _NOBODY if user is None or user.password is None else user.password
        with self._scrypt:
            self._check(address, name)  # others may have been wrong meanwhile
            good = expected.matches(password) and user is not None and user.password is not None
            if not good:
                self._failed(address, name)
        if user is None or not good:
            return None
        visitor = Visitor(user.name, user.role, "basic")
        with self._turn:
            self._known[mark] = visitor
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return visitor

    def _bearer(self, token: str, address: str) -> Visitor | None:
        # By its hash: how long the look-up takes says nothing about the token.
        user = self._tokens.get(token_hash(token))
        if user is not None:
            # Whoever has been wrong at this address: nobody comes by a token by guessing.
            return Visitor(user.name, user.role, "bearer")
        self._check(address, _BEARER)
        self._failed(address, _BEARER)
        return None

    def _check(self, address: str, name: str) -> None:
        wait = self._throttle.wait(address, name)
        if wait > 0:
            raise TooMany(f"too many logins were wrong: try again in {math.ceil(wait)} s", wait)

    def _failed(self, address: str, name: str) -> None:
        self._throttle.failed(address, name)
        if (wait := self._throttle.wait(address, name)) > 0:
            log.warning(
                "too many logins to the console were wrong: %s has to wait for %.0f s (if that is a"
                " proxy's address, name it in RIVERBRIDGE_HTTP__FORWARDED_BY)", address, wait,
            )  # fmt: skip

    def _proxied(self, request: Request) -> Visitor | None:
        proxy = self._proxy
        if proxy is None or not within(request, proxy.networks):
            return None
        secret = _single(request, proxy.secret_header)
        if not hmac.compare_digest(secret.encode(), proxy.secret.encode()):
            return None
        name = _single(request, proxy.user_header)
        if not name or not name.isprintable() or len(name) > 255:
            return None
        groups = _single(request, proxy.groups_header).split(",")
        names = [name, *(f"@{group.strip()}" for group in groups if group.strip())]
        role = max((proxy.roles[each] for each in names if each in proxy.roles), default=None)
        return None if role is None else Visitor(name, role, "proxy")


def _decoded(credentials: str) -> str:
    """What basic credentials say; nothing that anybody could be called where they say nothing."""
    try:
        return base64.b64decode(credentials, validate=True).decode()
    except ValueError:
        return ""


def _single(request: Request, header: str) -> str:
    """The header's value; nothing if it is there twice, which a proxy that adds one may cause."""
    values = request.headers.getlist(header)
    return values[0].strip() if len(values) == 1 else ""
