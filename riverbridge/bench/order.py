"""The job of the benches: 260 bytes as Postgres writes them, nine keys."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from typing import Any, ClassVar

from riverbridge.bench.ground import KIND


@dataclass
class OrderPlaced:
    """Args as an application declares them."""

    order_id: int
    customer_id: str
    event: str
    currency: str
    total: int
    status: str
    items: list[int]
    placed_at: str
    note: str
    kind: ClassVar[str] = KIND


def fields(number: int) -> dict[str, Any]:
    """The order of that number, the same in every language (tests/interop/worker/order.go)."""
    digest = hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()
    return {
        "order_id": 10_000_000 + number,
        "customer_id": f"c{number * 7919 % 10007:06}",
        "event": str(uuid.UUID(digest)),
        "currency": "EUR",
        "total": 10_000 + number % 90_000,
        "status": "placed",
        "items": [10_000 + number % 89_999, 10_000 + number * 31 % 89_999],
        "placed_at": "2026-01-02T03:04:05.678901Z",
        "note": "Leave it with neighbor: 6th",
    }
