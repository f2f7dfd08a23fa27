"""Rules for names that end up inside SQL or as channel names."""

from __future__ import annotations

import re

from riverbridge.errors import ConfigurationError

SCHEMA_LENGTH_MAX = 46
"""63 bytes of a channel name, less the dot and `river_leadership` (contract 1.5, R15)."""

_SCHEMA = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")


def check_schema_name(name: str) -> None:
    """Accept what River's client accepts as a schema (contract 1.5).

    Raises ConfigurationError with the limit: River's notification channels carry the schema as a
    prefix, and a longer one would be cut off without a word (R15).
    """
    if len(name) > SCHEMA_LENGTH_MAX:
        raise ConfigurationError(
            f"schema name {name[:SCHEMA_LENGTH_MAX]!r}… has {len(name)} characters; at most "
            f"{SCHEMA_LENGTH_MAX} fit into the name of a notification channel: use a shorter schema"
        )
    if _SCHEMA.fullmatch(name) is None:
        raise ConfigurationError(
            f"schema name {name!r} is not allowed: use letters, digits and underscores, "
            "not beginning with a digit"
        )
