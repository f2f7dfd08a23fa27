"""What becomes of jobs, as events: a source over `river_job` itself.

    {"event":"completed","job":{"id":7,"kind":"order.paid","state":"completed",…},"lsn":…}

Each is one job again, for a worker or a route. Such a job bears the tag `ABOUT`, and by it what
becomes of *that* one is no event: nothing feeds itself, nor do two of these sources each other. It
is a tag, as the large columns of a row that were not touched are not sent.
"""

from __future__ import annotations

from collections.abc import Collection

from riverbridge.sources.postgres_json import Types
from riverbridge.sources.postgres_output import Change, Relation, Values
from riverbridge.sources.postgres_rows import Table, Told

ABOUT = "riverbridge-job-event"


class JobTable:
    """Tells of the jobs that came into one of `states` (`riverbridge.sources.postgres_reader`)."""

    def __init__(self, relation: Relation, types: Types, states: Collection[str]) -> None:
        self._table = Table(relation, types)
        self._states = frozenset(state.encode() for state in states)
        at = {column.name: number for number, column in enumerate(relation.columns)}
        self._state, self._tags = at["state"], at["tags"]
        self._known_by = [at[name] for name in ("id", "state", "attempt", "finalized_at")]

    def tell(self, change: Change, about: bytes) -> Told | None:
        """The event, if it is one. A row that is touched again in its state has the same id."""
        row = change.new
        if row is None or row[self._state] not in self._states or _made_of_event(row[self._tags]):
            return None
        state = _text(row, self._state)
        body = b'{"event":"%b","job":%b,%b}' % (state, self._table.row(row), about)
        name = b" ".join(_text(row, number) for number in self._known_by)
        return Told(state.decode(), _text(row, self._known_by[0]), body, f"job {name.decode()}")

    def emptied(self, about: bytes) -> Told | None:
        """Nothing becomes of the jobs of a table that is emptied."""
        return None


def _made_of_event(tags: object) -> bool:
    return isinstance(tags, bytes) and ABOUT.encode() in tags.strip(b"{}").split(b",")


def _text(row: Values, number: int) -> bytes:
    value = row[number]
    return value if isinstance(value, bytes) else b""
