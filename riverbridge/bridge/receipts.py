"""What sinks confirmed, for a batch's lane to write beside the rows."""

from __future__ import annotations

from collections.abc import Sequence

from riverbridge.engine.batch import Batch
from riverbridge.model.outcome import Delivered, Outcome
from riverbridge.model.receipt import Receipt
from riverbridge.model.settlement import LAST_ATTEMPT


def note_receipts(
    batch: Batch, sink: str, places: Sequence[int], outcomes: Sequence[Outcome | None]
) -> None:
    """Add the receipts of those jobs at `places` that `sink` has; call it before the answer."""
    batch.add_receipts(
        [
            Receipt(job.id, sink, min(job.attempt + 1, LAST_ATTEMPT), outcome.receipt)
            for job, outcome in zip((batch.jobs[place] for place in places), outcomes, strict=True)
            if isinstance(outcome, Delivered)
        ]
    )
