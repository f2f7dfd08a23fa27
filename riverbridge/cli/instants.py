"""Durations and instants as options spell them."""

from __future__ import annotations

import contextlib
import re
from datetime import datetime, timedelta

import click
import msgspec

DURATION = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)", re.ASCII)
_UNITS = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def duration(option: str, text: str) -> timedelta:
    """Such as 15m. Raises click.UsageError."""
    found = DURATION.fullmatch(text)
    if found is None:
        raise click.UsageError(f"{option}: {text!r} is no duration such as 15m (ms, s, m, h or d)")
    return timedelta(**{_UNITS[found.group(2)]: float(found.group(1))})


def future(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> datetime | timedelta | None:
    """An option's instant with its time zone, or how long from now, by the database's clock."""
    if text is None:
        return None
    if text.startswith("+"):
        return duration(parameter.opts[0], text[1:])
    return _instant(text, "a time from now such as +2h")


def past(
    context: click.Context, parameter: click.Parameter, text: str | None
) -> datetime | timedelta | None:
    """An option's instant with its time zone, or how long ago, by the database's clock."""
    if text is None:
        return None
    if text.startswith("-") and DURATION.fullmatch(text, 1):
        return duration(parameter.opts[0], text[1:])
    return _instant(text, "a time ago such as -2h")


def _instant(text: str, otherwise: str) -> datetime:
    with contextlib.suppress(msgspec.ValidationError):
        at = msgspec.convert(text, datetime)
        if at.tzinfo is not None:
            return at
    raise click.BadParameter(
        f"{text!r} is neither an instant such as 2026-01-31T08:00:00Z nor {otherwise} "
        "(ms, s, m, h or d)"
    )
