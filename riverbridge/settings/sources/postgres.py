"""Changes in Postgres."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field, SecretStr

from riverbridge.settings.sources.base import SourceSettings
from riverbridge.settings.values import Bytes, Choice, Dsn, Names, Text
from riverbridge.sources.base import Source
from riverbridge.sources.postgres_jobs import ABOUT, JobTable

if TYPE_CHECKING:
    from riverbridge.sources.postgres_server import Wanted


def _slot(text: str) -> None:
    """Postgres's rule for replication slots."""
    if not text.isascii() or not text.replace("_", "a").isalnum() or text != text.lower():
        raise ValueError("is no name of a slot: lower-case letters, digits and '_'")


def _prefix(text: str) -> None:
    if text == "riverbridge":
        raise ValueError("is ours")


def _state(text: str) -> None:
    Choice("completed", "cancelled", "discarded", "retryable").parse(text)


class _Slotted(SourceSettings):
    """A source over a replication slot."""

    positioned: ClassVar[bool] = True

    url: Annotated[SecretStr, Dsn()] = Field(
        description="The database that has the tables; a direct connection, with a role that has "
        "REPLICATION.",
        examples=["postgresql://cdc@db/app"],
    )
    slot: Annotated[str | None, Text(63, _slot)] = Field(
        None,
        description="The replication slot, made if it is not there; by default "
        "`riverbridge_<NAME>`.",
        examples=["riverbridge_shop"],
    )
    publication: Annotated[str | None, Text(63)] = Field(
        None,
        description="The publication; by default `riverbridge_<NAME>`. It is made if it is not "
        "there, and this role may, and never altered.",
        examples=["shop"],
    )
    max_wal: Annotated[int, Bytes(1 << 20, 1 << 44)] = Field(
        10 << 30, description="The most WAL that the server should keep for the slot."
    )
    on_max_wal: Annotated[Literal["warn", "drop"], Choice("warn", "drop")] = Field(
        "warn",
        description="What to do above it: say so, in `/readyz` too, or drop the slot, and lose "
        "what was not read.",
    )

    def _wanted(self, name: str, tables: Sequence[str], **more: Any) -> Wanted:
        from riverbridge.sources.postgres_server import Wanted

        return Wanted(
            self.slot or f"riverbridge_{name}",
            self.publication or f"riverbridge_{name}",
            tables,
            **more,
        )


class PostgresSource(_Slotted):
    """Turn changed rows into jobs, and messages of `pg_logical_emit_message`."""

    title: ClassVar[str] = "Postgres sources"

    type: Literal["postgres"] = Field(
        description="Selects this kind of source.", examples=["postgres"]
    )
    tables: Annotated[tuple[str, ...] | None, Names(Text(200), "tables")] = Field(
        None,
        description="Tables that the publication must have, and that it is made of.",
        examples=["orders,shop.customers"],
    )
    prefixes: Annotated[tuple[str, ...] | None, Names(Text(200, _prefix), "prefixes")] = Field(
        None,
        description="Messages of `pg_logical_emit_message` with these prefixes are events too.",
        examples=["orders"],
    )

    def open(self, name: str) -> Source:
        from riverbridge.sources.postgres import PostgresSource as Postgres

        return Postgres(
            name=name,
            url=self.url.get_secret_value(),
            wanted=self._wanted(name, self.tables or (), prefixes=self.prefixes or ()),
            max_wal=self.max_wal,
            on_max_wal=self.on_max_wal,
        )


class JobsSource(_Slotted):
    """Turn what becomes of jobs into jobs."""

    title: ClassVar[str] = "Sources of job events"
    marks: ClassVar[tuple[str, ...]] = (ABOUT,)

    type: Literal["jobs"] = Field(description="Selects this kind of source.", examples=["jobs"])
    states: Annotated[tuple[str, ...], Names(Text(20, _state), "states")] = Field(
        ("completed", "cancelled", "discarded"),
        description="The states whose jobs are events: completed, cancelled, discarded, retryable.",
        examples=["discarded"],
    )
    table: Annotated[str, Text(200)] = Field(
        "river_job", description="River's table of jobs, with its schema where that is needed."
    )

    def open(self, name: str) -> Source:
        from riverbridge.sources.postgres import PostgresSource as Postgres

        return Postgres(
            name=name,
            url=self.url.get_secret_value(),
            wanted=self._wanted(name, [self.table], publish="update"),
            max_wal=self.max_wal,
            on_max_wal=self.on_max_wal,
            teller=partial(JobTable, states=self.states),
        )
