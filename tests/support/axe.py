"""axe-core: what it finds on the page that a browser shows."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, files
from typing import Any

from riverbridge.errors import PartMissing
from tests.support.browser import Browser

_WHEEL = "axe-playwright-python"

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
"""WCAG 2.1 AA, and what its authors recommend beyond."""


def find_axe() -> str:
    """The script. Raises PartMissing."""
    try:
        [script] = [file for file in files(_WHEEL) or () if file.name == "axe.min.js"]
    except PackageNotFoundError as missing:
        raise PartMissing(f"{_WHEEL} is not installed; run the tests with: make test") from missing
    return script.read_text(encoding="utf-8")


def violations(window: Browser, script: str, *, within: str = "html") -> list[str]:
    """What is wrong with this part of the page as it is now, a line for each element.

    The driver runs the script in the page, so that the page's own policy stays as it is.
    """
    if not window.run("return 'axe' in window"):
        window.run(script)
    found: list[dict[str, Any]] = window.wait_for(
        f"return axe.run('{within}', {{runOnly: {TAGS}, resultTypes: ['violations'],"
        " preload: false}).then((found) => found.violations)"
    )
    return [
        f"{rule['impact']}: {rule['id']}: {node['html'][:200]}: {node['failureSummary'][:400]}"
        for rule in found
        for node in rule["nodes"]
    ]
