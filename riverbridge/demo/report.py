"""What the reader tells the demo: one JSON line after another on its standard output."""

from __future__ import annotations

import msgspec

QUEUE = "outbox"
"""River's queue that the demo's jobs go through."""
STORES = ("north", "south")
"""Where orders are placed, by turns."""
BACK = {store: f"received_{store}" for store in STORES}
"""The queues of the jobs that are made of what the bridge sent to Kafka, one for each store."""
BACK_KIND = "order.received"
"""The kind of these jobs."""
GO_STORE, GO_ID = "south", "demo-go"
"""The store whose jobs a worker in Go takes, where there is one, and its client's id."""


class SinkCount(msgspec.Struct, frozen=True):
    """What was read from one sink: different events, and copies of them beyond the first."""

    delivered: int = 0
    duplicates: int = 0


class Report(msgspec.Struct, frozen=True):
    """The state of the reading.

    strangers: how many events were read whose order is not committed; it must stay 0.
    final: everything was read; only then `committed` (orders) and `lost` (committed orders that a
    sink did not have, over both sinks) are counted.
    """

    kafka: SinkCount = SinkCount()
    sqs: SinkCount = SinkCount()
    strangers: int = 0
    final: bool = False
    committed: int = 0
    lost: int = 0


def event_id(order: int) -> str:
    """The event id of an order's job."""
    return f"order-{order}"


def order_of(event: str) -> int | None:
    """The order an event id names, or None if it names none."""
    head, _, number = event.rpartition("-")
    return int(number) if head == "order" and number.isascii() and number.isdigit() else None
