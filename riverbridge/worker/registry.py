"""Which function works jobs of which kind, and how: `Workers`."""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypedDict, TypeVar, Unpack, get_args, get_origin

from riverbridge.errors import WorkerError
from riverbridge.model.job import ClaimedJob
from riverbridge.model.names import worked_kind_problem
from riverbridge.model.retry import RetryPolicy
from riverbridge.worker.decoding import Decode, decoder, kind_of
from riverbridge.worker.job import A, RunningJob

R = TypeVar("R")

Middleware = (
    Callable[[RunningJob[Any]], Iterator[None]] | Callable[[RunningJob[Any]], AsyncIterator[None]]
)
"""A generator function that yields once: the attempt runs there, and its error is raised there.

What it raises in turn is the attempt's error; if it raises nothing, the attempt succeeded. Context
variables it sets are seen inside. An async one can be around async functions only.
"""

JobSeconds = float | None | Callable[[RunningJob[Any]], float | None]


class Around(NamedTuple):
    """A piece of middleware, made ready."""

    enter: Callable[[RunningJob[Any]], Any]
    is_async: bool


class WorkHook:
    """What is told of attempts; override either (contract 11.1). Called where the function runs:
    for async functions that is the event loop, so be quick."""

    def work_begin(self, job: RunningJob[Any]) -> None:
        """Before the args are decoded. What it raises is the attempt's error."""

    def work_end(self, job: RunningJob[Any], error: BaseException | None) -> BaseException | None:
        """After the function; `error` is what it raised. Returns the error to go on with."""
        return error


class Worker(Generic[A]):
    """Works jobs with the args `A`; subclass it as `Worker[OrderPlaced]` and `Workers.add` it."""

    kind: str | None = None
    """Where the class of the args has no attribute of that name, as dict."""
    aliases: Sequence[str] = ()
    """Further kinds it works, such as names of the past."""

    def work(self, job: RunningJob[A]) -> object:
        """Do the job; returns when it is done, raises if it is not. May be `async def`."""
        raise NotImplementedError

    def timeout(self, job: RunningJob[A]) -> float | None:
        """Seconds that `work` may take; 0: the client's default, -1 or None: without limit."""
        return 0

    def next_retry(self, job: RunningJob[A]) -> float | None:
        """Seconds to the next attempt after a failure; None: the client's retry policy.

        `timeout` and this are asked of jobs that were lost with their process too, by the process
        that finds them, in a thread of its own.
        """
        return None

    def hooks(self) -> Sequence[WorkHook]:
        """Hooks of this kind, after those of all kinds. Asked once."""
        return ()

    def middleware(self) -> Sequence[Middleware]:
        """Middleware of this kind, around that of all kinds. Asked once."""
        return ()


@dataclass(frozen=True, eq=False)
class Definition:
    """How jobs of a kind are worked."""

    function: Callable[[Any], object]
    is_async: bool
    many: int
    """The most jobs in one call; 0: one at a time, and not in a list."""
    decode: Decode
    timeout: JobSeconds
    next_retry: JobSeconds
    hooks: tuple[WorkHook, ...]
    middleware: tuple[Around, ...]


class WorkOptions(TypedDict, total=False):
    """How a function works its jobs.

    kind: where the args' class has no attribute of that name, as dict and RawArgs. aliases: further
    kinds, such as names of the past. timeout: seconds; 0: the client's default, -1 or None: without
    limit. retry: instead of the client's policy. hooks: after those of all kinds. middleware:
    around that of all kinds.
    """

    kind: str
    aliases: Sequence[str]
    timeout: float | None
    retry: RetryPolicy
    hooks: Sequence[WorkHook]
    middleware: Sequence[Middleware]


