"""Settings in, HTTP out: probes, webhooks and console, on one port unless they are set apart."""

from __future__ import annotations

import ipaddress
import logging
import resource
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from starlette.applications import Starlette
from starlette.routing import BaseRoute, Mount

from riverbridge.console.access.authentication import Authentication, Proxy, User
from riverbridge.console.access.forgery import Hosts
from riverbridge.console.access.hashes import PasswordHash
from riverbridge.console.app import console
from riverbridge.console.database import Database
from riverbridge.console.frame import Role
from riverbridge.console.ground import Ground
from riverbridge.console.hook_protocol import HookProtocol
from riverbridge.console.hooks import Door, Hooks
from riverbridge.console.known import KNOWN
from riverbridge.console.operations import Operator
from riverbridge.console.probes import Health, Server, probe_routes
from riverbridge.console.redaction import Redaction, Rule
from riverbridge.engine.supervisor import Supervisor
from riverbridge.errors import ConfigurationError
from riverbridge.service.knowing import make_known
from riverbridge.service.process import wait_for
from riverbridge.settings import Settings
from riverbridge.settings.checks import is_loopback
from riverbridge.settings.http import MAIN, Http, HttpProxy
from riverbridge.settings.models import Hooks as HookSettings
from riverbridge.store.database import connector

log = logging.getLogger(__name__)

OTHER_FILES = 512
"""Open files of a process beside the connections of webhooks."""


def make_ground(settings: Settings, extra: Mapping[str, Any] | None = None) -> Ground:
    """What the console stands on. Nothing is connected yet. extra: what this process can tell; by
    default what its settings say."""
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
        extra={KNOWN: make_known(settings)} if extra is None else extra,
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
    return Authentication(
        users,
        _proxy(http.proxy) if http.proxy.is_given else None,
        forwarded_by=[ipaddress.ip_network(address) for address in http.forwarded_by],
    )


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


class _Part(NamedTuple):
    """What is served at one address, alone or with others. protocol: bounds its connections."""

    name: str
    host: str
    port: int
    routes: Sequence[BaseRoute]
    protocol: type[HookProtocol] | None = None

    @property
    def setting(self) -> str:
        """The variable of its port."""
        return f"RIVERBRIDGE_{'HTTP' if self.name == 'console' else self.name.upper()}__PORT"


class Front:
    """The servers of one process. Construct, `start`, and once its threads have ended `close`."""

    def __init__(
        self,
        settings: Settings,
        health: Health,
        *,
        with_console: bool,
        doors: Mapping[str, Door] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Raises ConfigurationError for an address that cannot be listened on."""
        at = settings.probes
        parts = [_Part("probes", at.host, at.port, probe_routes(health))]
        if doors:
            parts.append(_hooks(settings.hooks, doors))
        self._ground = make_ground(settings, extra) if with_console else None
        if self._ground is not None:  # the last, as it takes every path that nobody else has
            pages = [Mount("", app=make_console(settings, self._ground))]
            parts.append(_Part("console", settings.http.host, settings.http.port, pages))
        self._servers: dict[str, Server] = {}
        self.ports: dict[str, int] = {}
        """By part; `console` is not there if it is not served."""
        together: dict[tuple[str, int], list[_Part]] = defaultdict(list)
        for part in parts:
            together[part.host, part.port].append(part)
        try:
            for group in together.values():
                self._serve(settings, group)
        except BaseException:
            self.close()
            raise
        self.console_url = _url(settings.http, self.ports.get("console"))

    def _serve(self, settings: Settings, parts: Sequence[_Part]) -> None:
        """One server for the parts of an address."""
        first = parts[0]
        protocols = [part.protocol for part in parts if part.protocol is not None]
        try:
            server = Server(
                _application([route for part in parts for route in part.routes]),
                host=first.host,
                port=first.port,
                setting=first.setting,
                protocol=protocols[0] if protocols else None,
            )
        except ConfigurationError as error:
            asked_for = settings.is_given("http", "port") or settings.is_given("http", "host")
            if first.name != "console" or asked_for:
                raise
            # Nobody asked for the console at this address, and jobs must not wait for it.
            log.warning("the console is not served: %s", error)
            return
        self._servers[first.name] = server
        self.ports |= {part.name: server.port for part in parts}

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


def _hooks(here: HookSettings, doors: Mapping[str, Door]) -> _Part:
    """Webhooks, and as many open files as they may have connections."""
    allow_files(here.connections + OTHER_FILES)
    limits = {"limit": here.connections, "total": here.timeout}
    return _Part(
        "hooks",
        here.host,
        here.port,
        Hooks(doors, max_body=here.max_body, memory=here.memory).routes(),
        type("Limited", (HookProtocol,), limits),
    )


def allow_files(count: int) -> None:
    """Have this process open up to `count` files, or as many as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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
        wait_for(stop)
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
