"""Log lines: text for people, one JSON object a line for machines."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from types import TracebackType
from typing import Literal

import msgspec

LONGEST = 2048
"""Characters of a message; longer ones are cut."""

_ExceptionInfo = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, thread, message, and the error if any."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "thread": record.threadName,
            "message": _encodable(record.getMessage()[:LONGEST]),
        }
        if record.exc_info:
            line["error"] = _encodable(self.formatException(record.exc_info)[-LONGEST:])
        return msgspec.json.encode(line).decode()


class TextFormatter(logging.Formatter):
    """Time, level and message; control characters are made visible, so no text forges a line.

    A traceback follows on lines of its own, each marked with a bar.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)-7s %(threadName)-14s %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        record.message = _visible(record.message[:LONGEST])
        return super().formatMessage(record)

    def formatException(self, ei: _ExceptionInfo) -> str:
        lines = super().formatException(ei)[-LONGEST:].split("\n")
        return "\n".join(f"  | {_visible(line)}" for line in lines)


def _visible(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def _encodable(text: str) -> str:
    """Half a surrogate pair is in no UTF-8; it is spelled out."""
    return text.encode("utf-8", "backslashreplace").decode()


def configure(style: Literal["auto", "text", "json"] = "auto", level: str = "info") -> None:
    """Send log lines to stderr; `auto` is text on a terminal and JSON otherwise."""
    as_text = style == "text" or (style == "auto" and sys.stderr.isatty())
    handler = logging.StreamHandler()
    handler.setFormatter(TextFormatter() if as_text else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("riverbridge").setLevel(level.upper())
