"""The settings as typed, frozen models; the field descriptions are the configuration reference.

Durations are float seconds, sizes bytes. `load` (loading.py) is what makes them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, NamedTuple, Union, get_args

from pydantic import Field, PrivateAttr, SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from riverbridge.settings import checks, shape
from riverbridge.settings.http import Http
from riverbridge.settings.parts import (
    DAY,
    HOUR,
    MINUTE,
    Boolean,
    Host,
    Keep,
    Part,
    Port,
)
from riverbridge.settings.secrets import Pairs
from riverbridge.settings.sinks import KINDS, SinkSettings
from riverbridge.settings.sinks.base import Envelope
from riverbridge.settings.sinks.large import OwnLarge
from riverbridge.settings.sources import KINDS as SOURCES
from riverbridge.settings.sources import SourceSettings
from riverbridge.settings.values import (
    Bytes,
    Choice,
    Dsn,
    Flag,
    Names,
    Properties,
    Seconds,
    Text,
    Whole,
)

PREFIX = shape.PREFIX

# Which kinds of sinks and sources there are is known only here and now: mypy sees what they have
# in common.
if TYPE_CHECKING:
    Sink = SinkSettings
    Source = SourceSettings
else:
    Sink = Annotated[Union[tuple(KINDS.values())], Field(discriminator="type")]  # noqa: UP007
    Source = Union[tuple(SOURCES.values())]  # noqa: UP007
    if len(SOURCES) > 1:
        Source = Annotated[Source, Field(discriminator="type")]


class Retention(Part):
    """How long what is over is kept, where riverbridge leads the cleaning. None keeps it."""

    completed: Keep = Field(DAY, description="How long completed jobs stay; -1 keeps them.")
    cancelled: Keep = Field(DAY, description="How long cancelled jobs stay; -1 keeps them.")
    discarded: Keep = Field(7 * DAY, description="How long discarded jobs stay; -1 keeps them.")
    receipts: Keep = Field(7 * DAY, description="How long receipts stay; -1 keeps them.")
    audit: Keep = Field(
        90 * DAY,
        description="How long the console's audit and its operations that have ended stay; -1 "
        "keeps them.",
    )


class Log(Part):
    """What is logged and how."""

    format: Annotated[Literal["auto", "text", "json"], Choice("auto", "text", "json")] = Field(
        "auto", description="Log lines as text or JSON; auto is text on a terminal, else JSON."
    )
    level: Annotated[
        Literal["debug", "info", "warning", "error"], Choice("debug", "info", "warning", "error")
    ] = Field("info", description="The least severe level that is logged.")


class Probes(Part):
    """Where `/livez`, `/readyz`, `/metrics` and `/version` listen."""

    host: Host = Field(
        "127.0.0.1", description="Address of the probes, which may be any; by default HTTP's."
    )
    port: Port = Field(8080, description="Port of the probes; by default HTTP's.")


class Override(Part):
    """What differs for one of a route's sinks from what the sink and the route say."""

    topic: Annotated[str | None, Text(1024, kind="template")] = Field(
        None, description="Another topic, for a Kafka sink.", examples=["orders.{kind}"]
    )
    url: Annotated[str | None, Text(2048, checks.url, "template")] = Field(
        None, description="Another URL, for a webhook sink."
    )
    detail_type: Annotated[str | None, Text(1024, kind="template")] = Field(
        None, description="Another detail type, for an EventBridge sink."
    )
    key: Annotated[str | None, Text(1024, kind="template")] = Field(
        None, description="Another key than the route's.", examples=["{args.account}"]
    )
    envelope: Annotated[Envelope | None, Choice(*get_args(Envelope))] = Field(
        None, description="Another envelope than the sink's."
    )
    headers: Annotated[Mapping[str, str], Properties()] = Field(
        Pairs(), description="Headers beside the sink's; one of the same name takes its place."
    )
    large: OwnLarge = OwnLarge()  # type: ignore[call-arg]

    def over(self, sink: SinkSettings) -> SinkSettings:
        """The sink's settings as they are for this route."""
        given = {name: value for name, value in self if name in _SINKS_OWN and value is not None}
        headers = Pairs({**sink.headers, **self.headers}.items())
        return sink.model_copy(
            update=given | {"headers": headers, "large": self.large.over(sink.large)}
        )


_SINKS_OWN = frozenset({"topic", "url", "detail_type", "envelope"})


