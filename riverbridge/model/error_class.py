"""What errors have in common: their first line, with numbers and ids left open."""

from __future__ import annotations

import re

LENGTH_MAX = 200
"""Characters of a class."""

_VARIES = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"
    r"|\b0x[0-9a-f]+"
    r"|\b(?=[a-f]*[0-9])[0-9a-f]{8,}\b"
    r"|[0-9]+(?:[.,:][0-9]+)*",
    re.IGNORECASE,
)
_SEVERAL = re.compile(r"\*{2,}")


def error_class(text: str) -> str:
    """The class of an error: `*` in the place of each number, UUID and long hexadecimal id.

    It is a glob that some part of the error matches, and so can be searched for.
    """
    line = text.strip().partition("\n")[0].strip()
    return _SEVERAL.sub("*", _VARIES.sub("*", line))[:LENGTH_MAX].strip()
