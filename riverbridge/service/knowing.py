"""What the console is told of the process it is served by."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from riverbridge.bridge.intake import Receiver
from riverbridge.bridge.outlet import Outlet
from riverbridge.console.known import Known, SinkNow, SourceNow
from riverbridge.service.retrying import Retrying
from riverbridge.service.wiring import replay_routes
from riverbridge.settings import Settings


def make_known(
    settings: Settings,
    sinks_now: Callable[[], Mapping[str, SinkNow]] = dict,
    sources_now: Callable[[], Mapping[str, SourceNow]] = dict,
) -> Known:
    """What the settings say, and which sinks and sources are in service."""
    return Known(
        routes=replay_routes(settings),
        sinks={name: sink.type for name, sink in settings.sinks.items()},
        sources={name: source.type for name, source in settings.sources.items()},
        sinks_now=sinks_now,
        sources_now=sources_now,
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


def sources_now(receivers: Mapping[str, Receiver]) -> dict[str, SourceNow]:
    """How they are, at this moment."""
    return {name: SourceNow(one.problem(), one.lag()) for name, one in receivers.items()}
