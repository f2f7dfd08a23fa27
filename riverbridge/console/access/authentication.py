"""Who asks: basic, bearer, or what a trusted proxy says; or anybody, where nothing is asked for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import secrets
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from starlette.requests import Request

from riverbridge.console.access.hashes import PasswordHash, token_hash
from riverbridge.console.frame import Role, Visitor

REMEMBERED = 1000
"""Credentials that need not be put through scrypt again."""

_NOBODY = PasswordHash.of(secrets.token_urlsafe())

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


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

    def __init__(self, users: Sequence[User] = (), proxy: Proxy | None = None) -> None:
        """Whether that is safe, of the address that is listened on, is for the caller to know."""
        self._users = {user.name: user for user in users}
        self._proxy = proxy
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
        """Who asks, or None. May take a tenth of a second: not for the event loop."""
        if not self.asked_for:
            return Visitor("anybody", Role.ADMIN, "open")
        given = request.headers.getlist("authorization")
        if len(given) > 1:
            return None
        if given:
            scheme, _, credentials = given[0].partition(" ")
            match scheme.lower():
                case "basic":
                    return self._basic(credentials.strip())
                case "bearer":
                    return self._bearer(credentials.strip())
                case _:
                    return None
        return self._proxied(request)

    def _basic(self, credentials: str) -> Visitor | None:
        mark = hmac.digest(self._key, credentials.encode("utf-8", "replace"), hashlib.sha256)
        with self._turn:
            if (known := self._known.get(mark)) is not None:
                self._known.move_to_end(mark)
                return known
        try:
            text = base64.b64decode(credentials, validate=True).decode()
        except ValueError:
            return None
        name, _, password = text.partition(":")
        user = self._users.get(name)
        # A name that is not there takes as long as a password that is wrong.
        expected = _NOBODY if user is None or user.password is None else user.password
        with self._scrypt:
            good = expected.matches(password)
        if user is None or user.password is None or not good:
            return None
        visitor = Visitor(user.name, user.role, "basic")
        with self._turn:
            self._known[mark] = visitor
            if len(self._known) > REMEMBERED:
                self._known.popitem(last=False)
        return visitor

    def _bearer(self, token: str) -> Visitor | None:
        # By its hash: how long the look-up takes says nothing about the token.
        user = self._tokens.get(token_hash(token))
        return None if user is None else Visitor(user.name, user.role, "bearer")

    def _proxied(self, request: Request) -> Visitor | None:
        proxy = self._proxy
        if proxy is None or not _within(request, proxy.networks):
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


def _single(request: Request, header: str) -> str:
    """The header's value; nothing if it is there twice, which a proxy that adds one may cause."""
    values = request.headers.getlist(header)
    return values[0].strip() if len(values) == 1 else ""


def _within(request: Request, networks: Sequence[Network]) -> bool:
    if request.client is None:
        return False
    try:
        address = ipaddress.ip_address(request.client.host)
    except ValueError:
        return False
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        address = address.ipv4_mapped
    return any(address in network for network in networks)
