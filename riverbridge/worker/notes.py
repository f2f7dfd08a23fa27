"""What a job function leaves in its row's metadata, as JSON that Postgres takes."""

from __future__ import annotations

from riverbridge.errors import InvalidJob
from riverbridge.model.json_object import encoded_problem
from riverbridge.model.json_text import encode

RESERVED = "river:"
"""Keys that begin so are River's own (contract 11.2)."""

OUTPUT = "output"

OUTPUT_BYTES_MAX = 32 << 20
"""Bytes of JSON in an output."""


def pair(key: str, value: object) -> str:
    """`"key":value`, to be put between braces. Raises InvalidJob for what no row can hold."""
    try:
        text = encode({key: value})
    except UnicodeEncodeError as error:
        raise InvalidJob(f"{key!r}: holds half a surrogate pair: send whole characters") from error
    except (TypeError, ValueError) as error:
        raise InvalidJob(f"{key!r}: has no form in JSON: {error}") from error
    problem = encoded_problem(text)
    if problem is not None:
        raise InvalidJob(f"{key!r}: {problem}")
    return text[1:-1]
