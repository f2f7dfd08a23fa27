"""What came of an attempt, as a value: River's order of the cases (contract 9.4)."""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, TypeVar

from riverbridge.model.outcome import (
    Cancelled,
    Completed,
    Delivered,
    Interrupted,
    Outcome,
    Retry,
    Snoozed,
)
from riverbridge.model.retry import LONGEST
from riverbridge.model.text import TRACE_LIMIT
from riverbridge.worker.job import Halt, JobCancel, JobSnooze, RunningJob

log = logging.getLogger(__name__)

E = TypeVar("E", bound=BaseException)

ErrorHandler = Callable[[RunningJob[Any], BaseException], object]
"""Told of each attempt that fails (not of snoozes, cancels and interruptions); returns True to
cancel the job. Called where the function ran: for async functions that is the event loop."""

CANCELLED_REMOTELY = "JobCancelError: job cancelled remotely"

FRAMES = 50
"""The innermost frames that are kept of a stack."""

_DONE = Delivered()
_OURS = __name__.rpartition(".")[0]


def verdict(
    job: RunningJob[Any],
    error: BaseException | None,
    *,
    halt: Halt | None,
    notes: str | None,
    next_retry: Callable[[], float | None],
    handler: ErrorHandler | None,
) -> Outcome:
    """The outcome of an attempt that ended with `error`, or without one.

    halt: why it was to end early, if it was. notes: what goes into the metadata. next_retry:
    seconds, or None for the feed's policy; asked only where there will be another attempt.
    """
    if error is None:
        return _DONE if notes is None else Completed(notes)
    if halt is Halt.CANCELLED:
        return Cancelled(CANCELLED_REMOTELY, metadata=notes)
    if (snooze := _found(JobSnooze, error)) is not None:
        return Snoozed(snooze.seconds, notes)
    if (cancel := _found(JobCancel, error)) is not None:
        return Cancelled(_text(cancel), metadata=notes)
    if halt is Halt.STOPPED and _found(asyncio.CancelledError, error) is not None:
        return Interrupted(notes)
    text, trace = _text(error), _trace(error)
    log.warning("%r failed: %s", job, text, exc_info=error if trace else None)
    if handler is not None and _handled(handler, job, error):
        return Cancelled(text, trace, notes)
    return Retry(text, trace=trace, delay=own_delay(job, next_retry), metadata=notes)


def _found(type_: type[E], error: BaseException) -> E | None:
    return next((each for each in _chain(error) if isinstance(each, type_)), None)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error, its causes and, where it is a group, what is in it; each only once."""
    seen: set[int] = set()
    left = [error]
    while left:
        each = left.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        if isinstance(each, BaseExceptionGroup):
            left.extend(each.exceptions)
        if each.__cause__ is not None:
            left.append(each.__cause__)


def _text(error: BaseException) -> str:
    """What the error says, as in Go; its class where it says nothing."""
    try:
        return str(error) or type(error).__name__
    except Exception:  # a __str__ of the application's own
        return type(error).__name__


def _trace(error: BaseException) -> str:
    """The stack as Python prints it, from the application's first frame; its end if it is long.

    Of an error of our own that is, if it has one, of its cause.
    """
    for each in _chain(error):
        stack = _theirs(each.__traceback__)
        if stack is not None:
            break
    else:
        return ""
    try:
        lines = traceback.format_exception(type(each), each, stack, limit=-FRAMES)
    except Exception:
        return ""
    encoded = "".join(lines).encode("utf-8", "backslashreplace")
    return encoded[-TRACE_LIMIT:].decode("utf-8", "ignore")


def _theirs(stack: TracebackType | None) -> TracebackType | None:
    """What is left without our own frames."""
    while stack is not None and stack.tb_frame.f_globals.get("__name__", "").startswith(_OURS):
        stack = stack.tb_next
    return stack


def _handled(handler: ErrorHandler, job: RunningJob[Any], error: BaseException) -> bool:
    try:
        return handler(job, error) is True
    except BaseException:
        log.exception("%r: the error handler failed too", job)
        return False


def own_delay(job: RunningJob[Any], next_retry: Callable[[], float | None]) -> float | None:
    """Seconds to the next attempt by what the kind says; None where it says nothing of use."""
    try:
        delay = next_retry()
    except BaseException:
        log.exception("%r: its next_retry failed; the client's retry policy counts", job)
        return None
    if delay is not None and not delay >= 0:
        log.warning("%r: its next_retry is %s s; the client's retry policy counts", job, delay)
        return None
    return delay if delay is None else min(delay, LONGEST)
