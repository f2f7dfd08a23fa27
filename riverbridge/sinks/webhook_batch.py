"""Several events in one request: CloudEvents' batched content mode (its HTTP binding 1.0.2, 3.3).

A batch is a JSON array of structured events. Only events with equal URLs and headers can share one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from riverbridge.sinks.base import Message
from riverbridge.sinks.webhook_message import Request

MAX_BYTES = 1024 * 1024
"""Bytes of a batch; a larger event goes alone."""

_TRACE = ("traceparent", "tracestate")
_ONE = "\r\ncontent-type: application/cloudevents+json"
_SEVERAL = "\r\ncontent-type: application/cloudevents-batch+json"


def in_batches(requests: Iterable[Request], most: int) -> Iterator[Request]:
    """The requests with up to `most` events in each; what is no structured event stays as it is."""
    alike: dict[str, list[Request]] = {}
    for request in requests:
        if _ONE in request.head:
            alike.setdefault(request.head, []).append(request)
        else:
            yield request
    for group in alike.values():
        batch: list[Request] = []
        size = 0
        for request in group:
            size += len(request.body) + 1
            if batch and (len(batch) == most or size > MAX_BYTES):
                yield together(batch)
                batch, size = [], len(request.body) + 1
            batch.append(request)
        yield together(batch)


def together(requests: Sequence[Request]) -> Request:
    """One request with the events of all. Of one event the id is the event's own; of several it is
    made of theirs, so that the same batch has the same id again."""
    first = requests[0]
    id_ = first.id
    if len(requests) > 1:
        ids = "\n".join(request.id for request in requests)
        id_ = f"batch-{hashlib.sha256(ids.encode()).hexdigest()}"
    return Request(
        first.index,
        id_,
        first.head.replace(_ONE, _SEVERAL, 1),
        b"[%s]" % b",".join(request.body for request in requests),
        tuple(dict.fromkeys(mask for request in requests for mask in request.masks)),
        tuple(requests),
    )


def halves(request: Request) -> list[Request]:
    """Two requests with the events of one; none where it has a single event."""
    events = request.events
    if len(events) < 2:
        return []
    middle = len(events) // 2
    return [together(events[:middle]), together(events[middle:])]


def without_trace(message: Message) -> Message:
    """With headers that many have in common: a structured event has its trace context in itself."""
    headers = tuple(pair for pair in message.headers if pair[0] not in _TRACE)
    if len(headers) == len(message.headers):
        return message
    return msgspec.structs.replace(message, headers=headers)
