"""Line charts as SVG, computed here and drawn by the template `chart.html`.

A chart is a picture with a title and a description, and a table of the same numbers. Colours are
classes; nothing in it is a style or a script.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

WIDTH = 640
HEIGHT = 180
LEFT = 64
RIGHT = 8
TOP = 10
BOTTOM = 24

TICKS = 4

UNKNOWN = "–"  # noqa: RUF001 - a dash, as in tables


class Series(NamedTuple):
    """One line. tone: the class of its colour. values: one for each instant, None where unknown."""

    name: str
    tone: str
    values: Sequence[float | None]


class Line(NamedTuple):
    """A line as it is drawn: `points` of a polyline each, broken where nothing is known."""

    name: str
    tone: str
    pieces: list[str]


class Tick(NamedTuple):
    """A mark on an axis: its place and its words."""

    place: float
    text: str


class Chart(NamedTuple):
    """What `chart.html` draws."""

    key: str
    title: str
    description: str
    lines: list[Line]
    across: list[Tick]
    up: list[Tick]
    head: list[str]
    rows: list[list[str]]

    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    bottom: int = HEIGHT - BOTTOM


def chart(
    key: str,
    title: str,
    instants: Sequence[datetime],
    series: Sequence[Series],
    spell: Callable[[float], str],
) -> Chart:
    """key: unique on the page. spell: a value in words, with its unit."""
    known = [value for one in series for value in one.values if value is not None]
    most = _round_up(max(known, default=0.0))
    return Chart(
        key,
        title,
        _description(series, spell),
        [Line(one.name, one.tone, list(_pieces(one.values, most))) for one in series],
        _across(instants),
        [Tick(_y(most * n / TICKS, most), spell(most * n / TICKS)) for n in range(0, TICKS + 1, 2)],
        ["Time (UTC)", *(one.name for one in series)],
        [
            [_clock(at, instants), *(_cell(one.values[n], spell) for one in series)]
            for n, at in enumerate(instants)
        ],
    )


def _description(series: Sequence[Series], spell: Callable[[float], str]) -> str:
    parts = []
    for one in series:
        known = [value for value in one.values if value is not None]
        if known:
            parts.append(f"{one.name}: now {spell(known[-1])}, at most {spell(max(known))}")
    return "; ".join(parts) or "nothing is known of this time"


def _pieces(values: Sequence[float | None], most: float) -> Iterator[str]:
    piece: list[str] = []
    for n, value in enumerate([*values, None]):
        if value is not None:
            piece.append(f"{_x(n, len(values)):.1f},{_y(value, most):.1f}")
        elif piece:
            # A single point has no length; a stroke a pixel long shows it.
            yield " ".join(piece) if len(piece) > 1 else f"{piece[0]} {_beside(piece[0])}"
            piece = []


def _beside(point: str) -> str:
    x, _, y = point.partition(",")
    return f"{float(x) + 1:.1f},{y}"


def _x(n: int, count: int) -> float:
    return LEFT + (WIDTH - LEFT - RIGHT) * (n / max(1, count - 1))


def _y(value: float, most: float) -> float:
    return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * (value / most)


def _round_up(value: float) -> float:
    """To 1, 2 or 5 times a power of ten, at least by a little above nothing."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= value * (1 - 1e-9))


def _across(instants: Sequence[datetime]) -> list[Tick]:
    last = len(instants) - 1
    places = sorted({round(last * n / TICKS) for n in range(TICKS + 1)}) if last > 0 else []
    return [Tick(_x(n, len(instants)), _clock(instants[n], instants)) for n in places]


def _clock(at: datetime, instants: Sequence[datetime]) -> str:
    long = instants[-1] - instants[0] > timedelta(days=1)
    return f"{at:%m-%d %H:%M}" if long else f"{at:%H:%M}"


def _cell(value: float | None, spell: Callable[[float], str]) -> str:
    return UNKNOWN if value is None else spell(value)
