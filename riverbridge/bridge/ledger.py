"""A sink in service that can be asked later what arrived."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack, cast

from riverbridge.bridge.outlet import Deliver, Outlet, Service
from riverbridge.engine.slots import Slot
from riverbridge.model.evidence import Evidence
from riverbridge.model.outcome import Delivered, Misconfigured, Outcome, Unreachable
from riverbridge.sinks.base import Entry, LedgerSink, Message


class LedgerOutlet(Outlet):
    """Delivers each batch under its slot; what `riverbridge.engine.slots` asks."""

    def __init__(self, name: str, sink: LedgerSink, **more: Unpack[Service]) -> None:
        """more: as for any outlet."""
        super().__init__(name, sink, **more)
        self._ledger = sink
        self._unanswered = False

    def under(self, route: str, slot: Slot | None, places: Sequence[int]) -> Deliver:
        """How the batch with `slot` is delivered. places: of its messages; filled until then."""
        assert slot is not None  # the lane leases no batch of such a feed without one
        name, number = slot.id, slot.number
        sink = cast(LedgerSink, self.way(route))

        def deliver(messages: Sequence[Message], deadline: float) -> Sequence[Outcome]:
            return sink.deliver_entry(Entry(name, number, places), messages, deadline)

        return deliver

    def ask(self, slot: str, deadline: float) -> Evidence | Unreachable | Misconfigured:
        """What arrived last; the breaker hears of questions that are not answered."""
        answer = self._ledger.ask(slot, deadline)
        if not isinstance(answer, Evidence):
            self._unanswered = True
            self.breaker.heard([answer])
        elif self._unanswered:
            self._unanswered = False
            self.breaker.heard([Delivered()])
        return answer

    def usable(self, slot: str) -> bool:
        """Whether the sink can send under it."""
        return self._ledger.usable(slot)

    def drop(self, slot: str) -> None:
        """It is not used here any more."""
        self._ledger.drop(slot)
