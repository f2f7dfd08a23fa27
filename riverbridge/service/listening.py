"""What listens: the probes, and webhooks beside them or at an address of their own."""

from __future__ import annotations

import resource
from collections.abc import Mapping

from starlette.applications import Starlette

from riverbridge.console.hook_protocol import HookProtocol
from riverbridge.console.hooks import Door, Hooks, Pace
from riverbridge.console.probes import Health, Server, application
from riverbridge.settings import Settings
from riverbridge.settings.sources import WebhookSource

OTHER_FILES = 512
"""Open files of a process beside the connections of webhooks."""


def make_doors(settings: Settings) -> dict[str, Door]:
    """The doors of all webhook sources, by name."""
    return {
        name: Door(
            name,
            source.verifier(),
            source.open(name),
            json=source.decode == "json",
            pace=Pace(source.rate),
        )
        for name, source in settings.sources.items()
        if isinstance(source, WebhookSource)
    }


def make_servers(
    settings: Settings, health: Health, doors: Mapping[str, Door]
) -> dict[str, Server]:
    """The servers, by what they serve: `probes`, and `hooks` where there are doors.

    It is one for both where they have the same address. Raises ConfigurationError for an address
    that cannot be listened on.
    """
    at = settings.probes
    if not doors:
        return {"probes": Server(application(health), host=at.host, port=at.port)}
    here = settings.hooks
    allow_files(here.connections + OTHER_FILES)
    routes = Hooks(doors, max_body=here.max_body, memory=here.memory).routes()
    limits = {"limit": here.connections, "total": here.timeout}
    protocol = type("Limited", (HookProtocol,), limits)
    if (at.host, at.port) == (here.host, here.port):
        both = Server(application(health, routes), host=at.host, port=at.port, protocol=protocol)
        return {"probes": both, "hooks": both}
    probes = Server(application(health), host=at.host, port=at.port)
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    try:
        hooks = Server(
            app,
            host=here.host,
            port=here.port,
            setting="RIVERBRIDGE_HOOKS__PORT",
            protocol=protocol,
        )
    except BaseException:
        probes.close()
        raise
    return {"probes": probes, "hooks": hooks}


def allow_files(count: int) -> None:
    """Have this process open up to `count` files, or as many as it may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
