"""What the console is told of the process it is served by."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from riverbridge.bridge.outlet import Outlet
from riverbridge.console.known import Known, SinkNow
from riverbridge.service.retrying import Retrying
from riverbridge.service.wiring import replay_routes
from riverbridge.settings import Settings


def make_known(settings: Settings, sinks_now: Callable[[], Mapping[str, SinkNow]] = dict) -> Known:
    """What the settings say, and which sinks are in service."""
    return Known(
        routes=replay_routes(settings),
        sinks={name: sink.type for name, sink in settings.sinks.items()},
        sources={name: source.type for name, source in settings.sources.items()},
        sinks_now=sinks_now,
        retries=lambda: Retrying(settings, settings.db_schema).retry,
    )


def sinks_now(outlets: Mapping[str, Outlet]) -> dict[str, SinkNow]:
    """How they are, at this moment."""
    return {
        name: SinkNow(
            outlet.breaker.state, outlet.breaker.reason, outlet.breaker.open_for(), *outlet.batches
        )
        for name, outlet in outlets.items()
    }
