"""Out of the quarantine again, once the mapping or the database takes what it did not."""

from __future__ import annotations

from collections.abc import Callable

import psycopg

from riverbridge.bridge.deposit import Depositor, refusal, row_at_fault
from riverbridge.bridge.kept import event_of
from riverbridge.model.text import error_text
from riverbridge.sources.base import NotNow
from riverbridge.store import ingest
from riverbridge.store.database import Connection, lost, transaction


def retry(
    connection: Connection,
    depositor: Depositor,
    id: int,
    told: Callable[[Connection, str | None], None] = lambda connection, reason: None,
) -> str | None:
    """Make a job of an event in quarantine, by the present mapping, and take it out; both or none.

    Returns why it still cannot become one. None also where it is not there any more. An event that
    became a job meanwhile, as it came again, becomes no other. Of one that holds several, those
    that cannot be jobs are put into quarantine by themselves. told: called in the
    transaction that makes it so, with what is returned. Raises what psycopg raises.
    """
    schema = depositor.schema
    try:
        with transaction(connection, idle=5.0, total=30.0):
            rows = ingest.lock_quarantined(connection, [id], schema=schema)
            if not rows:
                return None
            first, *others = depositor.mapper.map(event_of(rows[0]))
            if first.reason and not others:
                ingest.explain_quarantined(connection, id, error_text(first.reason), schema=schema)
                told(connection, first.reason)
                return first.reason
            depositor.put(connection, [first, *others])
            ingest.release_quarantined(connection, [id], schema=schema)
            told(connection, None)
            return None
    except NotNow as error:
        return str(error)
    except psycopg.Error as error:
        if lost(connection) or not row_at_fault(error):
            raise
        reason = refusal(error)
    with transaction(connection, idle=5.0, total=30.0):
        ingest.explain_quarantined(connection, id, reason, schema=schema)
        told(connection, reason)
    return reason
