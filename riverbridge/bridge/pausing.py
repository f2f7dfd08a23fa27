"""Which routes and sinks of this process somebody has paused."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from riverbridge import telemetry
from riverbridge.bridge.outlet import Outlet
from riverbridge.bridge.route import Route
from riverbridge.model.pause import Pause
from riverbridge.store.database import Connection
from riverbridge.store.pauses import read_pauses


class Pausing:
    """Pauses them and lets them go on, as the table says."""

    def __init__(
        self, routes: Mapping[str, Route], outlets: Mapping[str, Outlet], schema: str | None
    ) -> None:
        self._routes = routes
        self._outlets = outlets
        self._schema = schema
        self._now: list[Pause] = []
        for name in routes:
            telemetry.route_paused.set(0, {"route": name})
        for name in outlets:
            telemetry.sink_paused.set(0, {"sink": name})

    def read(self, connection: Connection) -> None:
        """Read the table, and obey it. What is out goes on."""
        now = read_pauses(connection, self._schema)
        if now != self._now:
            self._obey(now)
            self._now = now

    def notes(self) -> dict[str, str]:
        """What is paused here, as the probes show it."""
        here = {"route": self._routes.keys(), "sink": self._outlets.keys()}
        return {f"{p.what}-{p.name}": str(p) for p in self._now if p.name in here[p.what]}

    def _obey(self, now: Iterable[Pause]) -> None:
        why = {(pause.what, pause.name): str(pause) for pause in now}
        for name, route in self._routes.items():
            reason = why.get(("route", name), "")
            route.pause(reason)
            telemetry.route_paused.set(int(bool(reason)), {"route": name})
        for name, outlet in self._outlets.items():
            reason = why.get(("sink", name), "")
            outlet.breaker.pause(reason)
            telemetry.sink_paused.set(int(bool(reason)), {"sink": name})
