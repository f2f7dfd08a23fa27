"""The templates: Jinja2, everything escaped, what is missing is an error.

Every template has: `request`, `base` (the path all links of this database begin with), `home` (the
same without the database, for what belongs to all), `visitor`, `database`, `databases`,
`read_only`, `csrf` (the token of forms), `said` (what the last action came to), `now`.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from typing import Any
from urllib.parse import urlencode

import jinja2

from riverbridge.console.frame import Role
from riverbridge.model.durations import in_words
from riverbridge.model.job import JobState

NAV = (
    ("/", "Overview"),
    ("/jobs", "Jobs"),
    ("/dead-letters", "Dead letters"),
    ("/queues", "Queues"),
    ("/routes", "Routes"),
    ("/sources", "Sources"),
    ("/replays", "Replays"),
    ("/periodic", "Periodic"),
    ("/tail", "Live tail"),
    ("/processes", "Processes"),
    ("/storage", "Storage"),
    ("/audit", "Audit"),
)
"""What is at the top of every page."""

NONE = "\N{EN DASH}"
"""What stands where there is nothing."""

STATIC = files("riverbridge.console").joinpath("static")


class Templates:
    """What is in `templates/`, with the filters that all of them share."""

    def __init__(self) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("riverbridge.console"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters |= {
            "ago": ago,
            "count": count,
            "duration": duration,
            "instant": instant,
            "pretty": pretty,
            "compact": compact,
            "size": size,
            "query": query,
        }
        self._environment.globals |= {
            "Role": Role,
            "JobState": JobState,
            "static": static,
            "NAV": NAV,
            "token": token,
        }

    def render(self, name: str, values: Mapping[str, Any]) -> str:
        """The template of this name, such as `jobs.html`."""
        return self._environment.get_template(name).render(values)


@cache
def static(name: str) -> str:
    """The path below `home` of a file in `static/`; it changes with what the file holds."""
    digest = hashlib.sha256(STATIC.joinpath(name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


def query(values: Mapping[str, Any]) -> str:
    """`?a=1&b=2`, of what is not empty; a list is several."""
    pairs = [
        (name, str(one))
        for name, value in values.items()
        for one in (value if isinstance(value, list | tuple) else [value])
        if one not in (None, "")
    ]
    return f"?{urlencode(pairs)}" if pairs else ""


def token(name: str, value: str) -> str:
    """One token of a search (`riverbridge.model.job_search`), quoted where it must be."""
    plain = value.replace("-", "").replace("_", "").replace(".", "")
    if plain.isalnum():
        return f"{name}:{value}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'{name}:"{escaped}"'


def ago(at: datetime | None, now: datetime) -> str:
    """`12 s ago`, `in 3 h`."""
    if at is None:
        return NONE
    seconds = (now - at).total_seconds()
    return f"{duration(seconds)} ago" if seconds >= 0 else f"in {duration(-seconds)}"


def duration(seconds: float | None) -> str:
    """At most two units, or what stands for nothing."""
    return NONE if seconds is None else in_words(seconds)


def instant(at: datetime | None) -> str:
    """In UTC, to the millisecond."""
    if at is None:
        return NONE
    at = at.astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d}Z"


def count(number: float) -> str:
    """With thin spaces between thousands."""
    return f"{int(number):,}".replace(",", "\u202f")


def size(number: float) -> str:
    """Bytes in binary units."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" or number >= 10 else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"


def pretty(value: Any) -> str:
    """JSON on several lines; a text that stands for JSON too deep to read is given as it is."""
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def compact(value: Any) -> str:
    """JSON on one line."""
    return (
        value
        if isinstance(value, str)
        else json.dumps(value, ensure_ascii=False, separators=(", ", ": "))
    )
