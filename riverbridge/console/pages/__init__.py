"""All pages of the console, in the order in which their paths are tried."""

from __future__ import annotations

from collections.abc import Sequence

from riverbridge.console.frame import Page
from riverbridge.console.pages import assets, overview

PAGES: Sequence[Page] = (
    *assets.PAGES,
    *overview.PAGES,
)
