"""Pages as their reader sees them: fenced blocks, and what they are marked to be.

A comment just before a block says what the tests do with it:

    <!-- run -->          run it in bash; it must end with 0. Exports stay for the blocks after it
    <!-- start -->        start it, and leave it running until the page's end or a `stop`
    <!-- stop -->         after a block: end what was started, as Ctrl-C does
    <!-- file NAME -->    write it to NAME in the working directory
    <!-- shows -->        what the block before it prints; `…` stands for anything

Blocks without a mark are not run.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    path
    for path in [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("charts/**/*.md")]
    if path.is_file()
)

_MARK = r"<!-- (?P<mark>run|start|shows|file (?P<name>[\w.\-]+)) -->"
_FENCE = r"^```(?P<language>\w*)\n(?P<text>.*?)^```$"
_BLOCK = re.compile(rf"(?:^{_MARK}\n)?{_FENCE}|^<!-- (?P<stop>stop) -->$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """One fenced block, or a `stop` by itself. mark: run, start, stop, shows, file or empty."""

    mark: str
    text: str
    language: str
    line: int
    name: str = ""


def blocks(page: Path) -> list[Block]:
    """The blocks of `page` in order."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _BLOCK.finditer(text):
        mark = (match["mark"] or match["stop"] or "").split(" ")[0]
        line = text.count("\n", 0, match.start()) + 1
        found.append(
            Block(mark, match["text"] or "", match["language"] or "", line, match["name"] or "")
        )
    return found
