"""Texts that would be scripts, in every field that a page shows, in a real browser: they are read,
and nothing of them is done."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import psycopg
import pytest

from tests.console.test_accessible import ADDRESSES, OPENED
from tests.support.browser import Browser
from tests.support.console import insert
from tests.support.console_house import House, house
from tests.support.console_rows import fill
from tests.support.database import Database
from tests.support.wait import eventually

DONE = "window.taken=1"

PAYLOADS = {
    "an element": f"\"'><img src=x onerror={DONE}><svg/onload={DONE}>",
    "a script": f"</title></script></textarea><script>{DONE}</script>",
    "an attribute": f'" autofocus onfocus={DONE} onmouseover={DONE} style=animation-name:x x="',
    "an address": f"javascript:{DONE}//",
    "a template": "{{" + DONE + "}}${" + DONE + "}<%=" + DONE + "%>[[" + DONE + "]]",
    "a frame": f"<iframe srcdoc='<script>parent.{DONE}</script>'></iframe><base href=//x.example>",
    "what htmx does": f"<b hx-on:load='{DONE}' hx-get=/x hx-trigger=load data-do=theme>",
}
"""All shorter than 128 characters, the least that a field allows."""

UNSEEN = {"/storage", "/tail", "/jobs/{id:int}/clone"}
"""Where it is not to be read as it is: there is none, none yet, or it is in a form's fields."""

ASKED = [
    ("/jobs", "q"), ("/jobs", "state"), ("/dead-letters", "q"), ("/quarantine", "source"),
    ("/quarantine", "reason"), ("/audit", "who"), ("/audit", "subject"), ("/replays/new", "q"),
    ("/replays/new", "sink"), ("/tail", "q"), ("/", "range"),
]  # fmt: skip

POKE = """
for (const one of document.querySelectorAll("*")) {
  for (const kind of ["mouseover", "mouseenter", "focus", "pointerdown"]) {
    one.dispatchEvent(new Event(kind, { bubbles: true }));
  }
}
"""

FOREIGN = """
const all = [...document.querySelectorAll("*")];
const ours = (one) => (one.src ?? "").startsWith(location.origin + "/static/");
const leads = ["href", "action", "formaction", "xlink:href"];
return [
  ...all.filter((one) => one.matches("iframe, object, embed, base, style, [style]")),
  ...all.filter((one) => one.matches("script, img") && !ours(one)),
  ...all.filter((one) => leads.some((name) =>
    one.hasAttribute(name) && !/^(\\/(?!\\/)|#main$)/.test(one.getAttribute(name)))),
  ...all.filter((one) => one.getAttributeNames().some((name) => /^(on|hx-|data-hx-)/.test(name))),
].map((one) => one.outerHTML.slice(0, 200));
"""


def unharmed(window: Browser, where: str) -> None:
    window.run(OPENED)
    window.run(POKE)
    assert window.run("return window.taken") is None, where
    assert window.run(FOREIGN) == [], where
    said = [each for each in window.logged() if "status of 40" not in each]
    assert said == [], where  # not even tried: the policy would have refused it here


@pytest.fixture(params=PAYLOADS)
def payload(request: pytest.FixtureRequest) -> str:
    return PAYLOADS[request.param]


@pytest.fixture
def evil(
    window: Browser, tables: Database, look: psycopg.Connection[Any], payload: str
) -> Iterator[tuple[House, int]]:
    id = fill(look, payload)
    assert len(columns_with(look, payload)) >= 30
    with house(tables, text=payload, label=payload) as served:
        yield served, id
        leave(window)


def columns_with(look: psycopg.Connection[Any], text: str) -> set[str]:
    """The columns that hold a text as it is; of those that hold JSON or bytes, none."""
    tables = look.execute(
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"
    ).fetchall()
    return {
        f"{table}.{name}"
        for (table,) in tables
        for (row,) in look.execute(f"SELECT to_json(t) FROM {table} AS t".encode())
        for name, value in row.items()
        if text in (value, *(value if isinstance(value, list) else []))
    }


def leave(window: Browser) -> None:
    """So that nothing is watched any more when the console ends."""
    window.open("about:blank")
    window.logged()


@pytest.mark.slow
def test_no_page_does_what_a_field_says(
    window: Browser, evil: tuple[House, int], payload: str
) -> None:
    home, id = evil
    unseen = []
    for path, addresses in ADDRESSES.items():
        address = path.replace("{id:int}", str(id)) if "{" in path else addresses[0]
        address = address.replace("q=kind:order.placed", "q=kind:*")
        window.open(f"{home.url}{address}")
        unharmed(window, address)
        if payload not in window.run("return document.querySelector('main').textContent"):
            unseen.append(path)
    assert set(unseen) <= UNSEEN


@pytest.mark.slow
def test_no_page_does_what_its_address_says(
    window: Browser, evil: tuple[House, int], payload: str
) -> None:
    home, _ = evil
    for path, name in ASKED:
        window.open(f"{home.url}{path}?{urlencode({name: payload})}")
        unharmed(window, f"{path} {name}")


def test_what_is_watched_live_is_text(
    window: Browser, home_of_tail: House, look: psycopg.Connection[Any]
) -> None:
    """The live tail and the palette build their elements by script."""
    window.open(f"{home_of_tail.url}/tail")
    eventually(lambda: "Watching" in window.text())
    for text in PAYLOADS.values():
        insert(look, kind=text, queue=text, args={text: text})
    eventually(lambda: all(text in window.text() for text in PAYLOADS.values()))
    window.hold("\ue009", "k")
    eventually(lambda: window.run("return !!document.querySelector('#palette[open]')"))
    window.press(PAYLOADS["an element"])
    eventually(lambda: f"Search jobs for {PAYLOADS['an element']}" in window.text())
    unharmed(window, "/tail")


@pytest.fixture
def home_of_tail(window: Browser, tables: Database) -> Iterator[House]:
    with house(tables) as served:
        yield served
        leave(window)
