"""What no single value of a source shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from riverbridge.settings import checks
from riverbridge.settings.checked import Checked, judged, parsed
from riverbridge.settings.reading import Problem
from riverbridge.settings.secrets import MASK, Pairs
from riverbridge.settings.shape import variable


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
        yield from parsed(checked.check_event_template, templates)
        yield from judged(checked.check_event_condition, ("sources", name, "filter"), source.filter)


def _hooks(checked: Checked) -> Iterator[Problem]:
    """Where webhooks listen, if there is a source that takes any."""
    s = checked.settings
    sources = {name: one for name, one in s.sources.items() if one.listens}
    for name, source in sources.items():
        if (why := source.wants_loopback) and not checks.is_loopback(s.hooks.host):
            yield Problem(
                ("hooks", "host"),
                f"is not loopback, but source {name} {why}",
                (("sources", name),),
            )
    for table, part in (("probes", s.probes), ("http", s.http)) if sources else ():
        hosts = {s.hooks.host, part.host}
        if s.hooks.port and s.hooks.port == part.port and len(hosts) == 2 and hosts & checks.WIDE:
            yield Problem(
                ("hooks", "port"),
                f"{s.hooks.port} is also the port of {variable((table, 'port'))}, which listens on "
                "another address that overlaps; choose another port",
                (("hooks", "host"), (table, "host"), (table, "port")),
            )
            return


SOURCE_RULES: tuple[Callable[[Checked], Iterator[Problem]], ...] = (_sources, _hooks)
