"""Settings in, parts out: sinks, routes and feeds as the settings describe them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial

from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider

from riverbridge.bridge.envelope import Envelope
from riverbridge.bridge.intake import Intake, Receiver
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.bridge.mapping import template as event_template
from riverbridge.bridge.outlet import Outlet
from riverbridge.bridge.route import Route, Unmatched
from riverbridge.bridge.template import Template
from riverbridge.engine.batch import Feed
from riverbridge.model.globs import to_like
from riverbridge.model.replay import ReplayRoute
from riverbridge.model.retry import ExponentialRetry, FixedRetry, RetryPolicy, RiverRetry
from riverbridge.settings import Route as RouteSettings
from riverbridge.settings import Settings, SourceSettings, load
from riverbridge.sources.base import Bounds
from riverbridge.store.database import Connect, Connection

INBOX = 7 * 24 * 3600.0
"""Seconds that the inbox remembers the events of a source without a position."""


def read_settings() -> Settings:
    """The settings, checked down to what the sinks' libraries and the templates say of them.

    Raises ConfigurationError with every problem.
    """
    return load(check_template=Template.parse, check_event_template=event_template)


def retry_policy(route: RouteSettings) -> RetryPolicy:
    """The route's way to wait between attempts."""
    if route.retry == "fixed":
        return FixedRetry(route.retry_delay)
    if route.retry == "exponential":
        return ExponentialRetry(route.retry_delay, route.retry_max_delay)
    return RiverRetry()


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
            )
        routes[name] = Route(name, sinks)
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


def make_receivers(settings: Settings, connect: Connect) -> dict[str, Receiver]:
    """The loops of the sources, by name."""
    return {
        name: Receiver(
            name,
            partial(source.open, name),
            make_intake(name, source),
            connect=connect,
            schema=settings.db_schema,
        )
        for name, source in settings.sources.items()
    }


def make_intake(name: str, source: SourceSettings) -> Intake:
    """How the events of one source become jobs."""
    plan = Plan(
        kind=source.kind,
        queue=source.queue,
        priority=source.priority,
        max_attempts=source.max_attempts,
        scheduled_at=source.scheduled_at,
        tags=source.tags or (),
        metadata=source.metadata,
        identity=source.identity,
        decoding=source.decode,
        tombstones=source.tombstones,
    )
    remember = source.remember
    if remember is None:
        remember = 0.0 if source.positioned else INBOX
    return Intake(
        Mapper(name, plan),
        Bounds(source.batch_size, source.batch_bytes),
        remember=timedelta(seconds=remember) if remember else None,
        pause_above=source.pause_above,
    )


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
