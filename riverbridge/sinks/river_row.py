"""A message as a row of another River: kind, args and options, and the key it is unique by."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256

import msgspec

from riverbridge.errors import InvalidJob
from riverbridge.model.job import JobState
from riverbridge.model.options import (
    MAX_ATTEMPTS_DEFAULT,
    PRIORITY_DEFAULT,
    QUEUE_DEFAULT,
    NewJob,
    check_new_job,
)
from riverbridge.model.outcome import Permanent
from riverbridge.sinks.base import REPLAY, Message, headers_object

QUEUE, PRIORITY, TAGS = "river-queue", "river-priority", "river-tags"
"""Headers that say how the job is inserted, and do not go with it; tags are joined by commas."""

ALL_STATES = 0xFF
"""The mask of a row whose key is taken as long as the row is there (contract 4.5)."""

_KEPT = {
    "ce_source": "event_source",
    REPLAY: "event_replay",
    "traceparent": "traceparent",
    "tracestate": "tracestate",
}
_SAID_OTHERWISE = {
    "ce_id", "ce_specversion", "ce_time", "ce_type", "content-type", QUEUE, PRIORITY, TAGS,
}  # fmt: skip
_encode = msgspec.json.Encoder().encode


def row_of(message: Message, max_attempts: int = MAX_ATTEMPTS_DEFAULT) -> NewJob | Permanent:
    """The row, or why there can be none.

    The kind is the destination, the args are the body. The metadata has the event's id and source,
    the trace context and the key under names of their own, and all other headers in `headers`.
    """
    options = dict(message.headers)
    kind, queue = message.destination, options.get(QUEUE, QUEUE_DEFAULT)
    try:
        row = NewJob(
            kind,
            _args(message.body),
            max_attempts,
            _number(options.get(PRIORITY)),
            queue,
            JobState.AVAILABLE,
            None,
            tuple(filter(None, options.get(TAGS, "").split(","))),
            _metadata(message, options),
            unique_key(kind, queue, message.id, options.get(REPLAY)),
            ALL_STATES,
        )
        check_new_job(row)
    except InvalidJob as error:
        return Permanent(f"no job for River: {error}")
    except UnicodeEncodeError:
        return Permanent("no job for River: kind, id, key or a header holds a lone surrogate")
    return row


def unique_key(kind: str, queue: str, id_: str, replay: str | None = None) -> bytes:
    """What an event's job is unique by: spelt as River spells its own keys, and none of them.

    Kind and queue count so that one event may become one job each in several queues; a replay is
    meant to become another one (contract 4.2).
    """
    text = f"&kind={kind}&queue={queue}&event={id_}" + (f"&replay={replay}" if replay else "")
    return sha256(text.encode()).digest()


def _args(body: bytes | None) -> str:
    if body is None:
        raise InvalidJob("args: a tombstone has no body, and args must be a JSON object")
    try:
        return body.decode()
    except UnicodeDecodeError as error:
        raise InvalidJob(f"args: not UTF-8 at byte {error.start}") from None


def _number(priority: str | None) -> int:
    if priority is None:
        return PRIORITY_DEFAULT
    if priority not in ("1", "2", "3", "4"):
        raise InvalidJob(f"priority: {priority[:40]!r} is none: use 1 to 4")
    return int(priority)


def _metadata(message: Message, headers: Mapping[str, str]) -> str:
    metadata: dict[str, object] = {"event_id": message.id}
    metadata |= {name: headers[header] for header, name in _KEPT.items() if header in headers}
    if message.key is not None:
        metadata["event_key"] = message.key
    others = [
        (name, value)
        for name, value in message.headers
        if name not in _KEPT and name not in _SAID_OTHERWISE
    ]
    if others:
        metadata["headers"] = headers_object(others)
    return _encode(metadata).decode()
