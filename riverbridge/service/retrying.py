"""Events in quarantine, once more by the settings as they are now."""

from __future__ import annotations

from collections.abc import Callable

from riverbridge.bridge.deposit import Depositor
from riverbridge.bridge.quarantine import retry
from riverbridge.service.receiving import make_intake
from riverbridge.settings import Settings
from riverbridge.store.database import Connection


class Retrying:
    """Makes jobs of events in quarantine, as their sources are set now."""

    def __init__(self, settings: Settings, schema: str | None) -> None:
        self._depositors = {}
        for name, source in settings.sources.items():
            intake = make_intake(name, source)
            self._depositors[name] = Depositor(
                intake.mapper, remember=intake.remember, schema=schema
            )

    def retry(
        self,
        connection: Connection,
        source: str,
        id: int,
        told: Callable[[Connection, str | None], None] = lambda connection, reason: None,
    ) -> str | None:
        """None if it is a job now; else why it stays. told: as of `riverbridge.bridge.quarantine`.
        Raises what psycopg raises."""
        depositor = self._depositors.get(source)
        if depositor is None:
            return f"no source {source} is set, by which to make a job of it"
        return retry(connection, depositor, id, told)
