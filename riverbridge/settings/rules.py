"""What no single value shows: combinations that cannot work, each a small function."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from riverbridge.model import globs
from riverbridge.settings import checks
from riverbridge.settings.checked import Checked, found_in, parsed, sink_path
from riverbridge.settings.http_rules import HTTP_RULES
from riverbridge.settings.models import Settings
from riverbridge.settings.reading import Problem
from riverbridge.settings.route_rules import ROUTE_RULES
from riverbridge.settings.secrets import MASK, Pairs
from riverbridge.settings.shape import Path, variable
from riverbridge.settings.sinks.check import within
from riverbridge.settings.sinks.river import RiverSink
from riverbridge.settings.source_rules import SOURCE_RULES
from riverbridge.settings.values import spell


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
    hosts = {s.http.host, s.probes.host}
    if s.http.port and s.http.port == s.probes.port and len(hosts) == 2 and hosts & checks.WIDE:
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


def _sinks(checked: Checked) -> Iterator[Problem]:
    """What each kind of sink has to say of its settings."""
    for name, sink in checked.settings.sinks.items():
        secrets = Pairs(getattr(sink, "config", {})).secrets()
        for at, text in found_in(sink):
            if at == "large.bucket" and sink.large.bucket and _claimed(checked, name):
                continue
            for secret in secrets:
                text = text.replace(secret, MASK)
            yield Problem(sink_path(name, at), " ".join(text.split()))


def _claimed(checked: Checked, sink: str) -> bool:
    """Whether some route stores large messages for a sink that itself does not."""
    overrides = (route.overrides.get(sink) for route in checked.settings.routes.values())
    return any(own is not None and own.large.policy == "claim-check" for own in overrides)


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


def _security(checked: Checked) -> Iterator[Problem]:
    for path, text, sink in _insecure(checked.settings):
        if not sink:
            flag = (*path[:2], "insecure")
            yield Problem(path, f"{text}; if that is meant, set {variable(flag)}=true", (flag,))


def _insecure(settings: Settings) -> Iterator[tuple[Path, str, bool]]:
    """Path, what is insecure there, and whether it is allowed."""
    for name, sink in settings.sinks.items():
        found = [*sink.insecurities(), *within("large", sink.large.insecurities())]
        for at, text in found:
            yield sink_path(name, at), text, sink.insecure
    for route_name, route in settings.routes.items():
        for name, own in route.overrides.items():
            if own.url is not None and name in settings.sinks:
                for at, text in own.over(settings.sinks[name]).insecurities():
                    if at == "url":
                        path = ("routes", route_name, "overrides", name, "url")
                        yield path, text, settings.sinks[name].insecure
    for name, source in settings.sources.items():
        for at, text in (
            *source.insecurities(),
            *within("fetch", source.fetch.insecurities()),
        ):
            yield ("sources", name, *at.split(".")), text, source.insecure


def _used_templates(checked: Checked) -> Iterator[Problem]:
    for name, sink in checked.settings.sinks.items():
        field, text = sink.destination
        yield from parsed(
            checked.check_template,
            [
                *(
                    (("sinks", name, sink.carried.get(header, "headers")), value)
                    for header, value in sink.message_headers.items()
                ),
                (sink_path(name, field), text),
                *([(sink_path(name, "partition"), sink.place)] if sink.place else ()),
            ],
        )
        if sink.body is not None:
            yield from parsed(checked.check_body, [(sink_path(name, "body"), sink.body)])
    for name, route in checked.settings.routes.items():
        if route.key:
            yield from parsed(checked.check_template, [(("routes", name, "key"), route.key)])
        for sink_name, own in route.overrides.items():
            path = ("routes", name, "overrides", sink_name)
            texts = [((*path, "headers"), value) for value in own.headers.values()]
            for field in ("topic", "url", "detail_type", "key"):
                if (text := getattr(own, field)) is not None:
                    texts.append(((*path, field), text))
            yield from parsed(checked.check_template, texts)


_RULES: tuple[Callable[[Checked], Iterator[Problem]], ...] = (
    _times,
    _listening,
    *HTTP_RULES,
    *ROUTE_RULES,
    _sinks,
    _loops,
    *SOURCE_RULES,
    _security,
    _used_templates,
)
