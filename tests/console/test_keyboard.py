"""The console with nothing but a keyboard: what somebody on call does, and where the focus is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from tests.support.axe import violations
from tests.support.browser import Browser
from tests.support.console import insert
from tests.support.console_house import House, house
from tests.support.console_rows import fill
from tests.support.database import Database
from tests.support.wait import eventually

ENTER, ESCAPE, TAB, CONTROL, SPACE = "\ue007", "\ue00c", "\ue004", "\ue009", " "
SHIFT = "\ue008"

AT = """
const at = document.activeElement;
const box = at.getBoundingClientRect();
const look = getComputedStyle(at);
const middle = document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2);
const seen = middle && (at.contains(middle) || middle.contains(at));
const outlined = look.outlineStyle !== "none" && parseFloat(look.outlineWidth) >= 2;
return {
  name: at === document.body ? "" : at.ariaLabel || at.textContent.trim() || at.value || at.id,
  tag: at.tagName.toLowerCase(),
  dialog: at.closest("dialog")?.id ?? "",
  shown: at === document.body || at.id === "main"
    || (!!seen && (outlined || !!at.closest("tr.here"))),
};
"""


@pytest.fixture(scope="module")
def home(module_database: Database) -> Iterator[House]:
    with house(module_database) as served:
        yield served


class Hands:
    """Somebody who has no mouse, and sees at each key where they are."""

    def __init__(self, window: Browser, look: psycopg.Connection[Any]) -> None:
        self.window = window
        self._look = look

    def press(self, *keys: str) -> None:
        for key in keys:
            self.window.press(key)

    def at(self) -> dict[str, Any]:
        found: dict[str, Any] = self.window.run(AT)
        return found

    def is_at(self, name: str) -> None:
        def there() -> bool:
            at = self.at()
            assert name in at["name"], at
            assert at["shown"], at
            return True

        eventually(there)

    def leave(self) -> None:
        """Press Escape, which closes a dialog a moment later."""
        self.press(ESCAPE)
        eventually(lambda: not self.window.run("return !!document.querySelector('dialog[open]')"))

    def sees(self, *texts: str) -> None:
        eventually(lambda: all(text in self.window.text() for text in texts))

    def state(self, id: int) -> str:
        row = self._look.execute("SELECT state::text FROM river_job WHERE id = %s", [id]).fetchone()
        return "" if row is None else str(row[0])


@pytest.fixture
def hands(window: Browser, look: psycopg.Connection[Any]) -> Hands:
    return Hands(window, look)


def test_on_call(
    hands: Hands, home: House, tables: Database, look: psycopg.Connection[Any], axe: str
) -> None:
    mail = insert(look, kind="mail", state="discarded", errors=[ERROR | {"error": "no such box"}])
    for n in range(3):
        insert(look, kind="order", state="discarded", errors=[ERROR | {"error": f"no sku {n}"}])
    hands.window.open(f"{home.url}/")

    hands.window.hold(CONTROL, "k")
    hands.is_at("Where to")
    hands.press("dead")
    hands.sees("Dead letters")
    assert violations(hands.window, axe) == []
    hands.press(ENTER)
    hands.sees("no such box", "no sku *")

    hands.press("j")  # the group with most jobs comes first
    hands.is_at("no sku *")
    hands.press("j", "k", "j")
    hands.is_at("no such box")
    hands.press(ENTER)
    hands.sees("mail", "no such box", "Newest first")
    hands.press("j", ENTER)
    hands.sees(f"Jobs / {mail}", "What happened")

    hands.press("r")
    hands.sees(f"Retry job {mail}?")
    assert violations(hands.window, axe) == []
    hands.leave()
    assert hands.state(mail) == "discarded"
    hands.press("r")
    hands.sees(f"Retry job {mail}?")
    hands.is_at("Retry")
    hands.press(ENTER)
    hands.sees("1 job made available")
    assert hands.state(mail) == "available"

    hands.press("/")
    hands.sees("Newest first")
    hands.press("/")
    hands.is_at("")
    hands.press("kind:order", ENTER)
    hands.sees("All that match…")
    eventually(lambda: "mail" not in hands.window.text())


ERROR = {"at": "2026-01-02T03:04:05Z", "attempt": 1, "trace": ""}


def tab_to(hands: Hands, name: str, back: bool = False) -> None:
    """Tab until there; each stop on the way can be seen."""
    passed = []
    for _ in range(60):
        if back:
            hands.window.hold(SHIFT, TAB)
        else:
            hands.press(TAB)
        at = hands.at()
        assert at["shown"], at
        passed.append(at["name"])
        if at["name"].startswith(name):
            return
    raise AssertionError(f"{name} was not reached by Tab: {passed}")


def test_all_that_match(
    hands: Hands, home: House, tables: Database, look: psycopg.Connection[Any]
) -> None:
    ids = [insert(look, kind="order", state="discarded") for _ in range(3)]
    hands.window.open(f"{home.url}/jobs?q=kind:order&state=discarded")
    tab_to(hands, "All that match")
    hands.press(ENTER)
    hands.sees("3 jobs match")
    tab_to(hands, "Retry all")
    hands.press(ENTER)
    hands.sees("Retry all that match?")
    tab_to(hands, "Leave it")
    hands.press(ENTER)
    hands.is_at("Retry all")  # where it came from
    hands.press(ENTER)
    hands.is_at("Retry")
    hands.press(ENTER)
    hands.sees("Retry all that match", "open", "0 of about 3")
    tab_to(hands, "Stop")
    hands.press(SPACE)
    hands.sees("Stop operation 1?")
    hands.press(ENTER)
    hands.sees("cancelled")
    assert look.execute("SELECT state FROM riverbridge_operation").fetchall() == [("cancelled",)]
    assert [hands.state(id) for id in ids] == ["discarded"] * 3


@pytest.mark.parametrize("path", ["/jobs", "/dead-letters", "/routes", "/quarantine/1", "/"])
def test_tab_goes_round_and_is_seen(
    hands: Hands, home: House, tables: Database, look: psycopg.Connection[Any], path: str
) -> None:
    fill(look, "order.placed")
    hands.window.open(f"{home.url}{path}")
    hands.press(TAB)
    hands.is_at("Skip to the page")
    stops = hands.window.run(
        "return [...document.querySelectorAll('a[href], button, input, select, textarea,"
        ' summary, [tabindex="0"]\')].filter((one) => one.checkVisibility() && !one.disabled'
        " && one.type !== 'hidden').length"
    )
    seen = 1
    while seen < 3 * stops:
        hands.press(TAB)
        at = hands.at()
        assert at["shown"], at
        if at["tag"] == "body" or at["name"] == "Skip to the page":
            break
        seen += 1
    assert stops - 2 <= seen < 3 * stops  # all of them, and round again


def test_skipping_to_the_page(hands: Hands, home: House, tables: Database) -> None:
    hands.window.open(f"{home.url}/jobs")
    hands.press(TAB, ENTER)
    assert hands.at()["tag"] == "main"
    tab_to(hands, "all")  # the first of the page itself


def test_escape_leaves_menus(
    hands: Hands, home: House, tables: Database, look: psycopg.Connection[Any]
) -> None:
    hands.window.open(f"{home.url}/routes")
    tab_to(hands, "Pause…")
    hands.press(ENTER)
    tab_to(hands, "Why")
    hands.press("the move", ESCAPE)
    hands.is_at("Pause…")
    assert hands.window.run("return document.querySelector('details.menu[open]')") is None
    hands.window.look_like(width=390)
    hands.window.open(f"{home.url}/queues")
    tab_to(hands, "Menu")
    hands.press(ENTER)
    tab_to(hands, "Overview")
    hands.press(ESCAPE)
    hands.is_at("Menu")
    assert hands.window.run("return document.querySelector('#pages').offsetHeight") == 0


def test_keys_are_listed_and_can_be_silenced(
    hands: Hands, home: House, tables: Database, look: psycopg.Connection[Any]
) -> None:
    insert(look, kind="mail")
    hands.window.open(f"{home.url}/jobs")
    hands.press("?")
    hands.sees("next row, row before", "Keys of a single character are on")
    hands.is_at("Close")
    tab_to(hands, "on", back=True)
    hands.press(SPACE)
    hands.leave()
    hands.press("j", "?")
    assert hands.at()["tag"] == "body"
    hands.window.hold(CONTROL, "k")
    hands.is_at("Where to")
    hands.press("keys", ENTER)
    hands.is_at("Close")
    tab_to(hands, "on", back=True)
    hands.press(SPACE)
    hands.leave()
    hands.press("j")
    hands.is_at("mail")


def test_the_focus_outlives_what_is_live(
    hands: Hands, home: House, tables: Database, look: psycopg.Connection[Any]
) -> None:
    insert(look, kind="mail")
    hands.window.open(f"{home.url}/jobs")
    hands.press("j")
    hands.is_at("mail")
    insert(look, kind="late")
    hands.sees("late")  # by itself
    hands.is_at("mail")
    hands.press("k")
    hands.is_at("late")
    hands.press(ENTER)
    hands.sees("What happened")
    hands.window.run("history.back()")
    hands.is_at("late")
