"""Another River database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated, ClassVar, Literal

from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr

from riverbridge.settings.parts import Template
from riverbridge.settings.sinks.base import Found, SinkSettings
from riverbridge.settings.values import Choice, Dsn, Text, Whole
from riverbridge.sinks.base import Sink
from riverbridge.sinks.river_row import PRIORITY, QUEUE, TAGS


class RiverSink(SinkSettings):
    """Deliver to another River database: each event becomes a job there."""

    title: ClassVar[str] = "River sinks"
    carried: ClassVar[Mapping[str, str]] = {QUEUE: "queue", PRIORITY: "priority", TAGS: "tags"}

    type: Literal["river"] = Field(description="Selects this kind of sink.", examples=["river"])
    envelope: Annotated[Literal["cloudevents"], Choice("cloudevents")] = Field(
        "cloudevents",
        description="A CloudEvent taken apart: its data are the job's args, its id and source are "
        "in the job's metadata.",
    )
    database_url: Annotated[SecretStr, Dsn()] = Field(
        description="The Postgres that holds the other River's tables; may lead to a pooler.",
        examples=["postgresql://bridge@billing-db/billing"],
    )
    db_schema: Annotated[str | None, Text(46)] = Field(
        None,
        alias="schema",
        description="The schema of the other River's tables; by default the search path decides.",
        examples=["public"],
    )
    kind: Template = Field(
        "{kind}", description="The job's kind; may use the delivered job.", examples=["{kind}"]
    )
    queue: Template = Field(
        "default",
        description="The job's queue; may use the delivered job.",
        examples=["billing"],
    )
    priority: Template = Field(
        "{priority}", description="The job's priority, 1 to 4; by default the delivered job's."
    )
    tags: Template = Field(
        "{tags}", description="The job's tags, comma-separated; by default the delivered job's."
    )
    max_attempts: Annotated[int, Whole(1, 32767)] = Field(
        25, description="How often the job may be tried there."
    )
    threads: Annotated[int, Whole(1, 64)] = Field(
        4, description="The most connections, each with one batch under way."
    )

    @property
    def destination(self) -> tuple[str, str]:
        return "kind", self.kind

    def problems(self) -> Iterable[Found]:
        for name in self.headers.keys() & self.carried.keys():
            field = self.carried[name].upper()
            yield "headers", f"{name} is the sink's own; set {field} instead"
        if self.content_type:
            yield "content_type", "args are JSON; unset it"

    def leads_to(self, url: SecretStr, schema: str | None) -> bool:
        """Whether it inserts into these tables, as far as the two addresses say so."""
        return _place(self.database_url, self.db_schema) == _place(url, schema)

    def open(self, name: str, receipts: bool = False) -> Sink:
        from riverbridge.sinks.river import RiverSink as River

        return River(
            database_url=self.database_url.get_secret_value(),
            schema=self.db_schema,
            max_attempts=self.max_attempts,
            delivery_timeout=self.delivery_timeout,
            threads=self.threads,
            name=f"riverbridge {name}",
        )


def _place(url: SecretStr, schema: str | None) -> tuple[object, ...]:
    parts = conninfo_to_dict(url.get_secret_value())
    host = str(parts.get("host") or parts.get("hostaddr") or "").lower()
    database = parts.get("dbname") or parts.get("user")
    return host, str(parts.get("port") or 5432), database, schema or "public"