class Workers:
    """The job functions of an application, by kind.

        workers = Workers()

        @workers.work(OrderPlaced, timeout=30)
        async def fulfil(job: RunningJob[OrderPlaced]) -> None:
            await ship(job.args.order_id)

    Async functions run in one event loop, plain ones in threads; what they return is ignored. All
    methods raise WorkerError for what could not work: a kind that is taken, a name River refuses, a
    function with other parameters, args that cannot be read from JSON.
    """

    def __init__(
        self, *, hooks: Sequence[WorkHook] = (), middleware: Sequence[Middleware] = ()
    ) -> None:
        """hooks, middleware: for jobs of all kinds, the first middleware outermost."""
        self._hooks = tuple(hooks)
        self._middleware = tuple(middleware)
        self._definitions: dict[str, Definition] = {}

    def work(
        self, args: type[A], **options: Unpack[WorkOptions]
    ) -> Callable[[Callable[[RunningJob[A]], R]], Callable[[RunningJob[A]], R]]:
        """Register the decorated function, plain or async, for jobs with these args."""

        def register(function: Callable[[RunningJob[A]], R]) -> Callable[[RunningJob[A]], R]:
            self._register(args, function, **options)
            return function

        return register

    def work_many(
        self, args: type[A], *, max_jobs: int = 100, **options: Unpack[WorkOptions]
    ) -> Callable[[Callable[[list[RunningJob[A]]], R]], Callable[[list[RunningJob[A]]], R]]:
        """As `work`, for a function that gets up to `max_jobs` jobs in one call.

        It returns None when all are done, or a list with, for each job in order, None or the
        exception that the job fails with (JobSnooze and JobCancel too). What it raises is the error
        of all. Each job takes a slot. The call is cancelled at its timeout or a stop, not when one
        of its jobs is: that one is told by its `cancelled`.
        """
        if max_jobs < 1:
            raise WorkerError(f"max_jobs: {max_jobs} is out of range: use 1 or more")

        def register(
            function: Callable[[list[RunningJob[A]]], R],
        ) -> Callable[[list[RunningJob[A]]], R]:
            self._register(args, function, many=max_jobs, **options)
            return function

        return register

    def add(self, worker: Worker[Any]) -> None:
        """Register an instance of a class derived from `Worker[…]`."""
        class_: type[Any] = type(worker)
        if not issubclass(class_, Worker):
            shown = getattr(worker, "__name__", class_.__name__)
            raise WorkerError(f"{shown}: give an instance of a class derived from Worker[its args]")
        args = _args_of(class_)
        if args is None:
            raise WorkerError(
                f"{class_.__name__}: derive it from Worker[its args], not from Worker"
            )
        self._register(
            args,
            worker.work,
            kind=worker.kind,
            aliases=worker.aliases,
            timeout=0 if class_.timeout is Worker.timeout else worker.timeout,
            next_retry=None if class_.next_retry is Worker.next_retry else worker.next_retry,
            hooks=worker.hooks(),
            middleware=worker.middleware(),
        )

    def kinds(self) -> list[str]:
        """The kinds that are worked, aliases included."""
        return list(self._definitions)

    def find(self, kind: str) -> Definition:
        """How jobs of this kind are worked; those of unknown kinds fail and say so."""
        return self._definitions.get(kind, UNKNOWN)

    def _register(
        self,
        args: Any,
        function: Callable[[Any], object],
        *,
        many: int = 0,
        kind: str | None = None,
        aliases: Sequence[str] = (),
        timeout: JobSeconds = 0,
        retry: RetryPolicy | None = None,
        next_retry: JobSeconds = None,
        hooks: Sequence[WorkHook] = (),
        middleware: Sequence[Middleware] = (),
    ) -> None:
        name = getattr(function, "__qualname__", repr(function))
        is_async = _is_async(function, name)
        kinds = self._kinds_of(args, kind, aliases, name)
        if retry is not None:
            next_retry = _by_policy(retry)
        definition = Definition(
            function=function,
            is_async=is_async,
            many=many,
            decode=decoder(args),
            timeout=timeout if callable(timeout) else timeout_seconds(timeout),
            next_retry=next_retry,
            hooks=(*self._hooks, *hooks),
            middleware=tuple(_around(m, name, is_async) for m in (*middleware, *self._middleware)),
        )
        self._definitions.update(dict.fromkeys(kinds, definition))

    def _kinds_of(
        self, args: Any, kind: str | None, aliases: Sequence[str], name: str
    ) -> Sequence[str]:
        """The kinds that the function `name` is to work, all of them free."""
        kind = kind or kind_of(args)
        if kind is None:
            shown = getattr(args, "__name__", args)
            raise WorkerError(
                f"{name}: {shown} has no kind: add `kind: ClassVar[str]` to the class, or give one"
            )
        if isinstance(aliases, str):
            raise WorkerError(f"{name}: aliases: must be a list of kinds, not a text")
        for each in (kind, *aliases):
            problem = worked_kind_problem(each)
            if problem is None and each in self._definitions:
                other = self._definitions[each].function
                problem = f"{each!r} is worked by {getattr(other, '__qualname__', other)} already"
            if problem is not None:
                raise WorkerError(f"{name}: kind: {problem}")
        return (kind, *aliases)


