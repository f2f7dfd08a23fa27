"""What every kind of sink is told, and what the rest of riverbridge asks of it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated, ClassVar, Literal, get_args

from pydantic import Field

from riverbridge.settings.parts import HOUR, INSECURE, MINUTE, Boolean, Part
from riverbridge.settings.secrets import Pairs
from riverbridge.settings.sinks.check import Found, unencrypted
from riverbridge.settings.sinks.large import Large, Way
from riverbridge.settings.values import Bytes, Choice, Properties, Rate, Seconds, Text
from riverbridge.sinks.base import Sink

Envelope = Literal["cloudevents", "cloudevents-structured", "debezium", "job", "raw", "template"]
Stamp = Literal["now", "created_at", "scheduled_at"]
"""As `riverbridge.bridge.envelope` makes them."""

__all__ = ["Found", "SinkSettings", "unencrypted"]

_TYPE = re.compile(r"[!#$%&'*+.^`|~\w-]+/[!#$%&'*+.^`|~\w-]+(\s*;.*)?", re.ASCII)


def _content_type(text: str) -> None:
    if not _TYPE.fullmatch(text):
        raise ValueError("is no media type; write it as application/json")


class SinkSettings(Part):
    """A kind of sink: a subclass with a `type` of its own, a field per setting, and `open`.

    Every field has a rule of `riverbridge.settings.values`, which is how its value is read, limited
    and shown. A package of its own names the class in the entry point group `riverbridge.sinks`,
    under the name that is its `type`.
    """

    title: ClassVar[str] = ""
    """Its heading in the configuration reference."""

    carried: ClassVar[Mapping[str, str]] = {}
    """Headers by which its messages tell the sink what a job decides: the name of each, and the
    field that has its template."""

    way: ClassVar[Way | None] = None
    """What its messages carry, which decides what can be done with large ones."""

    type: str
    headers: Annotated[Mapping[str, str], Properties()] = Field(
        Pairs(),
        description="Further headers of each message; the values are templates.",
        examples=['{"tenant":"{args.tenant}"}'],
    )
    delivery_timeout: Annotated[float, Seconds(0.1, MINUTE)] = Field(
        10.0, description="How long a message may take to be acknowledged; by default the deadline."
    )
    rate_limit: Annotated[float | None, Rate(1 / HOUR, 1_000_000)] = Field(
        None,
        description="The most messages in a second, minute or hour, for each process; by default "
        "as fast as it goes.",
        examples=["500/s"],
    )
    max_in_flight_bytes: Annotated[int | None, Bytes(1024, 1 << 40)] = Field(
        None,
        description="The most bytes of args in messages that are out at one time, for each "
        "process; a larger job goes alone.",
        examples=["16MiB"],
    )
    envelope: Annotated[Envelope, Choice(*get_args(Envelope))] = Field(
        "cloudevents",
        description="What a message is: the job's args in a CloudEvent, binary or structured; as "
        "Debezium's outbox router sends them; the whole job; the args alone; or BODY.",
    )
    body: Annotated[str | None, Text(16384, kind="JSON template")] = Field(
        None,
        description="The body of the envelope `template`: JSON with fields of the job.",
        examples=['{"id":{id},"args":{args}}'],
    )
    content_type: Annotated[str | None, Text(255, _content_type)] = Field(
        None,
        description="The header `content-type`, in place of the envelope's own.",
        examples=["application/vnd.shop+json"],
    )
    large: Large = Large()  # type: ignore[call-arg]
    insecure: Boolean = Field(False, description=INSECURE)

    @property
    def message_headers(self) -> Mapping[str, str]:
        """The templates of all headers that its messages get, beside the envelope's."""
        return {**self.headers, **{name: getattr(self, at) for name, at in self.carried.items()}}

    @property
    def destination(self) -> tuple[str, str]:
        """The field that says where messages go, and its template, where a job may decide it."""
        return "", ""

    @property
    def escape(self) -> Callable[[str], str] | None:
        """What a job's values go through in the destination, where not all text may stand there."""
        return None

    @property
    def stamp(self) -> Stamp:
        """What a message's own time is, where the sink's messages have one."""
        return "now"

    @property
    def place(self) -> str | None:
        """The template of the partition a message must go to, where the user gives one."""
        return None

    @property
    def wants_key(self) -> str | None:
        """Why a route to this sink has to have a key, or None."""
        return None

    def wants_order(self, keyed: bool) -> str | None:
        """Why a route to this sink, with a key or not, has to state `ordered`, or None."""
        return None

    @property
    def wants_bodies(self) -> str | None:
        """Why it does not take every body that a job may have, or None."""
        return None

    @property
    def ledger(self) -> bool:
        """Whether it opens a `LedgerSink`, so that a crash leads to questions, not to repeats."""
        return False

    def problems(self) -> Iterable[Found]:
        """What cannot work, as far as it is known without connecting to anything."""
        return ()

    def insecurities(self) -> Iterable[Found]:
        """What gives up transport security, which only `insecure` allows."""
        return ()

    def around(self, sink: Sink, name: str) -> Sink:
        """What `open` gave, and around it what prepares messages for it."""
        return self.large.around(sink, name, self.way, self.delivery_timeout)

    def open(self, name: str, receipts: bool = False) -> Sink:
        """The sink, which may connect only when it is used. Its library is imported only here.

        name: how logs and servers are to know it. receipts: a route wants to know where each
        message went (`Delivered.receipt`), if the sink can say. Raises ConfigurationError for what
        only the library can refuse.
        """
        raise NotImplementedError(f"{type(self).__name__} has no open(): a kind of sink needs it")
