"""What several kinds of sinks look at in their values."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from urllib.parse import urlsplit

from riverbridge.settings import checks

Found = tuple[str, str]
"""A field's name, or "" for the sink as a whole, and what is wrong there."""


def within(group: str, found: Iterable[Found]) -> Iterator[Found]:
    """What was found in a group of a sink's settings."""
    for field, text in found:
        yield f"{group}.{field}", text


def unencrypted(field: str, url: str | None) -> Iterable[Found]:
    """For `insecurities`: says so where `url` sends over plain HTTP to another machine."""
    parts = urlsplit(url or "")
    if parts.scheme == "http" and not checks.is_loopback(parts.hostname or ""):
        yield field, "sends jobs and signatures unencrypted (http) to another machine"


def matching(pattern: str, what: str) -> Callable[[str], None]:
    """A check for `Text`: the whole of it is `pattern`, else it is said not to be `what`.

    AWS says of a name it cannot read that the request is invalid, which would be taken for the
    message's fault.
    """
    compiled = re.compile(pattern, re.ASCII)

    def check(text: str) -> None:
        if not compiled.fullmatch(text):
            raise ValueError(f"is not {what}")

    return check
