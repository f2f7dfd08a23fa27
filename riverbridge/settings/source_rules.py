"""What no single value of a source shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from riverbridge.settings.checked import Checked, judged, parsed
from riverbridge.settings.reading import Problem
from riverbridge.settings.secrets import MASK, Pairs


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


SOURCE_RULES: tuple[Callable[[Checked], Iterator[Problem]], ...] = (_sources,)
