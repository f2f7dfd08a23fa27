"""What every kind of source is told, and what the rest of riverbridge asks of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from riverbridge.settings.parts import DAY, INSECURE, Boolean, Part, Template
from riverbridge.settings.secrets import Pairs
from riverbridge.settings.sinks.base import Found
from riverbridge.settings.sources.fetch import Fetch
from riverbridge.settings.values import Bytes, Choice, Names, Properties, Seconds, Text, Whole
from riverbridge.sources.base import Source

Decoding = Literal["json", "text", "base64"]
Tombstones = Literal["skip", "job", "quarantine"]
Wrapping = Literal["sns", "eventbridge", "s3"]
"""All as `riverbridge.bridge.mapping` has them."""


class SourceSettings(Part):
    """A kind of source: a subclass with a `type` of its own, a field per setting, and `open`.

    Every field has a rule of `riverbridge.settings.values`. A package of its own names the class in
    the entry point group `riverbridge.sources`, under the name that is its `type`.
    """

    title: ClassVar[str] = ""
    """Its heading in the configuration reference."""

    positioned: ClassVar[bool] = False
    """Whether its position is stored with the jobs; if not, it needs the inbox."""

    listens: ClassVar[bool] = False
    """Whether its events come to `/hooks/<source>`."""

    own_ids: ClassVar[bool] = False
    """Whether an event is known again by the id that the source gives it, whatever it says of
    itself as a CloudEvent."""

    marks: ClassVar[tuple[str, ...]] = ()
    """Tags that each job of such a source has, beside those that are set."""

    type: str
    kind: Annotated[tuple[str, ...], Names(Text(1024, kind="template"), "kinds")] = Field(
        description="The kind of the jobs; may use the event, as in `{type}`. Of several an event "
        "becomes a job of each; add further ones behind the first.",
        examples=["signup"],
    )
    filter: Annotated[str | None, Text(4096, kind="condition")] = Field(
        None,
        description="Take only events of which this is true, and pass the others over: a condition "
        "in CEL over `body`, `headers`, and `event` with what templates may use; needs "
        "`riverbridge[conditions]`.",
        examples=['event.type == "signup" && body.plan != "free"'],
    )
    split: Boolean = Field(
        False, description="A body that is a JSON array is an event for each of its elements."
    )
    queue: Template = Field("default", description="The queue of the jobs; may use the event.")
    priority: Template = Field(
        "1", description="Their priority, 1 (first) to 4; may use the event."
    )
    max_attempts: Template = Field(
        "25", description="Their attempts, 1 to 32767; may use the event."
    )
    scheduled_at: Annotated[str | None, Text(1024, kind="template")] = Field(
        None,
        description="When a job is due: an instant like 2026-01-02T03:04:05Z, from the event.",
        examples=["{body.due_at}"],
    )
    tags: Annotated[tuple[str, ...] | None, Names(Text(1024), "tags")] = Field(
        None, description="Tags of each job; may use the event.", examples=["signups,{body.plan}"]
    )
    metadata: Annotated[Mapping[str, str], Properties()] = Field(
        Pairs(),
        description="Further metadata of each job; the values are templates.",
        examples=['{"event":"{id}"}'],
    )
    identity: Annotated[str | None, Text(1024, kind="template")] = Field(
        None,
        description="By what an event is known again, so that it becomes one job; by default a "
        "CloudEvent's source and id, else the id that its source gives it.",
        examples=["{body.order_id}"],
    )
    decode: Annotated[Decoding, Choice(*get_args(Decoding))] = Field(
        "json",
        description="What a body is. A JSON object becomes the args as it is; other JSON, text, "
        'and base64 of any bytes become `{"value": …}`.',
    )
    tombstones: Annotated[Tombstones, Choice(*get_args(Tombstones))] = Field(
        "skip", description="Events without a body: passed over, jobs too, or into quarantine."
    )
    remember: Annotated[float | None, Seconds(0, 3650 * DAY)] = Field(
        None,
        description="How long the inbox remembers each event, so that it makes no second job even "
        "where the first was deleted; 0 turns it off, which only a source with a stored position "
        "may do. By default 0 for such a source, and 7d for any other.",
        examples=["7d"],
    )
    pause_above: Annotated[int | None, Whole(1, 10_000_000)] = Field(
        None,
        description="Take nothing in while more due jobs than this wait in the queue; by default "
        "always go on.",
        examples=["100000"],
    )
    batch_size: Annotated[int, Whole(1, 10_000)] = Field(
        1000, description="The most events in one transaction."
    )
    batch_bytes: Annotated[int, Bytes(1 << 16, 1 << 28)] = Field(
        8 << 20, description="About the most bytes of bodies in one transaction."
    )
    insecure: Boolean = Field(False, description=INSECURE)
    fetch: Fetch = Fetch()  # type: ignore[call-arg]

    @property
    def envelopes(self) -> Sequence[Wrapping]:
        """The envelopes that are taken off its events."""
        return ()

    @property
    def wants_loopback(self) -> str | None:
        """Why its events may come from this machine only, or None."""
        return None

    @property
    def templates(self) -> Iterable[tuple[str, str]]:
        """Every template, with the field that it is in."""
        yield from (("kind", text) for text in self.kind)
        for name in ("queue", "priority", "max_attempts", "scheduled_at", "identity"):
            if (text := getattr(self, name)) is not None:
                yield name, text
        yield from (("tags", text) for text in self.tags or ())
        yield from (("metadata", text) for text in self.metadata.values())

    def problems(self) -> Iterable[Found]:
        """What cannot work, as far as it is known without connecting to anything."""
        return ()

    def insecurities(self) -> Iterable[Found]:
        """What gives up transport security, which only `insecure` allows."""
        return ()

    def open(self, name: str) -> Source:
        """The source, connecting as soon as it likes. Its library is imported only here.

        name: as users know it; it is also what positions are stored under.
        """
        raise NotImplementedError(f"{type(self).__name__} has no open(): a kind of source needs it")
