"""A sink around another one: some messages are made anew before that one sends them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from riverbridge.model.outcome import Outcome, Permanent
from riverbridge.sinks.aws_batch import behind
from riverbridge.sinks.base import Message, Sink

Pack = Callable[[Sequence[Message], float], Sequence[Message | Outcome]]
"""Makes messages anew, before a time.monotonic; an outcome for each that it cannot. All have a
body."""
ALL = -1
"""The limit that every body is above."""


class PackedSink:
    """Delivers through `sink`; messages with bodies above `limit` bytes go through `pack` before.

    One that cannot be packed now holds the later ones of its key back in that call, as the sinks
    that keep an order do; one that never can does not.
    """

    def __init__(
        self, sink: Sink, limit: int, pack: Pack, close: Callable[[], None] = lambda: None
    ) -> None:
        self._sink = sink
        self._limit = limit
        self._pack = pack
        self._close = close

    def deliver(self, messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
        """Send `messages`; one outcome each, in order."""
        chosen = [
            place
            for place, message in enumerate(messages)
            if message.body is not None and len(message.body) > self._limit
        ]
        if not chosen:
            return self._sink.deliver(messages, deadline)
        packed = dict(zip(chosen, self._pack([messages[i] for i in chosen], deadline), strict=True))
        outcomes: list[Outcome | None] = [None] * len(messages)
        ready: list[Message] = []
        failed: dict[str, Outcome] = {}
        for place, message in enumerate(messages):
            made = packed.get(place, message)
            if message.key is not None and message.key in failed:
                outcomes[place] = behind(failed[message.key])
            elif isinstance(made, Message):
                ready.append(made)
            else:
                outcomes[place] = made
                if message.key is not None and not isinstance(made, Permanent):
                    failed[message.key] = made
        answers = iter(self._sink.deliver(ready, deadline) if ready else ())
        return [next(answers) if outcome is None else outcome for outcome in outcomes]

    def close(self) -> None:
        """Close both."""
        self._close()
        self._sink.close()
