"""What gets a job before it is discarded: the route's dead-letter sink.

The message is the one that the sink refused, with headers that say why; only its acknowledgement
lets the discard happen. Until then the job stays, parked, with its error in the row.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

import msgspec

from riverbridge.bridge.branch import Branch
from riverbridge.bridge.envelope import bare
from riverbridge.bridge.fan_out import parking_time
from riverbridge.bridge.memory import note_parked, recall
from riverbridge.bridge.outlet import Outlet
from riverbridge.bridge.template import Template, field
from riverbridge.engine.batch import LOST, Batch
from riverbridge.engine.pace import octets
from riverbridge.errors import TemplateError
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Parked,
    Permanent,
    Retry,
    Unreachable,
)
from riverbridge.model.settlement import limit
from riverbridge.model.text import fitting
from riverbridge.sinks.base import Message, headers_problem

log = logging.getLogger(__name__)

ERROR_LIMIT = 1024
"""Bytes of an error in a header; the row has more of it."""

_lost = field("metadata", LOST)
_what_was_lost = msgspec.json.Decoder(dict[str, object])

_Dying = tuple[int, Permanent | Retry]


class DeadLetters:
    """Delivers what a route is about to discard."""

    def __init__(
        self,
        outlet: Outlet,
        *,
        route: str,
        source: str,
        destination: Template | None = None,
        max_attempts: int | None = None,
    ) -> None:
        """source: as the envelopes have it. destination: of the dead-letter sink itself.
        max_attempts: the route's limit.
        """
        self.outlet = outlet
        self._route = route
        self._source = source
        self._destination = destination or Template.parse("")
        self._max_attempts = max_attempts

    def take(
        self,
        batch: Batch,
        places: Sequence[int],
        outcomes: Sequence[Outcome],
        refused_by: Mapping[int, Branch],
    ) -> tuple[Sequence[int], Sequence[Outcome]]:
        """Take over the jobs that would be discarded, and answer for them; returns the others."""
        dying: list[_Dying] = []
        others: list[tuple[int, Outcome]] = []
        for place, outcome in zip(places, outcomes, strict=True):
            if isinstance(outcome, Permanent | Retry) and self._last(batch.jobs[place], outcome):
                dying.append((place, outcome))
            else:
                others.append((place, outcome))
        if not dying:
            return places, outcomes
        room = self.outlet.admit([batch.jobs[place] for place, _ in dying[: self.outlet.room()]])
        if room:
            self._send(batch, dying[:room], refused_by)
        for place, outcome in dying[room:]:
            why = Unreachable(self.outlet.breaker.reason or "it takes no more for now")
            batch.answer([self._kept(batch.jobs[place], outcome, why)], place)
        return [place for place, _ in others], [outcome for _, outcome in others]

    def _last(self, job: ClaimedJob, outcome: Permanent | Retry) -> bool:
        return isinstance(outcome, Permanent) or job.attempt + 1 >= limit(job, self._max_attempts)

    def _send(
        self, batch: Batch, dying: Sequence[_Dying], refused_by: Mapping[int, Branch]
    ) -> None:
        def render() -> list[Message]:
            if batch.abandoned:
                return []
            return [
                self._message(batch.jobs[place], outcome, refused_by.get(place))
                for place, outcome in dying
            ]

        def done(answers: Sequence[Outcome]) -> None:
            if len(answers) != len(dying):
                answers = [Unreachable("not sent")] * len(dying)
            for (place, outcome), answer in zip(dying, answers, strict=True):
                result: Outcome = outcome
                if not isinstance(answer, Delivered):
                    result = self._kept(batch.jobs[place], outcome, answer)
                batch.answer([result], place)

        size = sum(octets(batch.jobs[place].args) for place, _ in dying)
        self.outlet.submit(render, batch.deadline, done, size=size)

    def _kept(self, job: ClaimedJob, outcome: Permanent | Retry, answer: Outcome) -> Parked:
        """Not discarded, as the dead-letter sink answered so. The row gets the error once."""
        name, memory = self.outlet.name, recall(job, ())
        refused = not isinstance(answer, Unreachable | Misconfigured)
        if not refused:
            self.outlet.left_waiting()
        waits_for, refused_by = ([], [name]) if refused else ([name], [])
        noted = note_parked(outcome.metadata, waits_for, memory.times + 1, refused_by)
        seconds = parking_time(memory.times, self.outlet.breaker.open_for())
        if name in memory.kept_for:
            return Parked(seconds, noted)
        why = f"the dead-letter sink {name} did not take it: {_why(answer)}"
        return Parked(seconds, noted, f"{outcome.error} (not discarded, as {why})")

    def _message(self, job: ClaimedJob, outcome: Permanent | Retry, by: Branch | None) -> Message:
        """The message that was refused, or the bare args, with what is to be known of it."""
        try:
            if by is None:
                raise TemplateError("no sink refused it")
            message = by.envelope.render(job)
        except Exception:
            # It may be just this why the job is discarded.
            message = bare(self._source, job)
        said = [
            ("riverbridge-error", header_text(outcome.error)),
            ("riverbridge-error-class", type(outcome).__name__.lower()),
            ("riverbridge-attempt", str(job.attempt + 1)),
            ("riverbridge-route", self._route),
        ]
        if by is not None:
            said.append(("riverbridge-failed-sink", by.name))
        if message.destination:
            said.append(("riverbridge-original-destination", header_text(message.destination)))
        headers = (*message.headers, *said)
        if headers_problem(headers):
            # They fill what a message may carry: why it died is worth more.
            headers = tuple(said)
        destination = self._destination.render(job)
        # Another topic has other partitions, and the time may be what was refused.
        return msgspec.structs.replace(
            message, headers=headers, destination=destination, timestamp=None, partition=None
        )


def lost(job: ClaimedJob) -> Permanent | None:
    """What becomes of a job whose last attempt was lost with its process: it is not tried again."""
    try:
        what = _what_was_lost.decode(_lost(job) or "{}")
    except (TemplateError, msgspec.MsgspecError, RecursionError):
        return None
    if what.get("attempt") != job.attempt:
        return None
    return Permanent(str(what.get("error")))


def header_text(text: str) -> str:
    """`text` as any header can hold it: one line without control characters, `ERROR_LIMIT` long."""
    line = "".join(char if char.isprintable() else " " for char in text)
    return fitting(" ".join(line.split()), ERROR_LIMIT)


def _why(answer: Outcome) -> str:
    if isinstance(answer, Retry | Permanent | Unreachable | Misconfigured):
        return answer.error
    return type(answer).__name__.lower()
