"""Who changed what: our own table `riverbridge_audit`, written in the transaction of the change."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from riverbridge.model.json_text import encode
from riverbridge.store.exchange import Exchange, Query

T = TypeVar("T")

MOST = 500
"""Entries of one page."""


class Record(msgspec.Struct, frozen=True):
    """One thing that was changed.

    action: a word or two, such as `retry`. subject: what it was done to, such as `job 42`. before,
    after: what has a form in JSON, or None where there is nothing to say.
    """

    action: str
    subject: str
    before: Any = None
    after: Any = None


class AuditEntry(msgspec.Struct, frozen=True):
    """One row of the audit. way: how the person was known."""

    id: int
    at: datetime
    who: str
    role: str
    way: str
    action: str
    subject: str
    before: Any
    after: Any


def audited(
    exchange: Exchange[tuple[T, Sequence[Record]]],
    *,
    who: str,
    role: str,
    way: str,
    schema: str | None,
) -> Exchange[T]:
    """Run a change and enter what it says it did."""
    result, records = yield from exchange
    if records:
        values = {
            "who": who,
            "role": role,
            "way": way,
            "actions": [record.action for record in records],
            "subjects": [record.subject for record in records],
            "befores": [_json(record.before) for record in records],
            "afters": [_json(record.after) for record in records],
        }
        yield Query("audit/insert", values, schema)
    return result


def audit_list(
    *,
    before_id: int | None = None,
    who: str | None = None,
    subject: str | None = None,
    limit: int = 100,
    schema: str | None,
) -> Exchange[list[AuditEntry]]:
    """The newest entries, or those older than `before_id`; of one person, of one subject."""
    values = {"before_id": before_id, "who": who, "subject": subject, "limit": min(limit, MOST)}
    rows = yield Query("audit/list", values, schema)
    return [_entry(row) for row in rows]


def _entry(row: tuple[Any, ...]) -> AuditEntry:
    id, at, who, role, way, action, subject, before, after = row
    return AuditEntry(
        id, at.astimezone(UTC), who, role, way, action, subject, _value(before), _value(after)
    )


def _value(text: str | None) -> Any:
    return None if text is None else msgspec.json.decode(text)


def _json(value: Any) -> str | None:
    return None if value is None else encode(value)
