"""A search for jobs under a name: what people look at again and again."""

from __future__ import annotations

import msgspec

from riverbridge.errors import InvalidRequest

NAME_MAX = 60
"""Characters."""


class View(msgspec.Struct, frozen=True):
    """What is asked for: a search, and the state and the order that are chosen beside it.

    Ages in the search stay ages: `since:2h` is two hours before whenever it is looked at.
    """

    name: str
    search: str = ""
    job_state: str = ""
    sort: str = ""


BUILT_IN = (
    View("Failing now", job_state="retryable", sort="scheduled_at"),
    # How long one has run cannot be asked for: of those that can have for long, the longest first.
    View("Stuck running", "until:1h", "running", "time"),
    View("Discarded today", "finished:24h", "discarded", "-time"),
)
"""What is there without anybody having saved it."""


def checked_name(text: str) -> str:
    """A name for a view, without spaces around it. Raises InvalidRequest."""
    name = text.strip()
    if not 1 <= len(name) <= NAME_MAX:
        raise InvalidRequest(
            f"name: has {len(name)} characters; a view's has 1 to {NAME_MAX}: choose another"
        )
    if not name.isprintable():
        raise InvalidRequest("name: must be one line without control characters")
    if name.casefold() in (view.name.casefold() for view in BUILT_IN):
        raise InvalidRequest(f"name: {name} is there already, for everybody: choose another")
    return name