class Hooks(Part):
    """Where `/hooks/<source>` listens, if there is a source of type webhook, and its limits."""

    host: Host = Field("127.0.0.1", description="Address of webhooks; by default HTTP's.")
    port: Port = Field(8080, description="Port of webhooks; by default HTTP's. 0 takes a free one.")
    max_body: Annotated[int, Bytes(1 << 10, 1 << 26)] = Field(
        1 << 20, description="The most bytes of one body; a larger one is answered with 413."
    )
    memory: Annotated[int, Bytes(1 << 20, 1 << 32)] = Field(
        64 << 20,
        description="The most bytes of bodies that are held at once; more is answered with 503.",
    )
    connections: Annotated[int, Whole(1, 100_000)] = Field(
        10_000, description="The most connections at once; more are answered with 503."
    )
    timeout: Annotated[float, Seconds(1, 10 * MINUTE)] = Field(
        30.0, description="How long a request may take to come in."
    )


class Route(Part):
    """Which jobs go to which sinks, and what becomes of them."""

    queues: Annotated[tuple[str, ...], Names(Text(64, checks.queue_glob), "queues")] = Field(
        description="The queues whose jobs this route takes, by name or as globs.",
        examples=["orders,orders-*"],
    )
    kinds: Annotated[tuple[str, ...], Names(Text(127), "kinds")] = Field(
        ("*",),
        description="Globs over job kinds; `*` is any run of characters.",
        examples=["order.*"],
    )
    when: Annotated[str | None, Text(4096, kind="condition")] = Field(
        None,
        description="Take only jobs of which this is true: a condition in CEL over `args`, "
        "`metadata`, `tags` and the job's columns; needs `riverbridge[conditions]`.",
        examples=['args.total > 100 && "eu" in tags'],
    )
    sinks: Annotated[tuple[str, ...], Names(Text(64, checks.own_name), "sinks")] = Field(
        (), description="The sinks that get each job; by default all.", examples=["events,billing"]
    )
    key: Annotated[str | None, Text(1024, kind="template")] = Field(
        None,
        description="The partition key or message group.",
        examples=["{args.customer_id}"],
    )
    ordered: Annotated[bool | None, Flag()] = Field(
        None,
        description="Whether the jobs of a key keep their order. A key on Kafka, or a FIFO queue, "
        "must state it.",
        examples=["true"],
    )
    hold_back_for: Annotated[float | None, Seconds(1, 365 * DAY)] = Field(
        None,
        description="How long a failing job holds back the later ones of its key, where ORDERED; "
        "by default until it has ended.",
    )
    max_attempts: Annotated[int | None, Whole(1, 32767)] = Field(
        None, description="Attempts after which a job is discarded; by default the job's own."
    )
    retry: Annotated[
        Literal["river", "fixed", "exponential"], Choice("river", "fixed", "exponential")
    ] = Field(
        "river",
        description="How the wait for the next attempt grows: River's (failures to the power of "
        "four, in seconds), always the same, or doubling.",
    )
    retry_delay: Annotated[float, Seconds(0.1, 30 * DAY)] = Field(
        5.0, description="The wait, or the first one; for fixed and exponential."
    )
    retry_max_delay: Annotated[float, Seconds(0.1, 365 * DAY)] = Field(
        HOUR, description="The longest wait; for exponential."
    )
    on_success: Annotated[Literal["complete", "delete"], Choice("complete", "delete")] = Field(
        "complete", description="Complete a delivered job, or delete its row (faster, no history)."
    )
    claim: Annotated[Literal["auto", "lock", "lease"], Choice("auto", "lock", "lease")] = Field(
        "auto",
        description="Hold jobs by a row lock while they are delivered, mark them running first, "
        "or learn which fits.",
    )
    patience: Annotated[float, Seconds(0, MINUTE)] = Field(
        0.25,
        description="How long a job waits for one of several sinks, once the fastest has answered; "
        "then it is parked, and comes back for that sink alone.",
    )
    dead_letters: Annotated[str | None, Text(64, checks.own_name)] = Field(
        None,
        description="The sink that gets a job before it is discarded; none of the route's own.",
        examples=["graveyard"],
    )
    max_age: Annotated[float | None, Seconds(1, 3650 * DAY)] = Field(
        None, description="Cancel jobs that were already due for longer when the route first ran."
    )
    lanes: Annotated[int | None, Whole(1, 32)] = Field(
        None, description="Lanes of this route's own; by default it shares the process's."
    )
    receipts: Boolean = Field(
        False,
        description="Keep which sink confirmed each job, on which attempt and where (partition and "
        "offset, message id).",
    )
    unmatched: Annotated[Literal["leave", "fail"], Choice("leave", "fail")] = Field(
        "leave",
        description="Jobs of these queues that no route takes: left alone and reported, or failed "
        "as River fails unknown kinds.",
    )
    overrides: Mapping[str, Override] = {}

    def at(self, name: str, sink: SinkSettings) -> tuple[SinkSettings, str | None]:
        """The settings of the sink `name` and the key's template, as they are for this route."""
        if (own := self.overrides.get(name)) is None:
            return sink, self.key
        return own.over(sink), self.key if own.key is None else own.key


