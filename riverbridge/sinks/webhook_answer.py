"""What an HTTP answer means for the message that was sent."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from riverbridge.model.outcome import Delivered, Misconfigured, Outcome, Permanent, Retry
from riverbridge.sinks.webhook_http import Answer

LONGEST_WAIT = 24 * 3600.0
"""Seconds; a receiver that asks for more is taken at a day."""
MAX_TEXT = 1000
"""Characters of an answer's body that an error keeps."""
MASK = "***"

_NEVER = frozenset({400, 413, 414, 415, 422, 431})
"""It is this message that is refused, and it will not change."""
_ENDPOINT = frozenset({401, 403, 404, 405, 407, 410})
"""It is the endpoint, or our access to it, that is wrong."""

DELIVERED = Delivered()


def outcome(answer: Answer, *, fixed: bool, masks: Iterable[str]) -> Outcome:
    """What became of the message.

    fixed: all messages go to the same URL, so that what is wrong with it is no single job's fault.
    masks: texts that are left out of errors.
    """
    status = answer.status
    if 200 <= status < 300:
        return DELIVERED
    error = f"answered {status} {_phrase(status)}".rstrip()
    if 300 <= status < 400:
        error += "; redirects are not followed: give the URL they lead to"
        if location := answer.headers.get("location"):
            error += f" ({_clean(location.encode('latin-1', 'replace'), masks)[:200]})"
    elif status == HTTPStatus.GONE:
        error += ": the endpoint wants no more webhooks"
    if text := _clean(answer.body, masks):
        error += f": {text}"
    if status in _NEVER:
        return Permanent(error)
    if 300 <= status < 400 or status in _ENDPOINT:
        if fixed:
            return Misconfigured(error)
        return Permanent(error) if status == HTTPStatus.GONE else Retry(error)
    # A server that broke may have taken the message before it did.
    return Retry(error, ambiguous=status >= 500, after=wait(answer))


def wait(answer: Answer) -> float:
    """Seconds that `Retry-After` asks for; 0 if it is missing or cannot be read."""
    text = (answer.headers.get("retry-after") or "").strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), LONGEST_WAIT))
    try:
        until = _instant(text)
        # Its own clock says what it means, where it tells the time.
        now = _instant(answer.headers.get("date") or "") if "date" in answer.headers else None
    except ValueError:
        return 0.0
    left = (until - (now or datetime.now(UTC))).total_seconds()
    return min(max(left, 0.0), LONGEST_WAIT)


def _instant(text: str) -> datetime:
    try:
        instant = parsedate_to_datetime(text)
    except (TypeError, OverflowError) as error:
        raise ValueError(str(error)) from error
    return instant if instant.tzinfo else instant.replace(tzinfo=UTC)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return ""


def _clean(body: bytes, masks: Iterable[str]) -> str:
    """A body as one line of an error: no control characters, no secrets, cut."""
    text = body.decode("utf-8", "replace")
    for mask in masks:
        text = text.replace(mask, MASK)
    text = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…"
