"""Pausing routes and sinks: our own table `riverbridge_pause`, which every bridge reads.

Nothing is announced: bridges look for themselves, twice a second, also behind a pooler. Instants
are the database's.
"""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from riverbridge.errors import InvalidRequest
from riverbridge.model.pause import Pausable, Pause
from riverbridge.sql import statement
from riverbridge.store.database import Connection
from riverbridge.store.exchange import Exchange, Query

NAME_MAX, BY_MAX, REASON_MAX = 127, 255, 1000
"""Characters."""

_pause = msgspec.json.Decoder(Pause)


def pause(
    what: Pausable,
    name: str,
    *,
    by: str,
    reason: str | None = None,
    until: datetime | timedelta | None = None,
    schema: str | None,
) -> Exchange[Pause]:
    """Pause a route or a sink, or change who, why and until when; the pause as it stands.

    by: who does it, for people. until: an instant, or how long from now, in the future; None until
    `resume`. Raises InvalidRequest.
    """
    _check("name", name, NAME_MAX)
    _check("by", by, BY_MAX)
    if reason is not None:
        _check("reason", reason, REASON_MAX)
    lasting = until.total_seconds() if isinstance(until, timedelta) else None
    ending = None if isinstance(until, timedelta) else until
    parameters = {
        "what": what,
        "name": name,
        "by": by,
        "reason": reason,
        "until": ending,
        "seconds": lasting,
    }

    def exchange() -> Exchange[Pause]:
        rows = yield Query("pause/start", parameters, schema)
        if not rows:
            raise InvalidRequest(f"until: {until} is not in the future; the pause would be over")
        return _pause.decode(rows[0][0])

    return exchange()


def resume(what: Pausable, name: str, *, schema: str | None) -> Exchange[bool]:
    """End the pause of a route or a sink; whether there was one."""
    query = Query("pause/end", {"what": what, "name": name}, schema)

    def exchange() -> Exchange[bool]:
        return any(ended for (ended,) in (yield query))

    return exchange()


def pauses(*, schema: str | None) -> Exchange[list[Pause]]:
    """What is paused now, by kind and name."""

    def exchange() -> Exchange[list[Pause]]:
        return [_pause.decode(text) for (text,) in (yield Query("pause/list", {}, schema))]

    return exchange()


def read_pauses(connection: Connection, schema: str | None) -> list[Pause]:
    """The same, over a bridge's own connection."""
    rows = connection.execute(statement("pause/list", schema)).fetchall()
    return [_pause.decode(text) for (text,) in rows]


def _check(what: str, text: str, most: int) -> None:
    if not 1 <= len(text) <= most:
        raise InvalidRequest(f"{what}: has {len(text)} characters; it has 1 to {most}")
    if not text.isprintable():
        raise InvalidRequest(f"{what}: must be one line without control characters")
