"""What the rules of several settings look at."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from riverbridge.errors import ConditionError, ConfigurationError, TemplateError
from riverbridge.settings.models import Route, Settings
from riverbridge.settings.reading import Problem
from riverbridge.settings.shape import Path
from riverbridge.settings.sinks import SinkSettings
from riverbridge.settings.sinks.check import Found, within

CheckTemplate = Callable[[str], object]
CheckCondition = Callable[[str], object]


@dataclass(frozen=True)
class Checked:
    """What the rules look at: the settings that could be read and what the user gave."""

    settings: Settings
    given: frozenset[Path]
    sinks: tuple[str, ...]
    """The names of all sinks, also of those whose own settings are wrong."""
    check_template: CheckTemplate | None = None
    check_body: CheckTemplate | None = None
    check_condition: CheckCondition | None = None
    check_event_template: CheckTemplate | None = None
    check_event_condition: CheckCondition | None = None

    def pairs(self) -> Iterator[tuple[str, Route, str, SinkSettings]]:
        """Each route with each of its sinks, as that is for the route."""
        for name, route in self.settings.routes.items():
            for sink in route.sinks:
                if sink in self.settings.sinks:
                    yield name, route, sink, route.at(sink, self.settings.sinks[sink])[0]


def found_in(sink: SinkSettings) -> list[Found]:
    """What a sink has to say of its settings: its kind's own, and those that every kind has."""
    return [*sink.problems(), *within("large", sink.large.problems(sink.way, sink.envelope))]


def sink_path(sink: str, field: str) -> Path:
    return ("sinks", sink, *field.split(".")) if field else ("sinks", sink)


def judged(check: CheckCondition | None, path: Path, text: str | None) -> Iterator[Problem]:
    """A problem, if `check` refuses the condition."""
    try:
        if check is not None and text is not None:
            check(text)
    except (ConditionError, ConfigurationError) as error:
        yield Problem(path, " ".join(str(error).split()))


def parsed(check: CheckTemplate | None, templates: Iterable[tuple[Path, str]]) -> Iterator[Problem]:
    """A problem for each template that `check` refuses."""
    for path, text in templates:
        try:
            if check is not None:
                check(text)
        except TemplateError as error:
            yield Problem(path, " ".join(str(error).split()))
