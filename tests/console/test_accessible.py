"""Every page for everybody: light and dark, on a wide screen and a phone."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from riverbridge.console.database import COLOURS
from tests.support.axe import violations
from tests.support.browser import Browser
from tests.support.console_house import House, house, to_see
from tests.support.console_rows import fill, furnish
from tests.support.database import Database
from tests.support.wait import eventually

ADDRESSES = {
    "/": ["/", "/?range=7d"],
    "/jobs": [
        "/jobs?state=discarded",
        "/jobs",
        "/jobs?q=kind:nobody",
        "/jobs?q=state:x",
    ],
    "/views": ["/views"],
    "/jobs/{id:int}": ["/jobs/1", "/jobs/2", "/jobs/99999"],
    "/jobs/{id:int}/clone": ["/jobs/1/clone"],
    "/dead-letters": ["/dead-letters", "/dead-letters?q=state:x"],
    "/queues": ["/queues"],
    "/routes": ["/routes"],
    "/sources": ["/sources"],
    "/quarantine": ["/quarantine?before=1010", "/quarantine"],
    "/quarantine/{id:int}": ["/quarantine/1"],
    "/replays": ["/replays"],
    "/replays/new": ["/replays/new", "/replays/new?q=kind:order.placed&state=discarded"],
    "/periodic": ["/periodic"],
    "/operations": ["/operations"],
    "/operations/new": ["/operations/new?q=kind:order.placed"],
    "/operations/{id:int}": ["/operations/1", "/operations/2"],
    "/processes": ["/processes"],
    "/storage": ["/storage"],
    "/audit": ["/audit?before=20", "/audit?who=ann"],
    "/tail": ["/tail?q=kind:order.*"],
}
"""Where each page is seen, first with few rows; a new one is to be added, and rows for it in
`console_rows`."""

OPENED = "for (const one of document.querySelectorAll('details:not(.menu)')) one.open = true"

PHONE = 390


def test_every_page_is_looked_at() -> None:
    assert set(ADDRESSES) == {page.path for page in to_see()}


@pytest.fixture(scope="module")
def home(module_database: Database) -> Iterator[House]:
    with module_database.connect() as connection:
        assert fill(connection, "order.placed") == 1
        furnish(connection)
    with house(module_database, text="order.placed") as served:
        yield served


def lines(window: Browser) -> int:
    """How many lines the top of the page takes, by where the middles of its parts are."""
    return int(
        window.run(
            "return new Set([...document.querySelectorAll('.top > *, .top nav a')]"
            ".map((one) => one.getBoundingClientRect()).filter((box) => box.height)"
            ".map((box) => Math.round((box.top + box.bottom) / 20))).size"
        )
    )


def overhang(window: Browser) -> list[str]:
    """What makes the page wider than the screen."""
    return list(
        window.run(
            "const wide = document.documentElement.clientWidth;"
            "if (document.documentElement.scrollWidth <= wide) return [];"
            "return [...document.body.querySelectorAll('*')]"
            ".filter((one) => one.getBoundingClientRect().right > wide && !one.closest('.scroll'))"
            ".map((one) => one.outerHTML.slice(0, 120))"
        )
        or []
    )


@pytest.mark.parametrize("path", sorted(ADDRESSES))
def test_nothing_is_wrong(window: Browser, home: House, axe: str, path: str) -> None:
    window.open(f"{home.url}{ADDRESSES[path][0]}")
    assert violations(window, axe) == []
    assert lines(window) == 1
    assert overhang(window) == []
    window.look_like(width=PHONE)
    eventually(lambda: overhang(window) == [])
    assert [said for said in window.logged() if "Content Security" in said] == []


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [1400, PHONE])
def test_nothing_is_wrong_however_it_looks(
    window: Browser, home: House, axe: str, width: int, dark: bool
) -> None:
    window.look_like(width=width, dark=dark)
    found = []
    for addresses in ADDRESSES.values():
        for address in addresses:
            window.open(f"{home.url}{address}")
            window.run(OPENED)
            found += [f"{address}: {each}" for each in violations(window, axe)]
            found += [f"{address}: is too wide: {each}" for each in overhang(window)]
    assert found == []


OVER = {
    "the palette": "document.querySelector('[data-do=palette]').click()",
    "the keys": "document.dispatchEvent(new KeyboardEvent('keydown', {key: '?'}))",
    "a confirmation": "document.querySelector('td.pick input').click();"
    "document.querySelector('[data-act=delete]').click()",
    "the search": "document.querySelector('.search .help').open = true",
    "the menus": "for (const one of document.querySelectorAll('details.menu')) one.open = true",
}


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_nothing_is_wrong_over_the_page(window: Browser, home: House, axe: str, dark: bool) -> None:
    found = []
    for width in (1400, PHONE):
        for name, script in OVER.items():
            window.look_like(width=width, dark=dark)
            window.open(f"{home.url}/{'routes' if name == 'the menus' else 'jobs'}")
            eventually(
                lambda: window.run("return !document.querySelector('[data-do=theme]').hidden")
            )
            window.run(script)
            found += [f"{name}: {each}" for each in violations(window, axe)]
            found += [f"{name}: is too wide: {each}" for each in overhang(window)]
            assert window.run(CUT_OFF) == [], name
    assert found == []


CUT_OFF = """
return [...document.querySelectorAll("dialog[open], details.menu[open] > *")]
  .filter((one) => one.getBoundingClientRect().left < 0).map((one) => one.outerHTML.slice(0, 120));
"""


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_each_colour_of_a_database_can_be_read(
    window: Browser, home: House, axe: str, dark: bool
) -> None:
    window.look_like(dark=dark)
    window.open(f"{home.url}/queues")
    for colour in COLOURS:
        window.run("document.querySelector('.label').dataset.colour = arguments[0]", colour)
        assert violations(window, axe, within=".top") == []


def test_on_a_phone_the_pages_are_in_a_menu(window: Browser, home: House) -> None:
    def seen() -> bool:
        return bool(window.run("return document.querySelector('#pages').offsetHeight > 0"))

    window.look_like(width=PHONE)
    window.open(f"{home.url}/jobs")
    eventually(lambda: not seen())
    eventually(lambda: window.clicked("//button[text()='Menu']"))
    assert seen()
    eventually(lambda: window.clicked("//nav[@id='pages']//a[text()='Queues']"))
    eventually(lambda: window.title().startswith("Queues"))
    assert not seen()
