"""Which routes serve a queue, and what routes that may meet in one have to agree on.

A queue is served by the routes whose pattern for it says most: a name before every glob, and of
globs the one with the most characters beside `*`. Routes with patterns that say as much share it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from itertools import combinations

from riverbridge.model import globs
from riverbridge.settings.models import Route, Settings
from riverbridge.settings.reading import Problem
from riverbridge.settings.shape import Path

_ALIKE = ("unmatched",)
_ALIKE_WITH_CONDITIONS = ("claim", "lanes", "on_success")


def routes_of(routes: Mapping[str, Route], queue: str) -> list[str]:
    """The names of the routes that serve `queue`, in the order in which they are asked: those with
    a condition first, and else by name."""
    found = {
        name: max(globs.exactness(p) for p in route.queues if globs.matches([p], queue))
        for name, route in routes.items()
        if globs.matches(route.queues, queue)
    }
    most = max(found.values(), default=None)
    names = [name for name, exactness in found.items() if exactness == most]
    return sorted(names, key=lambda name: (routes[name].when is None, name))


def served(routes: Mapping[str, Route], name: str) -> tuple[str, ...]:
    """The queues that a route serves, as regular expressions: without those of which another
    pattern says more."""
    patterns = {pattern for route in routes.values() for pattern in route.queues}
    return tuple(
        globs.to_regex(
            own,
            sorted(
                other
                for other in patterns
                if globs.exactness(other) > globs.exactness(own) and globs.intersect(other, own)
            ),
        )
        for own in routes[name].queues
    )


def problems(settings: Settings, given: Set[Path]) -> Iterator[Problem]:
    """What two routes say that cannot both be."""
    for (a, first), (b, second) in combinations(settings.routes.items(), 2):
        if (shared := _shared(first, second)) is None:
            continue
        involved = tuple(("routes", r, k) for r in (a, b) for k in ("queues", "kinds", "when"))
        conditions = first.when is not None or second.when is not None
        both = next(
            ((x, y) for x in first.kinds for y in second.kinds if globs.intersect(x, y)), None
        )
        if both and not conditions:
            yield Problem(
                ("routes", b, "kinds" if ("routes", b, "kinds") in given else "queues"),
                f"takes the same jobs as route {a}: in queue {shared} a kind can match both "
                f"{both[1]} and, there, {both[0]}; make the kinds or the queues disjoint, or give "
                "one of them a condition (WHEN)",
                involved,
            )
            continue
        for name in (*_ALIKE, *(_ALIKE_WITH_CONDITIONS if conditions else ())):
            one, other = getattr(first, name), getattr(second, name)
            if one != other:
                yield Problem(
                    ("routes", b, name),
                    f"{other} contradicts route {a}, which says {one} for the same queue "
                    f"{shared}; say the same in both",
                    (*involved, ("routes", a, name)),
                )
        if conditions and (first.ordered or second.ordered):
            yield Problem(
                ("routes", b, "ordered"),
                f"cannot be true for queue {shared}, whose jobs are told apart by a condition "
                f"(routes {a} and {b}); give the ordered ones a queue of their own",
                (*involved, ("routes", a, "ordered")),
            )


def _shared(first: Route, second: Route) -> str | None:
    """A queue, or a pattern of queues, that both would serve."""
    for x in first.queues:
        for y in second.queues:
            if globs.exactness(x) == globs.exactness(y) and globs.intersect(x, y):
                return y
    return None
