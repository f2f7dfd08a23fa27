"""Rules for names: schemas, which end up inside SQL, and River's queues, tags and kinds."""

from __future__ import annotations

import re

from riverbridge.errors import ConfigurationError

SCHEMA_LENGTH_MAX = 46
"""63 bytes of a channel name, less the dot and `river_leadership` (contract 1.5, R15)."""

QUEUE_BYTES_MAX = 64
TAG_BYTES_MAX = 255
KIND_LENGTH_MAX = 127
PERIODIC_ID_LENGTH_MAX = 127

_SCHEMA = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# The same names as River's expression, which nests one repetition in another: Python would try
# every way to split a long name before it refused it.
_QUEUE = re.compile(r"[a-z0-9]+(?:[_|\-][a-z0-9]+)*")
_TAG = re.compile(r"\w[\w\-]+\w", re.ASCII)
# Kinds that are worked, and ids of periodic jobs (contract 8.3).
_ID = re.compile(r"\w[\w\-\[\]<>/.·:+]+", re.ASCII)
_NOT_TEXT = re.compile("[\x00\ud800-\udfff]")


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


def queue_problem(name: object) -> str | None:
    """Why River would refuse `name` as a queue, or None (contract 8.3)."""
    if not isinstance(name, str):
        return f"must be text, not {type(name).__name__}"
    if len(name) > QUEUE_BYTES_MAX:
        return f"has {len(name)} characters; a queue name has at most {QUEUE_BYTES_MAX}"
    if _QUEUE.fullmatch(name) is None:
        return (
            f"{name!r} is not allowed: use lower-case letters and digits, joined by single "
            "'_', '-' or '|', such as order_events"
        )
    return None


def tag_problem(tag: object) -> str | None:
    """Why River would refuse `tag`, or None (contract 8.3)."""
    if not isinstance(tag, str):
        return f"must be text, not {type(tag).__name__}"
    if len(tag) > TAG_BYTES_MAX:
        return f"has {len(tag)} characters; a tag has at most {TAG_BYTES_MAX}"
    if _TAG.fullmatch(tag) is None:
        return (
            f"{tag!r} is not allowed: use at least 3 of the letters a-z and A-Z, digits, '_' and "
            "'-', with no '-' at either end"
        )
    return None


def text_problem(value: object) -> str | None:
    """Why Postgres could not hold `value` as text, or None."""
    if not isinstance(value, str):
        return f"must be text, not {type(value).__name__}"
    if (found := _NOT_TEXT.search(value)) is not None:
        return f"holds {found.group()!r} at position {found.start()}, which Postgres cannot store"
    return None


def kind_problem(kind: object) -> str | None:
    """Why the table would refuse `kind`, or None (contract 8.3: an insert checks no more)."""
    if not isinstance(kind, str):
        return f"must be text, not {type(kind).__name__}"
    if not 1 <= len(kind) <= KIND_LENGTH_MAX:
        return f"has {len(kind)} characters; a kind has 1 to {KIND_LENGTH_MAX}"
    return text_problem(kind)


def periodic_id_problem(id_: object) -> str | None:
    """Why River would refuse `id_` for a periodic job, or None (contract 8.3)."""
    if not isinstance(id_, str):
        return f"must be text, not {type(id_).__name__}"
    if len(id_) > PERIODIC_ID_LENGTH_MAX:
        return f"has {len(id_)} characters; it has at most {PERIODIC_ID_LENGTH_MAX}"
    return _id_problem(id_)


def worked_kind_problem(kind: object) -> str | None:
    """Why River would refuse a worker for `kind`, or None: more than for an insert (8.3)."""
    return kind_problem(kind) or _id_problem(str(kind))


def _id_problem(text: str) -> str | None:
    if _ID.fullmatch(text) is None:
        return (
            f"{text!r} is not allowed: use at least 2 of the letters a-z and A-Z, digits and"
            " _-[]<>/.·:+, beginning with a letter, a digit or '_'"
        )
    return None
