"""The oldest jobs of a state: those with the lowest ids, as River UI lists what is not over."""

from __future__ import annotations

from typing import Unpack

from riverbridge.model.job_filter import JobFilter, filter_parameters
from riverbridge.store.exchange import Exchange, Query

MOST = 100_000
"""Jobs of a state that are put in order by id; of more, those that are due first are taken."""


def oldest_rows(
    state: str, *, limit: int, schema: str | None, **filters: Unpack[JobFilter]
) -> Exchange[list[str]]:
    """The rows by id, each as `to_json(row)::text`. Raises InvalidRequest."""
    filters["states"] = [state]
    values = filter_parameters(**filters) | {"most": MOST + 1, "limit": limit}

    def exchange() -> Exchange[list[str]]:
        (_, count), *found = yield Query("job/oldest_of_state", values, schema)
        if int(count) <= MOST:
            return [text for _, text in found]
        return [text for (text,) in (yield Query("job/first_due", values, schema))]

    return exchange()
