"""Settings in, parts out: sinks, routes and feeds as the settings describe them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider

from riverbridge.bridge.body import Body
from riverbridge.bridge.envelope import Envelope
from riverbridge.bridge.outlet import Outlet
from riverbridge.bridge.route import Route, Unmatched
from riverbridge.bridge.template import Template
from riverbridge.engine.batch import Feed
from riverbridge.errors import ConfigurationError
from riverbridge.model.globs import to_like
from riverbridge.model.replay import ReplayRoute
from riverbridge.model.retry import ExponentialRetry, FixedRetry, RetryPolicy, RiverRetry
from riverbridge.settings import Route as RouteSettings
from riverbridge.settings import Settings, load
from riverbridge.settings.sinks import SinkSettings
from riverbridge.sinks.base import Sink
from riverbridge.store.database import Connection


def read_settings() -> Settings:
    """The settings, checked down to what the sinks' libraries and the templates say of them.

    Raises ConfigurationError with every problem.
    """
    return load(check_template=Template.parse, check_body=Body.parse)


def retry_policy(route: RouteSettings) -> RetryPolicy:
    """The route's way to wait between attempts."""
    if route.retry == "fixed":
        return FixedRetry(route.retry_delay)
    if route.retry == "exponential":
        return ExponentialRetry(route.retry_delay, route.retry_max_delay)
    return RiverRetry()


def open_sinks(settings: Settings) -> dict[str, Sink]:
    """The sinks by name; told where some route keeps receipts of theirs."""
    receipts = {
        sink for route in settings.routes.values() if route.receipts for sink in route.sinks
    }
    return {name: _opened(name, sink, name in receipts) for name, sink in settings.sinks.items()}


def _opened(name: str, settings: SinkSettings, receipts: bool) -> Sink:
    sink = settings.open(name, receipts)
    try:
        return settings.around(sink, name)
    except ConfigurationError:
        sink.close()
        raise


def make_routes(settings: Settings, outlets: Mapping[str, Outlet], source: str) -> dict[str, Route]:
    """The takers, by route name. `source` names the events' origin."""
    routes = {}
    for name, route in settings.routes.items():
        sinks = {}
        for sink_name in route.sinks:
            sink = settings.sinks[sink_name]
            sinks[outlets[sink_name]] = Envelope(
                sink.envelope,
                source=source,
                destination=Template.parse(sink.destination[1], sink.escape),
                key=None if route.key is None else Template.parse(route.key),
                headers={key: Template.parse(text) for key, text in sink.headers.items()},
                body=None if sink.body is None else Body.parse(sink.body),
                content_type=sink.content_type,
                timestamp=sink.stamp,
                partition=None if sink.place is None else Template.parse(sink.place),
            )
        routes[name] = Route(name, sinks, receipts=route.receipts)
    return routes


def make_feeds(
    settings: Settings, routes: Mapping[str, Route], first_start: Callable[[str], datetime]
) -> dict[str, list[Feed]]:
    """What is claimed for each route: one feed per queue."""
    feeds: dict[str, list[Feed]] = {}
    for name, route in settings.routes.items():
        oldest = None
        if route.max_age is not None:
            oldest = first_start(name) - timedelta(seconds=route.max_age)
        feeds[name] = [
            Feed(
                name,
                queue,
                routes[name],
                retry_policy(route),
                kinds=tuple(to_like(kind) for kind in route.kinds),
                max_attempts=route.max_attempts,
                delete_delivered=route.on_success == "delete",
                claiming=route.claim,
                oldest=oldest,
            )
            for queue in route.queues
        ]
    for name, route in settings.routes.items():
        if route.unmatched == "fail":
            feeds[name] += [
                _unmatched(settings, name, queue, retry_policy(route)) for queue in route.queues
            ]
    return feeds


def _unmatched(settings: Settings, name: str, queue: str, retry: RetryPolicy) -> Feed:
    """What no route of `queue` takes."""
    taken = {
        to_like(kind)
        for route in settings.routes.values()
        if queue in route.queues
        for kind in route.kinds
    }
    return Feed(name, queue, Unmatched(), retry, kinds=tuple(sorted(taken)), taken=False)


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