def _decode_unknown(row: ClaimedJob) -> Any:
    raise WorkerError(f"job kind is not registered in the client's Workers bundle: {row.kind}")


UNKNOWN = Definition(
    function=lambda job: None,
    is_async=True,
    many=0,
    decode=_decode_unknown,
    timeout=None,
    next_retry=None,
    hooks=(),
    middleware=(),
)
"""What River does with a kind that nobody works: an ordinary error, in these words (9.2)."""


def timeout_seconds(given: float | None) -> float | None:
    """A timeout as users give it; -1 is none. Raises WorkerError for what is not one."""
    if given is None or given == -1:
        return None
    if not isinstance(given, int | float) or not given >= 0:
        raise WorkerError(
            f"timeout: {given!r} is out of range: use seconds, 0 for the client's, or -1 for none"
        )
    return given


def _args_of(class_: type[Any]) -> Any:
    """What stands in `Worker[…]` among the bases of a class, or of its bases."""
    for each in class_.__mro__:
        for base in each.__dict__.get("__orig_bases__", ()):
            if get_origin(base) is Worker and not isinstance(get_args(base)[0], TypeVar):
                return get_args(base)[0]
    return None


def _is_async(function: Any, name: str) -> bool:
    """Whether a job function is; raises WorkerError for what is none."""
    if not callable(function):
        raise WorkerError(f"{name}: is not a function")
    called = _called(function)
    try:
        inspect.signature(function).bind(None)
    except TypeError as error:
        raise WorkerError(f"{name}: a job function takes one parameter, the job: {error}") from None
    except ValueError:
        pass  # written in C, without a signature
    if inspect.isgeneratorfunction(called) or inspect.isasyncgenfunction(called):
        raise WorkerError(f"{name}: a job function does not yield")
    return any(map(inspect.iscoroutinefunction, (function, called)))


def _called(function: Any) -> Any:
    """What runs when `function` is called, which may be an object."""
    return function if inspect.isroutine(function) else type(function).__call__


def _around(middleware: Any, name: str, is_async: bool) -> Around:
    """A context manager of each attempt, and whether it is to be awaited."""
    called = _called(middleware)
    shown = getattr(middleware, "__qualname__", repr(middleware))
    if inspect.isgeneratorfunction(called):
        return Around(contextlib.contextmanager(middleware), False)
    if not inspect.isasyncgenfunction(called):
        raise WorkerError(f"{name}: middleware {shown}: must be a generator function")
    if not is_async:
        raise WorkerError(
            f"{name}: middleware {shown} is async, and the function is not: make both async, or "
            "the middleware plain"
        )
    return Around(contextlib.asynccontextmanager(middleware), True)


def _by_policy(retry: RetryPolicy) -> Callable[[RunningJob[Any]], float | None]:
    return lambda job: retry.delay(job.failures)
