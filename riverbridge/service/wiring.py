"""Settings in, parts out: sinks and routes as the settings describe them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from datetime import timedelta
from functools import partial
from typing import NamedTuple, cast

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider

from riverbridge.bridge.alarms import Alarms
from riverbridge.bridge.body import Body
from riverbridge.bridge.condition import Condition
from riverbridge.bridge.dead_letters import DeadLetters
from riverbridge.bridge.envelope import Envelope
from riverbridge.bridge.ledger import LedgerOutlet
from riverbridge.bridge.mapping import condition as event_condition
from riverbridge.bridge.mapping import template as event_template
from riverbridge.bridge.outlet import Outlet, Service
from riverbridge.bridge.recovery import Lot
from riverbridge.bridge.route import Route
from riverbridge.bridge.template import Template
from riverbridge.engine.keeper import SILENCE
from riverbridge.engine.slots import Slots
from riverbridge.errors import ConfigurationError
from riverbridge.model.replay import ReplayRoute
from riverbridge.settings import Settings, load
from riverbridge.settings.sharing import routes_of, served
from riverbridge.settings.sinks import SinkSettings
from riverbridge.sinks.base import LedgerSink, Sink
from riverbridge.sinks.packed import Lent
from riverbridge.store.database import Connection
from riverbridge.store.jobs import JobTable
from riverbridge.store.slots import SlotTable


def read_settings() -> Settings:
    """The settings, checked down to what the sinks' libraries and the templates say of them.

    Raises ConfigurationError with every problem.
    """
    return load(
        check_template=Template.parse,
        check_body=Body.parse,
        check_condition=Condition.parse,
        check_event_template=event_template,
        check_event_condition=event_condition,
    )


class Opened(NamedTuple):
    """A sink, and by route what the messages go through where that is something else."""

    sink: Sink
    ways: Mapping[str, Sink] = {}


def open_sinks(settings: Settings) -> dict[str, Opened]:
    """The sinks by name; told where some route keeps receipts of theirs."""
    receipts = {
        sink for route in settings.routes.values() if route.receipts for sink in route.sinks
    }
    return {
        name: _opened(name, sink, _own_ways(settings, name), name in receipts)
        for name, sink in settings.sinks.items()
    }


def _own_ways(settings: Settings, name: str) -> dict[str, SinkSettings]:
    """By route, what differs in how messages are prepared for the sink."""
    return {
        route_name: own.over(settings.sinks[name])
        for route_name, route in settings.routes.items()
        if (own := route.overrides.get(name)) is not None and own.large.given
    }


def _opened(
    name: str, settings: SinkSettings, ways: Mapping[str, SinkSettings], receipts: bool
) -> Opened:
    sink = settings.open(name, receipts)
    try:
        own = {route: other.around(Lent(sink), name) for route, other in ways.items()}
        return Opened(settings.around(sink, name), own)
    except ConfigurationError:
        sink.close()
        raise


def make_routes(settings: Settings, outlets: Mapping[str, Outlet], source: str) -> dict[str, Route]:
    """The takers, by route name. `source` names the events' origin."""
    routes = {}
    alarms = Alarms()
    for name, route in settings.routes.items():
        sinks = {}
        for sink_name in route.sinks:
            sink, key = route.at(sink_name, settings.sinks[sink_name])
            sinks[outlets[sink_name]] = Envelope(
                sink.envelope,
                source=source,
                destination=Template.parse(sink.destination[1], sink.escape),
                key=None if key is None else Template.parse(key),
                headers={key: Template.parse(text) for key, text in sink.message_headers.items()},
                body=None if sink.body is None else Body.parse(sink.body),
                content_type=sink.content_type,
                timestamp=sink.stamp,
                partition=None if sink.place is None else Template.parse(sink.place),
            )
        routes[name] = Route(
            name,
            sinks,
            patience=route.patience,
            dead_letters=_dead_letters(settings, name, outlets, source),
            alarms=alarms,
            receipts=route.receipts,
        )
    return routes


def _dead_letters(
    settings: Settings, name: str, outlets: Mapping[str, Outlet], source: str
) -> DeadLetters | None:
    route = settings.routes[name]
    if route.dead_letters is None:
        return None
    sink = settings.sinks[route.dead_letters]
    return DeadLetters(
        outlets[route.dead_letters],
        route=name,
        source=source,
        destination=Template.parse(sink.destination[1], sink.escape),
        max_attempts=route.max_attempts,
    )


def make_outlets(settings: Settings, sinks: Mapping[str, Opened]) -> dict[str, Outlet]:
    """The sinks in service, by name."""
    most = threads(settings)
    outlets: dict[str, Outlet] = {}
    for name, (sink, ways) in sinks.items():
        own = settings.sinks[name]
        service: Service = {
            "threads": most,
            "rate_limit": own.rate_limit,
            "max_in_flight_bytes": own.max_in_flight_bytes,
            "ways": ways,
        }
        if own.ledger:
            outlets[name] = LedgerOutlet(name, cast(LedgerSink, sink), **service)
        else:
            outlets[name] = Outlet(name, sink, **service)
    return outlets


def make_slots(
    settings: Settings, outlets: Mapping[str, Outlet], client_id: str
) -> dict[str, Slots]:
    """The slots of the sinks that have some; as many as batches of a sink can be out."""
    return {
        name: Slots(
            SlotTable(settings.db_schema, owner=client_id, sink=name),
            JobTable(settings.db_schema, client_id),
            outlet,
            wanted=threads(settings),
            silence=SILENCE,
        )
        for name, outlet in outlets.items()
        if isinstance(outlet, LedgerOutlet)
    }


def make_lots(
    settings: Settings, routes: Mapping[str, Route], at_work: Callable[[], Iterable[str]]
) -> list[Lot]:
    """Where jobs may be parked: for each route, by the sinks they may wait for.

    at_work: the queues that are served now; with globs they come and go.
    """

    def queues(name: str) -> list[str]:
        return [queue for queue in at_work() if name in routes_of(settings.routes, queue)]

    return [
        Lot(outlet, partial(queues, name), sent)
        for name, route in routes.items()
        for outlet, sent in route.waits()
    ]


def threads(settings: Settings) -> int:
    """For each sink: as many as there are lanes that may call it at once, and two more."""
    own = [route.lanes for route in settings.routes.values() if route.lanes is not None]
    return settings.lanes + sum(own) + 2


def replay_routes(settings: Settings) -> list[ReplayRoute]:
    """What a replay needs to know of each route."""
    return [
        ReplayRoute(
            name,
            queues=route.queues,
            kinds=route.kinds,
            sinks=route.sinks,
            key=route.key,
            deletes=route.on_success == "delete",
            served=served(settings.routes, name),
            conditional=route.when is not None,
        )
        for name, route in settings.routes.items()
    ]


def source_name(connection: Connection, settings: Settings) -> str:
    """What event ids begin with: as set, or the database's own system identifier and schema."""
    if settings.source_name:
        return settings.source_name
    row = connection.execute(
        "SELECT system_identifier, current_database(), coalesce(%s, current_schema(), '')"
        " FROM pg_control_system()",
        (settings.db_schema,),
    ).fetchone()
    assert row is not None
    return f"river/{row[0]}/{row[1]}/{row[2]}"


def kept(seconds: float | None) -> timedelta | None:
    """How long finished jobs stay; None for ever, which a setting below 0 means too."""
    return None if seconds is None or seconds < 0 else timedelta(seconds=seconds)


def serve_metrics() -> None:
    """Have what is measured collected, for `/metrics` to show; once in a process."""
    with contextlib.suppress(Exception):
        metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
