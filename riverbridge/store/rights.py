"""What a role needs of Postgres for each thing that is done, and what of it is missing.

The lists are those of docs/operations.md, which tests hold to be enough and needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from riverbridge.store.exchange import Exchange, Query

_NEW_JOB = (
    "args, created_at, kind, max_attempts, metadata, priority, queue, scheduled_at, state, tags"
)
_SETTLED = (
    "state, attempt, attempted_at, attempted_by, errors, finalized_at, metadata, scheduled_at"
)

NEEDED: Mapping[str, Sequence[str]] = {
    "bridge": (
        "USAGE ON SCHEMA public",
        "SELECT ON river_migration",
        "SELECT ON river_job",
        f"UPDATE ({_SETTLED}) ON river_job",
        "SELECT, INSERT, UPDATE ON river_queue",
        "SELECT, INSERT, UPDATE, DELETE ON riverbridge_process",
        "SELECT, INSERT, UPDATE ON riverbridge_route",
        "SELECT ON riverbridge_slot",
        "SELECT ON riverbridge_pause",
    ),
    "receipts": ("INSERT ON riverbridge_receipt",),
    "figures": ("SELECT, INSERT, UPDATE ON riverbridge_history",),
    "upkeep": (
        "SELECT, INSERT, UPDATE, DELETE ON river_leader",
        "UPDATE (unique_states) ON river_job",
        "DELETE ON river_job",
        "SELECT, DELETE ON riverbridge_receipt",
        "SELECT, DELETE ON riverbridge_inbox",
        "SELECT, DELETE ON riverbridge_audit, riverbridge_operation",
        "SELECT, INSERT, UPDATE, DELETE ON riverbridge_history, riverbridge_history_mark",
    ),
    "ingest": (
        f"INSERT ({_NEW_JOB}, unique_key, unique_states) ON river_job",
        "USAGE ON SEQUENCE river_job_id_seq",
        "SELECT, INSERT, UPDATE ON riverbridge_position",
        "SELECT, INSERT ON riverbridge_inbox",
        "SELECT, INSERT, UPDATE, DELETE ON riverbridge_quarantine",
        "USAGE ON SEQUENCE riverbridge_quarantine_id_seq",
    ),
    "console": (
        "USAGE ON SCHEMA public",
        *(
            f"SELECT ON {table}"
            for table in (
                "river_job", "river_queue", "river_leader", "riverbridge_process",
                "riverbridge_receipt", "riverbridge_history", "riverbridge_operation",
                "riverbridge_audit", "riverbridge_pause", "riverbridge_position",
                "riverbridge_quarantine", "riverbridge_replay", "riverbridge_periodic_job",
                "riverbridge_view",
            )
        ),
    ),
    "console-changes": (
        "UPDATE (state, max_attempts, finalized_at, metadata, scheduled_at) ON river_job",
        "DELETE ON river_job",
        f"INSERT ({_NEW_JOB}) ON river_job",
        "USAGE ON SEQUENCE river_job_id_seq",
        "UPDATE (metadata, paused_at, updated_at) ON river_queue",
        "INSERT ON riverbridge_audit",
        "INSERT, UPDATE ON riverbridge_operation",
        "INSERT, UPDATE, DELETE ON riverbridge_pause",
        "INSERT, UPDATE ON riverbridge_replay",
        "INSERT, UPDATE, DELETE ON riverbridge_view",
        "DELETE ON riverbridge_quarantine",
        "UPDATE (asked_at, paused_at) ON riverbridge_periodic_job",
    ),
}  # fmt: skip
"""By what it is for, the rights as GRANT spells them; `public` stands for River's schema."""

_RIGHT = re.compile(r"([A-Z]+)(?: \(([^)]*)\))?")


class _Right(NamedTuple):
    kind: str
    object: str
    right: str
    column: str


def missing_rights(names: Iterable[str], *, schema: str | None) -> Exchange[list[str]]:
    """Of what is needed for these, what the role does not have, as GRANT spells it."""
    wanted = list(dict.fromkeys(
        right for name in names for text in NEEDED[name] for right in _rights(text)
    ))  # fmt: skip
    values = {
        "kinds": [right.kind for right in wanted],
        "objects": [right.object for right in wanted],
        "rights": [right.right for right in wanted],
        "columns": [right.column for right in wanted],
    }
    rows = yield Query("right/missing", values, schema)
    return _spelled([wanted[place - 1] for (place,) in rows], schema)


def _rights(text: str) -> Iterator[_Right]:
    given, _, objects = text.partition(" ON ")
    for right, columns in _RIGHT.findall(given):
        for name in objects.split(", "):
            kind, _, object = name.rpartition(" ")
            for column in columns.split(", "):
                yield _Right(
                    kind.lower() or ("column" if column else "table"), object, right, column
                )


def _spelled(rights: Sequence[_Right], schema: str | None) -> list[str]:
    found: dict[tuple[str, str, str], list[str]] = {}
    for kind, object, right, column in rights:
        found.setdefault((kind, object, right), []).append(column)
    return [
        right
        + (f" ({', '.join(columns)})" if kind == "column" else "")
        + f" ON {_named(kind, object, schema)}"
        for (kind, object, right), columns in found.items()
    ]


def _named(kind: str, object: str, schema: str | None) -> str:
    if kind == "schema":
        return f"SCHEMA {schema or object}"
    prefix = "SEQUENCE " if kind == "sequence" else ""
    return f"{prefix}{f'{schema}.' if schema else ''}{object}"
