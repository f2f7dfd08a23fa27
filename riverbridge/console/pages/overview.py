"""The first page: what goes in, what is done, what fails, what waits and for how long."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from starlette.requests import Request
from starlette.responses import Response

from riverbridge.console.charts import Chart, Series, chart
from riverbridge.console.frame import Page, Refused, Role
from riverbridge.console.ground import Ground
from riverbridge.console.pages.jobs import STATES
from riverbridge.console.templating import count, duration
from riverbridge.model.history import Line, quantile
from riverbridge.store.overview import RANGES, Overview
from riverbridge.store.overview import overview as read_overview

DEFAULT = "1h"

SINKS_DRAWN = 4
"""Sinks that have a chart of their own; the table has more."""


def overview(request: Request, ground: Ground) -> Response:
    """Charts of a range, and the busiest queues and kinds."""
    name = request.query_params.get("range", DEFAULT)
    if name not in RANGES:
        raise Refused(400, f"range must be one of {', '.join(RANGES)}")
    found = ground.read(request, read_overview(name, schema=ground.database(request).schema))
    return ground.render(
        request,
        "overview.html",
        ranges=list(RANGES),
        chosen=name,
        states=STATES,
        found=found,
        charts=charts(found),
        quantile=quantile,
    )


def charts(found: Overview) -> list[Chart]:
    """In the order of the page."""
    step = found.span.step

    def series(name: str, tone: str, value: Callable[[Line], float | None]) -> Series:
        return line_of(found.lines, name, tone, value)

    def draw(key: str, title: str, spell: Callable[[float], str], lines: Sequence[Series]) -> Chart:
        return chart(key, title, found.span.instants, lines, spell)

    def within(share: float, of: Callable[[Line], Sequence[int]]) -> Callable[[Line], float | None]:
        return lambda line: quantile(of(line), share)

    def latency(of: Callable[[Line], Sequence[int]]) -> list[Series]:
        return [
            series("Half within", "half", within(0.5, of)),
            series("95 % within", "most", within(0.95, of)),
        ]

    throughput = [
        series("Inserted", "in", lambda line: line.inserted / step),
        series("Completed", "done", lambda line: line.completed / step),
        series("Failed attempts", "failed", lambda line: line.failed / step),
    ]
    backlog = [series("Available and due", "waiting", lambda line: line.available)]
    oldest = [series("Oldest job", "waiting", lambda line: line.oldest)]
    sinks = [
        draw(
            f"sink-{place}",
            f"Messages a second, sink {name}",
            rate,
            [
                line_of(lines, "Delivered", "done", lambda line: line.completed / step),
                line_of(lines, "Failed", "failed", lambda line: line.failed / step),
            ],
        )
        for place, (name, lines) in enumerate(list(found.of_sinks.items())[:SINKS_DRAWN])
    ]
    return [
        draw("throughput", "Jobs a second", rate, throughput),
        draw("backlog", "Jobs waiting", count, backlog),
        draw("oldest", "The oldest has waited for", duration, oldest),
        draw("wait", "From due to begun", duration, latency(lambda line: line.wait)),
        draw("run", "From begun to ended", duration, latency(lambda line: line.run)),
        *sinks,
    ]


def line_of(
    lines: Sequence[Line | None], name: str, tone: str, value: Callable[[Line], float | None]
) -> Series:
    """A value of each line; None where there is none."""
    return Series(name, tone, [None if line is None else value(line) for line in lines])


def rate(value: float) -> str:
    """A number a second, with no more digits than say something."""
    return f"{value:.2f}" if value < 10 else count(round(value))


PAGES = (Page("/", overview, Role.VIEWER),)