class Described(NamedTuple):
    """One line of the effective settings. `value` is masked where secret, None where unset."""

    variable: str
    value: str | None
    origin: str
    default: bool


class Settings(BaseSettings):
    """Everything a process is told. Frozen; made by `load`, which reads, merges and checks."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        validate_default=False,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
    )
    _origins: dict[shape.Path, str] = PrivateAttr(default_factory=dict)
    _ignored: tuple[str, ...] = PrivateAttr(default=())
    _warnings: tuple[str, ...] = PrivateAttr(default=())

    database_url: Annotated[SecretStr | None, Dsn()] = Field(
        None,
        description="The Postgres that holds River's tables. Required to run.",
        examples=["postgresql://app@db/app"],
    )
    db_schema: Annotated[str | None, Text(46)] = Field(
        None,
        alias="schema",
        description="The schema of River's tables; by default the search path decides.",
        examples=["public"],
    )
    name: Annotated[str | None, Text(100)] = Field(
        None, description="The name this process is shown under; by default the host's."
    )
    source_name: Annotated[str | None, Text(255)] = Field(
        None,
        description="The source of events and the first part of their ids; by default it is "
        "derived from the database.",
        examples=["shop"],
    )
    lanes: Annotated[int, Whole(1, 32)] = Field(
        2, description="Lanes that claim, deliver and settle; more than cores loses."
    )
    hold: Annotated[float, Seconds(0.05, 5)] = Field(
        1.0, description="How long a batch stays locked before it becomes leases."
    )
    deadline: Annotated[float, Seconds(0.1, MINUTE)] = Field(
        10.0, description="How long the delivery of a batch may take; not below the hold."
    )
    batch_size: Annotated[int, Whole(1, 10_000)] = Field(
        1000, description="The most jobs in one batch."
    )
    batch_bytes: Annotated[int, Bytes(1 << 16, 1 << 28)] = Field(
        8 << 20, description="About the most bytes of args in one batch."
    )
    poll_interval: Annotated[float, Seconds(0.05, MINUTE)] = Field(
        1.0, description="How often a lane looks for jobs without being woken."
    )
    listen: Boolean = Field(True, description="Be woken by LISTEN; false polls only.")
    listen_url: Annotated[SecretStr | None, Dsn()] = Field(
        None,
        description="A direct connection for LISTEN, where DATABASE_URL leads to a pooler.",
        examples=["postgresql://app@db:5432/app"],
    )
    pooler: Boolean = Field(
        False,
        description="DATABASE_URL leads to a transaction pooler: no prepared statements, and "
        "polling only unless LISTEN_URL is given.",
    )
    grace: Annotated[float, Seconds(0, 10 * MINUTE)] = Field(
        25.0, description="How long a stop may take to finish what is under way."
    )
    elections: Boolean = Field(
        True, description="Take part in River's leader elections; false leaves upkeep to others."
    )
    retention: Retention = Retention()  # type: ignore[call-arg]
    log: Log = Log()  # type: ignore[call-arg]
    http: Http = Http()  # type: ignore[call-arg]
    probes: Probes = Probes()  # type: ignore[call-arg]
    hooks: Hooks = Hooks()  # type: ignore[call-arg]
    sinks: Mapping[str, Sink] = {}
    routes: Mapping[str, Route] = {}
    sources: Mapping[str, Source] = {}

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # `load` has read the environment and the files: the built-in sources stop at the first
        # bad value, take unknown names for nobody's, and forget where a value came from.
        return (init_settings,)

    @property
    def ignored(self) -> tuple[str, ...]:
        """Variables Kubernetes injects for a Service named riverbridge; worth one log line."""
        return self._ignored

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was allowed but should be known, a line each, to be logged at every start."""
        return self._warnings

    def describe(self) -> list[Described]:
        """Every setting in force, in the reference's order; secrets are masked."""
        lines: list[Described] = []
        for path, leaf, value in shape.leaves(self):
            found = sorted({o for p, o in self._origins.items() if p[: len(path)] == path})
            origin = " and ".join(found) or shape.DEFAULT
            unset = value == () or (value is None and not leaf.keeps)
            shown = None if unset else leaf.show(value)
            lines.append(Described(shape.variable(path), shown, origin, origin == shape.DEFAULT))
        return lines

    def is_given(self, *path: str) -> bool:
        """Whether the user set this, and not a default."""
        return self._origins.get(path, shape.DEFAULT) != shape.DEFAULT

    def remember(
        self, origins: dict[shape.Path, str], ignored: tuple[str, ...], warnings: tuple[str, ...]
    ) -> Settings:
        """For `load`: where the values came from, and what to tell."""
        self._origins, self._ignored, self._warnings = origins, ignored, warnings
        return self
