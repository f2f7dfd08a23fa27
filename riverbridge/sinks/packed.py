"""A sink around another one: some messages are made anew before that one sends them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from riverbridge.model.evidence import Evidence
from riverbridge.model.outcome import Misconfigured, Outcome, Permanent, Unreachable
from riverbridge.sinks.base import Entry, LedgerSink, Message, Sink, behind

Pack = Callable[[Sequence[Message], float], Sequence[Message | Outcome]]
"""Makes messages anew, before a time.monotonic; an outcome for each that it cannot. All have a
body."""
ALL = -1
"""The limit that every body is above."""


class Lent:
    """A sink that somebody else closes."""

    def __init__(self, sink: Sink) -> None:
        self.deliver = sink.deliver
        ledger = cast(LedgerSink, sink)
        if hasattr(sink, "deliver_entry"):
            self.deliver_entry = ledger.deliver_entry
            self.ask, self.usable, self.drop = ledger.ask, ledger.usable, ledger.drop

    def close(self) -> None:
        """Not here."""


class PackedSink:
    """Delivers through `sink`; messages with bodies above `limit` bytes go through `pack` before.

    One that cannot be packed now holds the later ones of its key back in that call, as the sinks
    that keep an order do; one that never can does not. Around a `LedgerSink` it is one.
    """

    def __init__(
        self, sink: Sink, limit: int, pack: Pack, close: Callable[[], None] = lambda: None
    ) -> None:
        self._sink = sink
        self._ledger = cast(LedgerSink, sink)
        self._limit = limit
        self._pack = pack
        self._close = close

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        """Send `messages`; one outcome each, in order."""
        return self._through(
            messages, deadline, lambda ready, places: self._sink.deliver(ready, deadline)
        )

    def _through(
        self,
        messages: Sequence[Message],
        deadline: float,
        send: Callable[[Sequence[Message], Sequence[int]], Sequence[Outcome]],
    ) -> Sequence[Outcome]:
        """send: given the messages that can be sent, and the places they have in `messages`."""
        chosen = [
            place
            for place, message in enumerate(messages)
            if message.body is not None and len(message.body) > self._limit
        ]
        if not chosen:
            return send(messages, range(len(messages)))
        packed = dict(zip(chosen, self._pack([messages[i] for i in chosen], deadline), strict=True))
        outcomes: list[Outcome | None] = [None] * len(messages)
        ready: dict[int, Message] = {}
        failed: dict[str, Outcome] = {}
        for place, message in enumerate(messages):
            made = packed.get(place, message)
            if message.key is not None and message.key in failed:
                outcomes[place] = behind(failed[message.key])
            elif isinstance(made, Message):
                ready[place] = made
            else:
                outcomes[place] = made
                if message.key is not None and not isinstance(made, Permanent):
                    failed[message.key] = made
        answers = iter(send([*ready.values()], [*ready]) if ready else ())
        return [next(answers) if outcome is None else outcome for outcome in outcomes]

    def deliver_entry(
        self, entry: Entry, messages: Sequence[Message], deadline: float
    ) -> Sequence[Outcome]:
        """The same in the name of a slot: what cannot be packed is no part of the batch."""
        return self._through(
            messages,
            deadline,
            lambda ready, places: self._ledger.deliver_entry(
                entry._replace(places=[entry.places[place] for place in places]), ready, deadline
            ),
        )

    def ask(self, slot: str, deadline: float) -> Evidence | Unreachable | Misconfigured:
        """Ask the sink."""
        return self._ledger.ask(slot, deadline)

    def usable(self, slot: str) -> bool:
        """Whether the sink can use the slot."""
        return self._ledger.usable(slot)

    def drop(self, slot: str) -> None:
        """The slot is not used here any more."""
        self._ledger.drop(slot)

    def close(self) -> None:
        """Close both."""
        self._close()
        self._sink.close()
