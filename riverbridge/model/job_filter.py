"""Which jobs a call is about: River's filters, all of which must hold (contract 3.7 and 3.11)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypedDict

from riverbridge.errors import InvalidRequest
from riverbridge.model.job import JobState
from riverbridge.model.json_object import encoded_problem
from riverbridge.model.json_text import encode
from riverbridge.model.names import text_problem

ID_MAX = 2**63 - 1
LIMIT_MAX = 10_000
"""Rows of one call, as in River."""

FINALIZED = (JobState.CANCELLED, JobState.COMPLETED, JobState.DISCARDED)


class JobFilter(TypedDict, total=False):
    """The filters by name; one that is None or not given asks for nothing.

    ids, kinds, priorities, queues, states: the job's is among them. tags_all, tags_any: the job has
    all of these tags, or at least one. metadata: the job's metadata contains this object, as with
    Postgres' `@>`. Nothing is a pattern.
    """

    ids: Collection[int] | None
    kinds: Collection[str] | None
    priorities: Collection[int] | None
    queues: Collection[str] | None
    states: Collection[str] | None
    tags_all: Collection[str] | None
    tags_any: Collection[str] | None
    metadata: Mapping[str, Any] | None


def filter_parameters(
    *,
    ids: Collection[int] | None = None,
    kinds: Collection[str] | None = None,
    priorities: Collection[int] | None = None,
    queues: Collection[str] | None = None,
    states: Collection[str] | None = None,
    tags_all: Collection[str] | None = None,
    tags_any: Collection[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The filters as parameters of a statement, checked. Raises InvalidRequest.

    A list that is empty is refused. River takes it for no filter, and a caller whose own list came
    out empty would get, or delete, every job there is.
    """
    return {
        "ids": _listed("ids", ids, id_problem),
        "kinds": _listed("kinds", kinds, text_problem),
        "priorities": _listed("priorities", priorities, _priority_problem),
        "queues": _listed("queues", queues, text_problem),
        "states": _listed("states", states, _state_problem),
        "tags_all": _listed("tags_all", tags_all, text_problem),
        "tags_any": _listed("tags_any", tags_any, text_problem),
        "metadata": None if metadata is None else json_text("metadata", metadata),
    }


def check(position: str, problem: str | None) -> None:
    """Raise InvalidRequest if there is a problem."""
    if problem is not None:
        raise InvalidRequest(f"{position}: {problem}")


def id_problem(value: object) -> str | None:
    """Why `value` cannot be the id of a job, or None."""
    return _number_problem(value, 0, ID_MAX, f"an id is a number from 1 to {ID_MAX}")


def limit_problem(value: object) -> str | None:
    """Why `value` cannot be a number of rows, or None."""
    return _number_problem(value, 1, LIMIT_MAX, f"use 1 to {LIMIT_MAX}, and several calls for more")


def _number_problem(value: object, least: int, most: int, hint: str) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return f"must be a whole number, not {type(value).__name__}"
    return None if least <= value <= most else f"{value} is out of range: {hint}"


def json_text(position: str, value: Mapping[str, Any]) -> str:
    """A mapping as JSON that Postgres and Go can hold. Raises InvalidRequest."""
    if not isinstance(value, Mapping):
        raise InvalidRequest(f"{position}: must be a mapping, not {type(value).__name__}")
    try:
        text = encode(dict(value))
    except (ValueError, TypeError) as error:
        raise InvalidRequest(f"{position}: has no form in JSON: {error}") from error
    check(position, encoded_problem(text))
    return text


def _listed(name: str, values: object, problem: Callable[[object], str | None]) -> list[Any] | None:
    if values is None:
        return None
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Collection):
        raise InvalidRequest(f"{name}: must be a list, not {type(values).__name__}")
    if not values:
        raise InvalidRequest(f"{name}: is empty, which matches nothing: leave it out to match all")
    for index, value in enumerate(values):
        check(f"{name}[{index}]", problem(value))
    # Members of an enum are texts too, but a driver would send their names.
    return [str.__str__(value) if isinstance(value, str) else value for value in values]


def _priority_problem(value: object) -> str | None:
    if value in (1, 2, 3, 4) and not isinstance(value, bool | float):
        return None
    return f"{value!r} is no priority: use 1 to 4"


def _state_problem(value: object) -> str | None:
    if value in list(JobState):
        return None
    return f"{value!r} is no state: use {', '.join(JobState)}"
