"""What no single value shows: combinations that cannot work, each a small function."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import combinations

from riverbridge.errors import TemplateError
from riverbridge.model import globs
from riverbridge.settings import checks
from riverbridge.settings.models import Route, Settings
from riverbridge.settings.reading import Problem
from riverbridge.settings.secrets import MASK, Pairs
from riverbridge.settings.shape import Path, variable
from riverbridge.settings.sinks import SinkSettings
from riverbridge.settings.values import spell

CheckTemplate = Callable[[str], object]
# Addresses that take a port from others too; localhost is another spelling of some.
_WIDE = frozenset({"0.0.0.0", "::", "localhost"})  # noqa: S104


@dataclass(frozen=True)
class Checked:
    """What the rules look at: the settings that could be read and what the user gave."""

    settings: Settings
    given: frozenset[Path]
    sinks: tuple[str, ...]
    """The names of all sinks, also of those whose own settings are wrong."""
    check_template: CheckTemplate | None = None
    check_event_template: CheckTemplate | None = None

    def pairs(self) -> Iterator[tuple[str, Route, str, SinkSettings]]:
        """Each route with each of its sinks."""
        for name, route in self.settings.routes.items():
            for sink in route.sinks:
                if sink in self.settings.sinks:
                    yield name, route, sink, self.settings.sinks[sink]


def problems(checked: Checked) -> list[Problem]:
    """Everything that cannot work."""
    return [problem for rule in _RULES for problem in rule(checked)]


def warnings(settings: Settings) -> list[str]:
    """What was allowed and should be known."""
    return [
        f"{variable(path)}: {text}; allowed by {variable((*path[:2], 'insecure'))}"
        for path, text, _ in _insecure(settings)
    ]


def _times(checked: Checked) -> Iterator[Problem]:
    s = checked.settings
    if s.deadline < s.hold:
        yield Problem(
            ("deadline",),
            f"{spell(s.deadline)} is shorter than the hold of {spell(s.hold)} "
            f"({variable(('hold',))}); raise the deadline or lower the hold",
            (("deadline",), ("hold",)),
        )
    for name, sink in s.sinks.items():
        path = ("sinks", name, "delivery_timeout")
        if sink.delivery_timeout > s.deadline:
            yield Problem(
                path,
                f"{spell(sink.delivery_timeout)} is longer than the deadline of "
                f"{spell(s.deadline)} ({variable(('deadline',))}); lower it or raise the deadline",
                (("deadline",),),
            )


def _listening(checked: Checked) -> Iterator[Problem]:
    s = checked.settings
    if not checks.is_loopback(s.http.host):
        yield Problem(
            ("http", "host"),
            "is not loopback, and the console has no authentication yet; use 127.0.0.1 "
            f"(probes may listen anywhere: {variable(('probes', 'host'))})",
        )
    hosts = {s.http.host, s.probes.host}
    if s.http.port and s.http.port == s.probes.port and len(hosts) == 2 and hosts & _WIDE:
        yield Problem(
            ("probes", "port"),
            f"{s.probes.port} is also the port of HTTP ({variable(('http', 'port'))}), which "
            "listens on another address that overlaps; choose another port",
            (("probes", "host"), ("http", "host"), ("http", "port")),
        )
    if s.listen_url is not None and not s.listen:
        yield Problem(
            ("listen_url",),
            f"has no effect with {variable(('listen',))}=false; unset one of them",
            (("listen",),),
        )


def _sinks_of_routes(checked: Checked) -> Iterator[Problem]:
    for name, route in checked.settings.routes.items():
        path = ("routes", name, "sinks")
        if not checked.sinks:
            yield Problem(
                path, "no sink is configured; define one (RIVERBRIDGE_SINKS__<NAME>__TYPE)"
            )
            continue
        for sink in route.sinks:
            if sink in checked.sinks:
                continue
            close = difflib.get_close_matches(sink, checked.sinks, 1, 0.6)
            hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(checked.sinks)}"
            yield Problem(path, f"there is no sink {sink}; {hint}")


def _overlaps(checked: Checked) -> Iterator[Problem]:
    for (a, first), (b, second) in combinations(checked.settings.routes.items(), 2):
        if not (shared := [queue for queue in second.queues if queue in first.queues]):
            continue
        involved = tuple(("routes", r, k) for r in (a, b) for k in ("queues", "kinds"))
        both = next(
            ((x, y) for x in first.kinds for y in second.kinds if globs.intersect(x, y)), None
        )
        if both:
            yield Problem(
                ("routes", b, "kinds" if ("routes", b, "kinds") in checked.given else "queues"),
                f"takes the same jobs as route {a}: in queue {shared[0]} a kind can match both "
                f"{both[1]} and, there, {both[0]}; make the kinds or the queues disjoint",
                involved,
            )
        elif first.unmatched != second.unmatched:
            yield Problem(
                ("routes", b, "unmatched"),
                f"{second.unmatched} contradicts route {a}, which says {first.unmatched} for the "
                f"same queue {shared[0]}; say the same in both",
                (*involved, ("routes", a, "unmatched")),
            )


def _keys_and_order(checked: Checked) -> Iterator[Problem]:
    for name, route in checked.settings.routes.items():
        path = ("routes", name, "ordered")
        if route.ordered:
            yield Problem(
                path,
                "not built yet: set ORDERED=false and accept that the jobs of a key may be "
                "delivered out of order",
            )
    # The same fault with several sinks is one line: it names the first of them.
    found: dict[Path, Problem] = {}
    for name, route, sink_name, sink in checked.pairs():
        for problem in _key_and_order(("routes", name), route, sink_name, sink):
            found.setdefault(problem.path, problem)
    yield from found.values()


def _key_and_order(path: Path, route: Route, name: str, sink: SinkSettings) -> Iterator[Problem]:
    if route.key is None and (why := sink.wants_key):
        yield Problem(
            (*path, "key"),
            f"not set, but sink {name} {why}; give a template, as in {{args.customer_id}}",
        )
    if route.ordered is None and (why := sink.wants_order(route.key is not None)):
        yield Problem(
            (*path, "ordered"),
            f"not set, but sink {name} {why}; state whether order matters "
            "(false is all that is built yet)",
        )


def _sinks(checked: Checked) -> Iterator[Problem]:
    """What each kind of sink has to say of its settings."""
    for name, sink in checked.settings.sinks.items():
        secrets = Pairs(getattr(sink, "config", {})).secrets()
        for at, text in sink.problems():
            for secret in secrets:
                text = text.replace(secret, MASK)
            yield Problem(_at(name, at), " ".join(text.split()))


def _sources(checked: Checked) -> Iterator[Problem]:
    """What each kind of source has to say of its settings, and what holds for all."""
    for name, source in checked.settings.sources.items():
        secrets = Pairs(getattr(source, "config", {})).secrets()
        for at, text in source.problems():
            for secret in secrets:
                text = text.replace(secret, MASK)
            yield Problem(("sources", name, at), " ".join(text.split()))
        if source.remember == 0 and not source.positioned:
            yield Problem(
                ("sources", name, "remember"),
                "0, but this source has no position that is stored: without the inbox an event "
                "that comes again would become another job; give a time, such as 7d",
            )
        templates = [(("sources", name, field), text) for field, text in source.templates]
        yield from _templates(checked.check_event_template, templates)


def _retries(checked: Checked) -> Iterator[Problem]:
    for name, route in checked.settings.routes.items():
        retry, delay, longest = (
            ("routes", name, key) for key in ("retry", "retry_delay", "retry_max_delay")
        )
        if route.retry == "river" and delay in checked.given:
            yield Problem(
                delay, "has no effect with RETRY=river; set RETRY=fixed or exponential", (retry,)
            )
        if route.retry != "exponential" and longest in checked.given:
            yield Problem(
                longest,
                f"has no effect with RETRY={route.retry}; set RETRY=exponential",
                (retry,),
            )
        if route.retry == "exponential" and route.retry_max_delay < route.retry_delay:
            yield Problem(
                longest,
                f"{spell(route.retry_max_delay)} is shorter than RETRY_DELAY of "
                f"{spell(route.retry_delay)}",
                (retry, delay),
            )


def _security(checked: Checked) -> Iterator[Problem]:
    for path, text, sink in _insecure(checked.settings):
        if not sink:
            flag = (*path[:2], "insecure")
            yield Problem(path, f"{text}; if that is meant, set {variable(flag)}=true", (flag,))


def _insecure(settings: Settings) -> Iterator[tuple[Path, str, bool]]:
    """Path, what is insecure there, and whether it is allowed."""
    for name, sink in settings.sinks.items():
        for at, text in sink.insecurities():
            yield _at(name, at), text, sink.insecure
    for name, source in settings.sources.items():
        for at, text in source.insecurities():
            yield ("sources", name, at), text, source.insecure


def _at(sink: str, field: str) -> Path:
    return ("sinks", sink, field) if field else ("sinks", sink)


def _used_templates(checked: Checked) -> Iterator[Problem]:
    for name, sink in checked.settings.sinks.items():
        field, text = sink.destination
        yield from _templates(
            checked.check_template,
            [
                *(((("sinks", name, "headers"), value)) for value in sink.headers.values()),
                (_at(name, field), text),
            ],
        )
    keys = [(("routes", n, "key"), r.key) for n, r in checked.settings.routes.items() if r.key]
    yield from _templates(checked.check_template, keys)


def _templates(
    check: CheckTemplate | None, templates: Iterable[tuple[Path, str]]
) -> Iterator[Problem]:
    for path, text in templates:
        try:
            if check is not None:
                check(text)
        except TemplateError as error:
            yield Problem(path, " ".join(str(error).split()))


_RULES: tuple[Callable[[Checked], Iterator[Problem]], ...] = (
    _times,
    _listening,
    _sinks_of_routes,
    _overlaps,
    _keys_and_order,
    _sinks,
    _sources,
    _retries,
    _security,
    _used_templates,
)
