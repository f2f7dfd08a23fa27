"""What a sink is: something that takes messages and says of each what became of it.

A sink knows nothing of jobs, routes or Postgres. `deliver` may be called by several threads at
once; it blocks until every message has an outcome or the deadline has passed, and it returns as
many outcomes as it got messages, in their order. It never raises for a message: an exception is a
defect of the sink and is treated as `Retry` for the whole batch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol

import msgspec

from riverbridge.model.evidence import Evidence
from riverbridge.model.outcome import Misconfigured, Outcome, Retry, Unreachable

HEADER_COUNT = 64
HEADER_BYTES = 16 * 1024
"""The most that a message carries: headers, and bytes of their names and values."""

REPLAY = "riverbridge-replay"
"""The header of a replayed message, a number from 1 on. The id is that of the first delivery."""


class Message(msgspec.Struct, frozen=True):
    """One rendered job, ready for the wire.

    id: the event id, equal on every attempt; receivers deduplicate by it.
    body: the bytes to send; None is a tombstone.
    destination: the rendered topic or queue; "" where the sink has only one.
    key: the rendered partition key or message group; None if the route has no key.
    headers: names and values in order, as text, which all sinks can carry. Whoever makes a message
        sees to it that `headers_problem` has nothing to say; sinks do not look again.
    timestamp: the message's own time, where the sink's messages have one; None is when it is sent.
    partition: the one it must go to, where the sink has partitions; None leaves it to the key.
    """

    id: str
    body: bytes | None
    destination: str = ""
    key: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    timestamp: datetime | None = None
    partition: int | None = None


class Sink(Protocol):
    """All that a new sink is."""

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        """Send `messages`; give one outcome each, in order, before `deadline` (time.monotonic)."""
        ...

    def close(self) -> None:
        """Release connections and threads; drop what was not sent. Called once.

        Calls under way return soon, and later ones deliver nothing.
        """
        ...


_skim = msgspec.json.Decoder(msgspec.Raw).decode


def is_json(body: bytes) -> bool:
    """Whether `body` is one value of JSON. What is nested too deep to be read from here is not."""
    try:
        body.decode()  # msgspec takes any bytes within a text
        _skim(body)
    except (UnicodeDecodeError, msgspec.MsgspecError, RecursionError):
        return False
    return True


HELD = Retry("an earlier message of its group failed")


def behind(failed: Outcome) -> Outcome:
    """What becomes of a message whose key's earlier message ended as `failed` in the same call."""
    return failed if isinstance(failed, Unreachable | Misconfigured) else HELD


class Entry(NamedTuple):
    """What the receiver is to remember of a batch: in whose name it came, and its jobs.

    slot: the name, which nobody else uses at the same time. number: the batch's, greater each time.
    places: for each message the place of its job in the batch.
    """

    slot: str
    number: int
    places: Sequence[int]


class LedgerSink(Sink, Protocol):
    """A sink whose receiver remembers, with the messages, which batch they were of.

    So it can be asked after a crash what arrived. A batch arrives whole, but for what was refused,
    or not at all.
    """

    def deliver_entry(
        self, entry: Entry, messages: Sequence[Message], deadline: float
    ) -> Sequence[Outcome]:
        """As `deliver`; `InDoubt` for all where only `ask` can tell. Sends nothing unless `ask`
        was answered for this slot, and no other process has asked for it since."""
        ...

    def ask(self, slot: str, deadline: float) -> Evidence | Unreachable | Misconfigured:
        """End whatever was sent under this name, by whomever; say which batch arrived last."""
        ...

    def usable(self, slot: str) -> bool:
        """Whether `deliver_entry` can use the slot; if not, `ask` comes first."""
        ...

    def drop(self, slot: str) -> None:
        """The slot is not used here any more."""
        ...


def headers_object(headers: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """The headers as a JSON object has them: a name that comes twice has the list of its values."""
    found: dict[str, str | list[str]] = {}
    for name, value in headers:
        earlier = found.get(name)
        if earlier is None:
            found[name] = value
        else:
            found[name] = [*([earlier] if isinstance(earlier, str) else earlier), value]
    return found


def headers_problem(headers: tuple[tuple[str, str], ...]) -> str | None:
    """Why these headers are not sent; None if they can be."""
    if len(headers) > HEADER_COUNT:
        return f"headers: {len(headers)} of them; the limit is {HEADER_COUNT}"
    total = 0
    for name, value in headers:
        where = f"header {name[:80]!a}"
        if "\n" in name or "\r" in name or "\n" in value or "\r" in value:
            return f"{where}: holds a line break (CR or LF); remove it"
        if "\0" in name:
            return f"{where}: its name holds a NUL; remove it"
        try:
            total += len(name.encode()) + len(value.encode())
        except UnicodeEncodeError:
            return f"{where}: holds a lone surrogate, which UTF-8 cannot carry"
    if total > HEADER_BYTES:
        return f"headers: {total} bytes of names and values; the limit is {HEADER_BYTES}"
    return None
