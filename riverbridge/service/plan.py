"""Which feeds serve a queue: what the settings' routes come to, for queues by name and by glob."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta

from riverbridge.bridge.condition import Condition
from riverbridge.bridge.route import Route, Unmatched
from riverbridge.bridge.switch import Case, Switch
from riverbridge.bridge.template import Template
from riverbridge.engine.batch import Feed, Taker, Terms
from riverbridge.engine.deal import SHARES
from riverbridge.engine.followed import Place
from riverbridge.engine.sieve import Sieve
from riverbridge.engine.slots import Slots
from riverbridge.model.globs import matches, to_like
from riverbridge.model.job import ClaimedJob
from riverbridge.model.outcome import Retry
from riverbridge.model.retry import ExponentialRetry, FixedRetry, RetryPolicy, RiverRetry
from riverbridge.settings import Route as RouteSettings
from riverbridge.settings import Settings
from riverbridge.settings.sharing import routes_of


class Plan:
    """The routes of the settings, with what they need to serve any queue."""

    def __init__(
        self,
        settings: Settings,
        routes: Mapping[str, Route],
        first_start: Callable[[str], datetime],
        slots: Mapping[str, Slots] | None = None,
    ) -> None:
        """routes: the takers by name. first_start: when a route first ran here. slots: by the names
        of sinks."""
        self._settings = settings.routes
        self._routes = routes
        self._slots = slots or {}
        self._conditions = {
            name: Condition.parse(route.when)
            for name, route in settings.routes.items()
            if route.when is not None
        }
        self._oldest = {
            name: first_start(name) - timedelta(seconds=route.max_age)
            for name, route in settings.routes.items()
            if route.max_age is not None
        }
        named = [queue for route in settings.routes.values() for queue in route.queues]
        self.named = sorted({queue for queue in named if "*" not in queue})
        """The queues that a route names."""
        self.globs = sorted({queue for queue in named if "*" in queue})
        """And those over queues."""
        own = [name for name, route in settings.routes.items() if route.lanes is not None]
        shared = [settings.lanes] if len(own) < len(settings.routes) else []
        self._lanes = {name: number for number, name in enumerate(own, len(shared))}
        self.lanes = [*shared, *(settings.routes[name].lanes or 0 for name in own)]
        """How many lanes there are of each number: those of the process, then routes' own."""

    @property
    def follows(self) -> bool:
        """Whether there are globs."""
        return bool(self.globs)

    def follow(self, queue: str) -> list[Place]:
        """The feeds of a queue that no route names; none if no glob matches it."""
        if queue in self.named or not matches(self.globs, queue):
            return []
        return self.feeds(queue)

    def followed(self, waiting: Iterable[str]) -> dict[str, list[Place]]:
        """Those of the queues with jobs that globs match, with their feeds."""
        found = {queue: self.follow(queue) for queue in waiting}
        return {queue: places for queue, places in found.items() if places}

    def feeds(self, queue: str) -> list[Place]:
        """What is claimed from `queue`: a feed for each of its routes, or each share of an ordered
        one, or a single feed where conditions tell them apart; and one for what fails for want of a
        route."""
        names = routes_of(self._settings, queue)
        lanes = next((self._lanes[name] for name in names if name in self._lanes), 0)
        if any(name in self._conditions for name in names):
            found = [(lanes, self._switched(queue, names))]
        else:
            found = [
                (self._lanes.get(name, 0), self._feed(queue, name, share))
                for name in names
                for share in range(SHARES if self._settings[name].ordered else 1)
            ]
        if self.fails(queue):
            found.append((lanes, self._unmatched(queue, names)))
        return found

    def fails(self, queue: str) -> bool:
        """Whether a job of `queue` that no route takes fails."""
        names = routes_of(self._settings, queue)
        return bool(names) and self._settings[names[0]].unmatched == "fail"

    def choose(self, job: ClaimedJob) -> str | Retry | None:
        """The name of the route that takes `job`; why none can be chosen; or nothing."""
        names = routes_of(self._settings, job.queue)
        if not names:
            return None
        choice = Switch([self._case(name) for name in names], fail=False).choose(job)
        return choice.name if isinstance(choice, Case) else choice

    def _feed(self, queue: str, name: str, share: int) -> Feed:
        route = self._settings[name]
        key = route.key if route.ordered else None
        # A route to a sink with slots has no other sink.
        under = self._slots.get(route.sinks[0])
        return Feed(
            name,
            queue,
            self._routes[name],
            retry_policy(route),
            kinds=tuple(to_like(kind) for kind in route.kinds),
            max_attempts=route.max_attempts,
            delete_delivered=route.on_success == "delete",
            claiming=route.claim if under is None else "lease",
            oldest=self._oldest.get(name),
            dead_letters=route.dead_letters is not None,
            key_of=None if key is None else Template.parse(key).render,
            share=share,
            hold_back_for=route.hold_back_for,
            slots=under,
            bytes_left=self._bytes_left([name]),
        )

    def _switched(self, queue: str, names: list[str]) -> Feed:
        first = self._settings[names[0]]
        cases = [self._case(name) for name in names]
        switch = Switch(cases, fail=self.fails(queue))
        # What its routes have to agree on is said by any of them.
        return Feed(
            "+".join(names),
            queue,
            switch,
            retry_policy(first),
            kinds=self._kinds(names),
            delete_delivered=first.on_success == "delete",
            claiming=first.claim,
            sieve=Sieve(switch.sort),
            terms=lambda job: switch.terms(job) or Terms(retry_policy(first)),
            bytes_left=self._bytes_left(names),
        )

    def _bytes_left(self, names: list[str]) -> Callable[[], int] | None:
        """For routes to a sink with such a limit; the one that has most left sets the claim's."""
        routes = [self._routes[name] for name in names]
        if not any(route.weighs for route in routes):
            return None
        return lambda: max(route.bytes_left() for route in routes)

    def _case(self, name: str) -> Case:
        route = self._settings[name]
        taker: Taker = self._routes[name]
        return Case(
            name,
            taker,
            Terms(retry_policy(route), route.max_attempts, route.dead_letters is not None),
            kinds=route.kinds,
            condition=self._conditions.get(name),
            oldest=self._oldest.get(name),
        )

    def _unmatched(self, queue: str, names: list[str]) -> Feed:
        """The kinds that no route of `queue` takes."""
        route = self._settings[names[0]]
        name = "+".join(names)
        kinds = self._kinds(names)
        return Feed(name, queue, Unmatched(), retry_policy(route), kinds=kinds, taken=False)

    def _kinds(self, names: list[str]) -> tuple[str, ...]:
        return tuple(sorted({to_like(k) for name in names for k in self._settings[name].kinds}))


def retry_policy(route: RouteSettings) -> RetryPolicy:
    """The route's way to wait between attempts."""
    if route.retry == "fixed":
        return FixedRetry(route.retry_delay)
    if route.retry == "exponential":
        return ExponentialRetry(route.retry_delay, route.retry_max_delay)
    return RiverRetry()
