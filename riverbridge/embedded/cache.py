"""Where parts that were installed or built once are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_home() -> Path:
    """`riverbridge` in XDG's cache directory; it may not be there yet."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if given.startswith("/") else Path.home() / ".cache"
    return base / "riverbridge"
