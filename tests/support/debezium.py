"""Debezium itself, from its jars: what its outbox event router makes of the rows of a table."""

from __future__ import annotations

import base64
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
from psycopg.conninfo import conninfo_to_dict

from riverbridge.errors import PartMissing
from tests.support.database import Database
from tests.support.jars import fetched, java

_SOURCE = Path(__file__).parents[1] / "interop" / "debezium"
_POM = _SOURCE / "pom.xml"
_CONNECTOR = """\
name=outbox
connector.class=io.debezium.connector.postgresql.PostgresConnector
database.hostname={host}
database.port={port}
database.user={user}
database.password={password}
database.dbname={database}
topic.prefix=app
plugin.name=pgoutput
slot.name={slot}
table.include.list=public.outbox
snapshot.mode=no_data
offset.storage=org.apache.kafka.connect.storage.MemoryOffsetBackingStore
offset.flush.interval.ms=60000
"""


class Sent(NamedTuple):
    """A record on its way to Kafka. error: why there is none, as Debezium says it."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: list[tuple[str, bytes | None]]
    error: str | None = None


def debezium_version() -> str:
    """The version the pom names."""
    match = re.search(r"<debezium>(.*?)</debezium>", _POM.read_text())
    assert match, f"{_POM} does not name Debezium's version"
    return match[1]


class Debezium:
    """Debezium's Postgres connector in its embedded engine. Raises PartMissing."""

    def __init__(self) -> None:
        self.version = debezium_version()
        self._jars = fetched("Debezium", self.version, _POM)

    def watch(self, database: Database) -> str:
        """From now on keep what happens to the table `outbox`, for `read`; returns the slot's name.

        Raises PartMissing if the server's wal_level is not logical. It goes with the database.
        """
        slot = f"debezium_{database.name}"
        with database.connect() as connection:
            (level,) = connection.execute("SHOW wal_level").fetchone() or ("",)
            if level != "logical":
                raise PartMissing(f"Debezium needs a Postgres with wal_level=logical, not {level}")
            connection.execute("CREATE PUBLICATION dbz_publication FOR TABLE outbox")
            connection.execute("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
        return slot

    def read(
        self,
        database: Database,
        slot: str,
        events: int,
        configurations: Mapping[str, str],
        home: Path,
    ) -> dict[str, list[Sent]]:
        """What goes to Kafka by each of the configurations, until `events` came.

        configurations: Kafka Connect's properties, by any name. home: for files.
        """
        where = conninfo_to_dict(database.dsn)
        connector = _CONNECTOR.format(
            host=where["host"], port=where["port"], user=where["user"],
            password=where.get("password", ""), database=where["dbname"], slot=slot,
        )  # fmt: skip
        files = []
        for name, text in {"connector": connector, **configurations}.items():
            file = home / f"{name}.properties"
            file.write_text(text, encoding="utf-8")
            files.append(str(file))
        program = str(_SOURCE / "Outbox.java")
        done = subprocess.run(
            java(self._jars, program, str(events), *files),
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"Debezium failed: {done.stderr[-3000:]}"
        found: dict[str, list[Sent]] = {name: [] for name in configurations}
        for line in done.stdout.splitlines():
            given = msgspec.json.decode(line)
            found[given["configuration"]].append(
                Sent(
                    given["topic"],
                    _bytes(given["key"]),
                    _bytes(given["value"]),
                    [(name, _bytes(value)) for name, value in given["headers"]],
                    given["error"],
                )
            )
        return found


def _bytes(text: Any) -> bytes | None:
    return None if text is None else base64.b64decode(text)
