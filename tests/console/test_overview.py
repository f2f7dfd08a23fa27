"""The overview: charts of what was written, as pictures and as tables."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree

import psycopg
import pytest

from riverbridge.console.charts import HEIGHT, UNKNOWN, WIDTH, Series, chart
from riverbridge.console.pages.overview import SINKS_DRAWN
from riverbridge.model.history import BOUNDS
from riverbridge.store.overview import RANGES, span_of
from tests.support.console import Markup
from tests.support.console_server import Site, console_on
from tests.support.database import Database

NOW = datetime(2026, 3, 4, 5, 17, 42, tzinfo=UTC)


def test_a_chart_breaks_where_nothing_is_known_and_has_the_numbers_as_a_table() -> None:
    instants = [NOW + timedelta(minutes=n) for n in range(5)]
    series = Series("S", "in", [1, 3, None, 0, None])
    drawn = chart("c", "C", instants, [series], lambda value: f"{value:g}/s")
    [line] = drawn.lines
    assert len(line.pieces) == 2
    for x, y in re.findall(r"([\d.]+),([\d.]+)", " ".join(line.pieces)):
        assert 0 <= float(x) <= WIDTH
        assert 0 <= float(y) <= HEIGHT
    assert [row[1] for row in drawn.rows] == ["1/s", "3/s", UNKNOWN, "0/s", UNKNOWN]
    assert drawn.up[-1].text == "5/s"
    assert drawn.description == "S: now 0/s, at most 3/s"


@pytest.mark.parametrize("values", [[], [None], [0.0], [1e-9, None], [1e12, 1e12]])
def test_a_chart_of_little_is_a_chart(values: list[float | None]) -> None:
    instants = [NOW + timedelta(minutes=n) for n in range(len(values))]
    drawn = chart("c", "C", instants, [Series("S", "in", values)], str)
    assert len(drawn.rows) == len(values)


@pytest.mark.parametrize("name", RANGES)
def test_a_span_ends_where_the_history_is_written(name: str) -> None:
    seconds, step = RANGES[name]
    span = span_of(name, NOW)
    assert len(span.instants) == seconds // step
    assert span.instants[-1] + timedelta(seconds=step) <= NOW
    assert NOW - span.instants[-1] < timedelta(seconds=2 * step + 30)


@pytest.fixture(scope="module")
def site(module_database: Database) -> Iterator[Site]:
    with console_on(module_database) as site:
        yield site


def write(look: psycopg.Connection) -> None:
    """Ten minutes of 120 jobs a minute, one in ten of which failed once."""
    histogram = [0] * (len(BOUNDS) + 1)
    histogram[7] = 120
    look.execute(
        "INSERT INTO riverbridge_history (step, at, facet, name, inserted, completed, failed, wait,"
        " run, available, oldest)"
        " SELECT step, date_trunc('minute', now()) - n * interval '1 min', facet, name, 120, 120,"
        " 12,"
        " %(histogram)s, %(histogram)s, 33, 4.5"
        " FROM generate_series(1, 10) AS n, (VALUES (60)) AS s (step),"
        " (VALUES ('all', ''), ('queue', 'mail<b>'), ('kind', 'k')) AS v (facet, name)",
        {"histogram": histogram},
    )


def test_shows_what_was_written(site: Site, tables: Database) -> None:
    with tables.connect() as look:
        write(look)
        said = site.get("/", range="15m")
    assert said.status == 200
    page = said.body.decode()
    assert "mail&lt;b&gt;" in page
    assert "mail<b>" not in page
    assert " style=" not in page
    pictures = [
        ElementTree.fromstring(f"{found}</svg>")
        for found in re.findall(r"(<svg class=\"chart-picture\".*?)</svg>", page, re.DOTALL)
    ]
    assert len(pictures) == 5
    for picture in pictures:
        assert picture.find("desc") is not None
        assert picture.find(".//polyline") is not None
    assert page.count('<th scope="row">') == 5 * 15
    assert "Inserted: now 2.00, at most 2.00" in page
    assert "Failed attempts: now 0.20" in page
    assert "9.1 %" in page  # 12 of 132 attempts


def test_sinks_have_their_charts_and_a_table(site: Site, tables: Database) -> None:
    histogram = [0] * (len(BOUNDS) + 1)
    histogram[7] = 120
    with tables.connect() as look:
        look.execute(
            "INSERT INTO riverbridge_history (step, at, facet, name, completed, failed, run)"
            " SELECT 60, date_trunc('minute', now()) - n * interval '1 min', 'sink', name, jobs,"
            " 12, %s FROM generate_series(1, 10) AS n,"
            " (VALUES ('ev<b>', 120), ('b', 9), ('c', 8), ('d', 7), ('e', 6)) AS v (name, jobs)",
            [histogram],
        )
        page = site.get("/", range="15m").body.decode()
        lines = site.get("/api/bridge/history", range="15m", facet="sink").body["lines"]
    assert page.count('class="chart-picture"') == 5 + SINKS_DRAWN
    assert "Messages a second, sink ev&lt;b&gt;" in page
    assert "Delivered: now 2.00, at most 2.00; Failed: now 0.20, at most 0.20" in page
    words = Markup(page).text.replace("\u202f", " ")
    assert re.search(r"ev<b> 1.200 120 9\.1 % 1\d\d ms 19\d ms", words)
    assert re.search(r" e 60 120 66\.7 %", words)
    assert {line["name"] for line in lines} == {"ev<b>", "b", "c", "d", "e"}


@pytest.mark.parametrize("name", RANGES)
def test_shows_every_range_though_nothing_is_known(site: Site, tables: Database, name: str) -> None:
    said = site.get("/", range=name)
    assert said.status == 200
    assert "nothing is known of this time" in said.body.decode()


def test_refuses_another_range(site: Site) -> None:
    assert site.get("/", range="2y").status == 400
