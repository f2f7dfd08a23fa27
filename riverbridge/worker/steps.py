"""Resumable jobs: steps that a later attempt need not do again (contract 11.3).

The row holds the last step that was completed and, for steps left half done, their cursors. The
next attempt skips all steps up to and including that one, but runs it again if it has a cursor.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

import msgspec

from riverbridge.errors import WorkerError
from riverbridge.worker.loop import NOTHING, EventLoop
from riverbridge.worker.notes import pair

STEP = "river:resumable_step"
CURSOR = "river:resumable_cursor"


class Steps:
    """The steps of one attempt. `metadata`: of the row, as it was claimed."""

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        step, cursors = metadata.get(STEP), metadata.get(CURSOR)
        self._resume = step if isinstance(step, str) else ""
        self._cursors: dict[str, Any] = dict(cursors) if isinstance(cursors, dict) else {}
        self._had_cursors = bool(self._cursors)
        self._met = not self._resume
        self._names: set[str] = set()
        self._now: str | None = None
        self._completed: str | None = None
        self._failed: BaseException | None = None

    def run(self, name: str, call: Callable[[], object], loop: EventLoop) -> Awaitable[None]:
        """Call, unless the step is to be skipped. In the loop, what is returned is awaited."""
        return self._run(name, call, loop) if self._due(name, with_cursor=False) else NOTHING

    def run_cursor(
        self, name: str, function: Callable[[Any], object], type_: Any, loop: EventLoop
    ) -> Awaitable[None]:
        """The same, with the step's cursor, converted to `type_` if one is given."""
        if not self._due(name, with_cursor=True):
            return NOTHING

        def call() -> object:
            cursor = self._cursors.get(name)
            if cursor is not None and type_ is not None:
                cursor = msgspec.convert(cursor, type_)
            return function(cursor)

        return self._run(name, call, loop)

    def set_cursor(self, value: object) -> None:
        """Raises WorkerError outside of a step, InvalidJob for what has no form in JSON."""
        if self._now is None:
            raise WorkerError("set_cursor: no step is running; call it in a step_cursor's function")
        self._cursors[self._now] = msgspec.json.decode(f"{{{pair(self._now, value)}}}")[self._now]

    def finished(self, error: BaseException | None) -> BaseException | None:
        """What the job fails with after all: a step's error, or a stored step that did not come."""
        if error is None and self._failed is not None:
            return self._failed
        if error is None and not self._met:
            return WorkerError(f"river: resumable step {self._resume!r} not found in Worker")
        return error

    def notes(self) -> dict[str, str]:
        """What a failed attempt leaves for the next one, if it came any further."""
        if self._completed is None:
            return {}
        notes = {STEP: pair(STEP, self._completed)}
        if self._cursors or self._had_cursors:
            # A key of the metadata can be set to null, but not be removed.
            notes[CURSOR] = pair(CURSOR, self._cursors or None)
        return notes

    def _due(self, name: str, *, with_cursor: bool) -> bool:
        """Whether the step `name` is to be run; an earlier attempt may have completed it."""
        if self._failed is not None:
            return False
        pair(STEP, name)
        if not name or name in self._names:
            self._failed = WorkerError(f"step {name!r}: give each step of a job a name of its own")
            raise self._failed
        self._names.add(name)
        if self._met:
            return True
        if name != self._resume:
            return False
        self._met = True
        self._completed = name
        return with_cursor and name in self._cursors

    def _run(self, name: str, call: Callable[[], object], loop: EventLoop) -> Awaitable[None]:
        if loop.here():
            return self._awaited(name, call)
        with self._inside(name):
            if inspect.iscoroutine(result := call()):
                result.close()
                raise WorkerError(f"step {name!r}: its function is async, but not the job's")
        return NOTHING

    async def _awaited(self, name: str, call: Callable[[], object]) -> None:
        with self._inside(name):
            result = call()
            if inspect.isawaitable(result):
                await result

    @contextlib.contextmanager
    def _inside(self, name: str) -> Iterator[None]:
        before, self._now = self._now, name
        try:
            yield
        except BaseException as error:
            self._failed = error
            raise
        else:
            self._completed = name
            self._cursors.pop(name, None)
        finally:
            self._now = before
