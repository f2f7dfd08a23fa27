"""Settings in, HTTP out: the console and the probes, on one port unless they are set apart."""

from __future__ import annotations

import ipaddress
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from riverbridge.console.access.authentication import Authentication, Proxy, User
from riverbridge.console.access.forgery import Hosts
from riverbridge.console.access.hashes import PasswordHash
from riverbridge.console.app import console
from riverbridge.console.database import Database
from riverbridge.console.frame import Role
from riverbridge.console.ground import Ground
from riverbridge.console.operations import Operator
from riverbridge.console.probes import Health, Server, probe_routes
from riverbridge.console.redaction import Redaction, Rule
from riverbridge.engine.supervisor import Supervisor
from riverbridge.errors import ConfigurationError
from riverbridge.settings import Settings
from riverbridge.settings.checks import is_loopback
from riverbridge.settings.http import MAIN, Http, HttpProxy
from riverbridge.store.database import connector

log = logging.getLogger(__name__)


def make_ground(settings: Settings, extra: Mapping[str, Any] | None = None) -> Ground:
    """What the console stands on. Nothing is connected yet. extra: what this process can tell."""
    http = settings.http
    assert settings.database_url is not None  # the caller loaded them so
    databases = {
        MAIN: Database(
            MAIN,
            connector(
                settings.database_url.get_secret_value(),
                application_name="riverbridge console",
                pooler=settings.pooler,
            ),
            schema=settings.db_schema,
            label=http.label or settings.name,
            colour=http.colour,
        )
    }
    for name, other in http.databases.items():
        databases[name] = Database(
            name,
            connector(
                other.database_url.get_secret_value(), application_name="riverbridge console"
            ),
            schema=other.db_schema,
            label=other.label,
            colour=other.colour,
            read_only=other.read_only,
        )
    return Ground(
        databases,
        read_only=http.read_only,
        redaction=Redaction([Rule.parse(text) for text in http.redact]),
        extra=extra or {},
    )


def make_console(settings: Settings, ground: Ground) -> Starlette:
    """The console as the settings want it guarded."""
    http = settings.http
    return console(
        ground,
        authentication=_authentication(http),
        hosts=Hosts(http.hosts, loopback=is_loopback(http.host) or bool(http.hosts)),
        prefix=http.prefix or "",
    )


def _authentication(http: Http) -> Authentication:
    users = []
    for name, user in http.users.items():
        tokens = [token.get_secret_value() for token in (user.token, user.next_token) if token]
        password = PasswordHash.parse(user.password.get_secret_value()) if user.password else None
        users.append(User(name, Role[user.role.upper()], password, tokens))
    return Authentication(users, _proxy(http.proxy) if http.proxy.is_given else None)


def _proxy(given: HttpProxy) -> Proxy:
    assert given.secret is not None  # the rules of the settings have looked
    roles = dict.fromkeys(given.viewers, Role.VIEWER)
    roles |= dict.fromkeys(given.operators, Role.OPERATOR)
    roles |= dict.fromkeys(given.admins, Role.ADMIN)
    return Proxy(
        networks=[ipaddress.ip_network(address) for address in given.addresses],
        secret=given.secret.get_secret_value(),
        user_header=given.user_header,
        groups_header=given.groups_header,
        roles=roles,
    )


class Front:
    """The servers of one process. Construct, `start`, and once its threads have ended `close`."""

    def __init__(
        self,
        settings: Settings,
        health: Health,
        *,
        with_console: bool,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Raises ConfigurationError for an address that cannot be listened on."""
        http, probes = settings.http, settings.probes
        together = (http.host, http.port) == (probes.host, probes.port)
        self._ground = make_ground(settings, extra) if with_console else None
        pages: Sequence[BaseRoute] = (
            [Mount("", app=make_console(settings, self._ground))] if self._ground else []
        )
        routes = [*probe_routes(health), *(pages if together else [])]
        self._servers = {
            "probes": Server(
                _application(routes),
                host=probes.host,
                port=probes.port,
                setting="RIVERBRIDGE_PROBES__PORT",
            )
        }
        self.port = self._servers["probes"].port
        self._console_port = self.port if together and with_console else None
        if pages and not together:
            self._serve_apart(settings, pages)
        self.console_url = _url(settings.http, self._console_port)

    def _serve_apart(self, settings: Settings, pages: Sequence[BaseRoute]) -> None:
        http = settings.http
        try:
            server = Server(
                _application(pages),
                host=http.host,
                port=http.port,
                setting="RIVERBRIDGE_HTTP__PORT",
            )
        except ConfigurationError as error:
            if settings.is_given("http", "port") or settings.is_given("http", "host"):
                self.close()
                raise
            # Nobody asked for the console at this address, and jobs must not wait for it.
            log.warning("the console is not served: %s", error)
            return
        self._servers["console"] = server
        self._console_port = server.port

    def start(self, threads: Supervisor) -> None:
        """Serve, each in a thread."""
        for name, server in self._servers.items():
            threads.start(name, server.run)
        if self._ground is not None:
            threads.start("operations", Operator(self._ground).run)

    def close(self) -> None:
        """Give back addresses and connections."""
        for server in self._servers.values():
            server.close()
        if self._ground is not None:
            self._ground.close()


def serve_console(settings: Settings, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Serve the console alone until `stop`. Raises ConfigurationError."""
    ground = make_ground(settings)
    http = settings.http
    server = Server(
        make_console(settings, ground),
        host=http.host,
        port=http.port,
        setting="RIVERBRIDGE_HTTP__PORT",
    )
    threads = Supervisor(stop)
    threads.start("console", server.run)
    threads.start("operations", Operator(ground).run)
    say(f"the console is at {_url(http, server.port)}")
    try:
        stop.wait()
        threads.join(5.0)
    finally:
        server.close()
        ground.close()


def _url(http: Http, port: int | None) -> str | None:
    host = f"[{http.host}]" if ":" in http.host else http.host
    return None if port is None else f"http://{host}:{port}{http.prefix or ''}/"


def _application(routes: Sequence[BaseRoute]) -> Starlette:
    app = Starlette(routes=list(routes))
    # A redirect to a path with a slash more or less would go to the host that the request names.
    app.router.redirect_slashes = False
    return app
