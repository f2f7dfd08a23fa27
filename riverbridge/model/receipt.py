"""What a sink said when it confirmed a job."""

from __future__ import annotations

from datetime import datetime

import msgspec


class Receipt(msgspec.Struct, frozen=True):
    """A sink has a job: on which attempt, and where or under which name, if it says so."""

    job_id: int
    sink: str
    attempt: int
    text: str | None


class KeptReceipt(msgspec.Struct, frozen=True):
    """A row of `riverbridge_receipt`, without its job."""

    sink: str
    attempt: int
    receipt: str | None
    at: datetime
