"""What no single value shows: combinations that cannot work, each a small function."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from riverbridge.errors import ConditionError, ConfigurationError, TemplateError
from riverbridge.model import globs
from riverbridge.settings import checks, sharing
from riverbridge.settings.models import Route, Settings
from riverbridge.settings.reading import Problem
from riverbridge.settings.secrets import MASK, Pairs
from riverbridge.settings.shape import Path, variable
from riverbridge.settings.sinks import SinkSettings
from riverbridge.settings.sinks.kafka import insecure_properties
from riverbridge.settings.sinks.river import RiverSink
from riverbridge.settings.values import spell

# What a dead letter's destination may not depend on: a job may be discarded for want of just that.
_OF_THE_JOB = re.compile(r"\{\s*(args|metadata)\b")
CheckTemplate = Callable[[str], object]
CheckCondition = Callable[[str], object]
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
    check_condition: CheckCondition | None = None

    def pairs(self) -> Iterator[tuple[str, Route, str, SinkSettings]]:
        """Each route with each of its sinks, as that is for the route."""
        for name, route in self.settings.routes.items():
            for sink in route.sinks:
                if sink in self.settings.sinks:
                    yield name, route, sink, route.at(sink, self.settings.sinks[sink])[0]


def problems(checked: Checked) -> list[Problem]:
    """Everything that cannot work."""
    return [problem for rule in _RULES for problem in rule(checked)]


def warnings(settings: Settings) -> list[str]:
    """What was allowed and should be known."""
    lines = [
        f"{variable(path)}: {text}; allowed by {variable((*path[:2], 'insecure'))}"
        for path, text, _ in _insecure(settings)
    ]
    lines += [
        f"{variable(('sources', name))}: sources are not built yet; nothing is read from it"
        for name in settings.sources
    ]
    return lines


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
        if not checked.sinks or not route.sinks:
            yield Problem(
                path, "no sink is configured; define one (RIVERBRIDGE_SINKS__<NAME>__TYPE)"
            )
            continue
        for sink in route.sinks:
            yield from _known(checked, path, sink)


def _known(checked: Checked, path: Path, sink: str) -> Iterator[Problem]:
    if sink not in checked.sinks:
        close = difflib.get_close_matches(sink, checked.sinks, 1, 0.6)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(checked.sinks)}"
        yield Problem(path, f"there is no sink {sink}; {hint}")


def _shared_queues(checked: Checked) -> Iterator[Problem]:
    return sharing.problems(checked.settings, checked.given)


def _keys_and_order(checked: Checked) -> Iterator[Problem]:
    for name, route in checked.settings.routes.items():
        yield from _ordered(("routes", name), route)
    # The same fault with several sinks is one line: it names the first of them.
    found: dict[Path, Problem] = {}
    for name, route, sink_name, sink in checked.pairs():
        for problem in _key_and_order(("routes", name), route, sink_name, sink):
            found.setdefault(problem.path, problem)
    yield from found.values()


def _ordered(path: Path, route: Route) -> Iterator[Problem]:
    ordered = (*path, "ordered")
    if not route.ordered:
        if route.hold_back_for is not None:
            yield Problem(
                (*path, "hold_back_for"),
                "has no effect without ORDERED=true; unset one or set the other",
                (ordered,),
            )
        return
    if route.key is None:
        yield Problem(
            (*path, "key"),
            "not set, but ORDERED=true: order is that of the jobs of a key; give a template, as in "
            "{args.customer_id}",
            (ordered,),
        )
    if len(route.queues) > 1:
        yield Problem(
            (*path, "queues"),
            f"are {len(route.queues)}, but an ordered route (ORDERED=true) has one queue, as there "
            "is no order between queues; give each a route of its own",
            (ordered,),
        )
    if route.lanes is not None and route.lanes > 2:
        yield Problem(
            (*path, "lanes"),
            f"{route.lanes} are more than the two that can serve an ordered route (ORDERED=true); "
            "set LANES=2 or unset it",
            (ordered,),
        )


def _key_and_order(path: Path, route: Route, name: str, sink: SinkSettings) -> Iterator[Problem]:
    key = route.at(name, sink)[1]
    if key is None and (why := sink.wants_key):
        yield Problem(
            (*path, "key"),
            f"not set, but sink {name} {why}; give a template, as in {{args.customer_id}}",
        )
    if route.ordered is None and (why := sink.wants_order(key is not None)):
        yield Problem(
            (*path, "ordered"),
            f"not set, but sink {name} {why}; state whether the jobs of a key keep their order "
            "(true or false)",
        )


def _sinks(checked: Checked) -> Iterator[Problem]:
    """What each kind of sink has to say of its settings."""
    for name, sink in checked.settings.sinks.items():
        secrets = Pairs(getattr(sink, "config", {})).secrets()
        for at, text in sink.problems():
            for secret in secrets:
                text = text.replace(secret, MASK)
            yield Problem(_at(name, at), " ".join(text.split()))


def _loops(checked: Checked) -> Iterator[Problem]:
    """A job that is delivered into the queue it came from would be delivered again."""
    url, schema = checked.settings.database_url, checked.settings.db_schema
    for name, route, sink_name, sink in checked.pairs():
        if not isinstance(sink, RiverSink) or url is None or not sink.leads_to(url, schema):
            continue
        if sink.queue == "{queue}" or any(globs.intersect(q, sink.queue) for q in route.queues):
            yield Problem(
                ("sinks", sink_name, "queue"),
                f"{sink.queue} leads back to route {name}: the database, the schema and the queue "
                "are its own; set another queue",
                (("routes", name, "queues"), ("sinks", sink_name, "database_url")),
            )


def _overrides(checked: Checked) -> Iterator[Problem]:
    """What a route says of one of its sinks has to be something that the sink has."""
    for name, route in checked.settings.routes.items():
        for sink_name, own in route.overrides.items():
            path: Path = ("routes", name, "overrides", sink_name)
            sink = checked.settings.sinks.get(sink_name)
            if sink_name not in route.sinks or sink is None:
                if sink_name not in checked.sinks or sink is not None:
                    text = f"the route has no sink {sink_name}; its sinks: {', '.join(route.sinks)}"
                    yield Problem(path, text, (("routes", name, "sinks"),))
                continue
            for field in ("topic", "url", "detail_type"):
                if getattr(own, field) is not None and sink.destination[0] != field:
                    text = f"has no meaning for the sink {sink_name}, which is of type {sink.type}"
                    yield Problem((*path, field), text)
            known = set(sink.problems())
            for at, text in own.over(sink).problems():
                if (at, text) not in known:
                    yield Problem((*path, at) if at else path, " ".join(text.split()))


def _conditions(checked: Checked) -> Iterator[Problem]:
    for name, route in checked.settings.routes.items():
        path = ("routes", name, "when")
        if route.when is None:
            continue
        if route.ordered:
            yield Problem(
                path,
                "cannot be with ORDERED=true: the order of a key is that of its queue; give these "
                "jobs a queue of their own",
                (("routes", name, "ordered"),),
            )
        try:
            if checked.check_condition is not None:
                checked.check_condition(route.when)
        except (ConditionError, ConfigurationError) as error:
            yield Problem(path, " ".join(str(error).split()))


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


def _fan_out(checked: Checked) -> Iterator[Problem]:
    for name, route in checked.settings.routes.items():
        patience, sinks = ("routes", name, "patience"), ("routes", name, "sinks")
        if patience in checked.given and len(route.sinks) == 1:
            yield Problem(patience, "has no effect, as the route has one sink; unset it", (sinks,))


def _dead_letters(checked: Checked) -> Iterator[Problem]:
    for name, route in checked.settings.routes.items():
        path, sinks = ("routes", name, "dead_letters"), ("routes", name, "sinks")
        if route.dead_letters is None:
            continue
        yield from _known(checked, path, route.dead_letters)
        if route.dead_letters in route.sinks:
            yield Problem(
                path,
                f"{route.dead_letters} is one of the route's own sinks, which just failed then; "
                "name another",
                (sinks,),
            )
        elif (sink := checked.settings.sinks.get(route.dead_letters)) is not None:
            if _OF_THE_JOB.search(sink.destination[1]):
                yield Problem(
                    path,
                    f"the destination of sink {route.dead_letters} is made of a job's args or "
                    "metadata, which a job that is discarded may lack; use a fixed one, {kind} or "
                    "{queue}",
                    (_at(route.dead_letters, sink.destination[0]),),
                )
            if route.key is None and (why := sink.wants_key):
                yield Problem(
                    path,
                    f"sink {route.dead_letters} {why}, and this route has no key; give the route "
                    "one, or name another sink",
                    (("routes", name, "key"),),
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
    for route_name, route in settings.routes.items():
        for name, own in route.overrides.items():
            if own.url is not None and name in settings.sinks:
                for at, text in own.over(settings.sinks[name]).insecurities():
                    if at == "url":
                        path = ("routes", route_name, "overrides", name, "url")
                        yield path, text, settings.sinks[name].insecure
    for name, source in settings.sources.items():
        for at, text in insecure_properties(source.config):
            yield ("sources", name, at), text, source.insecure


def _at(sink: str, field: str) -> Path:
    return ("sinks", sink, field) if field else ("sinks", sink)


def _used_templates(checked: Checked) -> Iterator[Problem]:
    for name, sink in checked.settings.sinks.items():
        field, text = sink.destination
        yield from _templates(
            checked,
            [
                *(
                    (("sinks", name, sink.carried.get(header, "headers")), value)
                    for header, value in sink.message_headers.items()
                ),
                (_at(name, field), text),
            ],
        )
    for name, route in checked.settings.routes.items():
        if route.key:
            yield from _templates(checked, [(("routes", name, "key"), route.key)])
        for sink_name, own in route.overrides.items():
            path = ("routes", name, "overrides", sink_name)
            texts = [((*path, "headers"), value) for value in own.headers.values()]
            for field in ("topic", "url", "detail_type", "key"):
                if (text := getattr(own, field)) is not None:
                    texts.append(((*path, field), text))
            yield from _templates(checked, texts)


def _templates(checked: Checked, templates: Iterable[tuple[Path, str]]) -> Iterator[Problem]:
    for path, text in templates:
        try:
            if checked.check_template is not None:
                checked.check_template(text)
        except TemplateError as error:
            yield Problem(path, " ".join(str(error).split()))


_RULES: tuple[Callable[[Checked], Iterator[Problem]], ...] = (
    _times,
    _listening,
    _sinks_of_routes,
    _shared_queues,
    _overrides,
    _conditions,
    _keys_and_order,
    _sinks,
    _loops,
    _retries,
    _fan_out,
    _dead_letters,
    _security,
    _used_templates,
)
