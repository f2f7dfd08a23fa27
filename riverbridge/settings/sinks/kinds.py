"""Which kinds of sinks there are."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import TypeVar, get_args

from riverbridge.settings.parts import Part
from riverbridge.settings.sinks.base import SinkSettings
from riverbridge.settings.sinks.eventbridge import EventBridgeSink
from riverbridge.settings.sinks.file import FileSink
from riverbridge.settings.sinks.kafka import KafkaSink
from riverbridge.settings.sinks.kinesis import KinesisSink
from riverbridge.settings.sinks.river import RiverSink
from riverbridge.settings.sinks.sns import SnsSink
from riverbridge.settings.sinks.sqs import SqsSink
from riverbridge.settings.sinks.webhook import WebhookSink

GROUP = "riverbridge.sinks"
"""The entry point group in which packages name their kinds."""

OURS: tuple[type[SinkSettings], ...] = (
    KafkaSink,
    SqsSink,
    SnsSink,
    EventBridgeSink,
    KinesisSink,
    WebhookSink,
    RiverSink,
    FileSink,
)

P = TypeVar("P", bound=Part)


def gather(
    points: Iterable[EntryPoint], base: type[P], ours: Iterable[type[P]]
) -> tuple[dict[str, type[P]], dict[str, str]]:
    """The kinds by type, `ours` first, and why some of `points` are none of them.

    base: what they are subclasses of.
    """
    kinds = {_type(kind): kind for kind in ours}
    failed: dict[str, str] = {}
    for point in points:
        try:
            kind = point.load()
            if not isinstance(kind, type) or not issubclass(kind, base):
                raise TypeError(f"{point.value} is not a subclass of {base.__name__}")
            if _type(kind) != point.name:
                raise TypeError(f"its type is {_type(kind)!r}, the entry point's {point.name!r}")
            if kinds.setdefault(point.name, kind) is not kind:
                raise TypeError("another kind has that name already")
        except Exception as error:  # whatever a package raises on import, the others still work
            failed[point.name] = f"{type(error).__name__}: {error}"
    return kinds, failed


def _type(kind: type[Part]) -> str:
    names = get_args(kind.model_fields["type"].annotation)
    if len(names) != 1:
        raise TypeError("its field `type` must be a Literal of one name")
    return str(names[0])


KINDS, FAILED = gather(entry_points(group=GROUP), SinkSettings, OURS)
