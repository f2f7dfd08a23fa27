"""Guessing passwords: who has to wait, for how long, and who has not."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient

from riverbridge.console.access import throttle
from riverbridge.console.access.addresses import address_of
from riverbridge.console.access.authentication import Authentication
from riverbridge.console.access.hashes import PasswordHash
from riverbridge.console.access.throttle import KEPT, Throttle
from riverbridge.console.app import console
from riverbridge.console.frame import Page, Role
from riverbridge.console.ground import Ground
from tests.support.console import PASSWORD, SITE, USERS, basic, bearer, desk

FREE, EVERY = throttle.NAME
ANYWHERE, _ = throttle.NAME_ANYWHERE


def _seen(request: Request, ground: Ground) -> Response:
    return PlainTextResponse("seen")


PAGES = [Page("/seen", _seen, Role.VIEWER), Page("/api/seen", _seen, Role.VIEWER)]


QUICK = PasswordHash(4, 8, 1, b"salt", b"")
"""What a guess costs is not what these tests are about."""
QUICK = QUICK._replace(digest=QUICK._derived(PASSWORD, 32))
QUICK_USERS = [replace(user, password=QUICK) for user in USERS]


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Gate:
    """A console's logins, asked from any address."""

    def __init__(self, forwarded_by: Sequence[str] = ()) -> None:
        self.clock = Clock()
        self.throttle = Throttle(self.clock)
        self._app = console(
            desk(None).ground,
            authentication=Authentication(
                QUICK_USERS,
                forwarded_by=[ipaddress.ip_network(each) for each in forwarded_by],
                throttle=self.throttle,
            ),
            pages=PAGES,
        )

    def answer(
        self, headers: dict[str, str], address: str = "192.0.2.1", path: str = "/seen"
    ) -> Any:
        client = TestClient(self._app, base_url=SITE, client=(address, 1234))
        return client.get(path, headers=headers)

    def ask(self, headers: dict[str, str], address: str = "192.0.2.1") -> int:
        status: int = self.answer(headers, address).status_code
        return status

    def suspect(self, name: str) -> None:
        """Others have guessed at it from all over."""
        for number in range(ANYWHERE):
            self.throttle.failed(f"198.51.100.{number}", name)


RIGHT, WRONG = basic("viewer"), basic("viewer", "wrong")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("riverbridge.console.guard.WRONG_LOGIN_PAUSE", 0.0)
    monkeypatch.setattr("riverbridge.console.access.authentication._NOBODY", QUICK)


@pytest.fixture
def gate() -> Gate:
    return Gate()


def test_after_too_many_the_right_one_has_to_wait_too(gate: Gate) -> None:
    assert gate.ask(RIGHT) == 200
    assert [gate.ask(WRONG) for _ in range(FREE + 1)] == [401] * FREE + [429]
    answer = gate.answer(RIGHT)
    assert (answer.status_code, answer.headers["retry-after"]) == (429, f"{EVERY:.0f}")
    assert "too many logins were wrong: try again in 30 s" in answer.text
    assert "www-authenticate" not in answer.headers
    assert "the main one" not in answer.text
    gate.clock.now += EVERY - 0.5
    assert gate.answer(RIGHT).headers["retry-after"] == "1"
    gate.clock.now += 0.5
    assert gate.ask(RIGHT) == 200
    assert [gate.ask(WRONG), gate.ask(RIGHT)] == [401, 429]


def test_it_is_let_in_from_another_address_and_by_another_name(gate: Gate) -> None:
    for _ in range(FREE):
        gate.ask(WRONG)
    assert gate.ask(RIGHT) == 429
    assert gate.ask(RIGHT, "192.0.2.2") == 200
    assert gate.ask(basic("operator")) == 200
    assert gate.ask(RIGHT) == 429


def test_an_address_that_tries_many_names_has_to_wait(gate: Gate) -> None:
    for number in range(throttle.ADDRESS[0]):
        gate.throttle.failed("192.0.2.1", f"name {number}")
    assert gate.ask(RIGHT) == 429
    assert gate.ask(RIGHT, "192.0.2.2") == 200


def test_a_name_guessed_at_from_all_over_may_be_tried_once_from_each_address(gate: Gate) -> None:
    gate.suspect("viewer")
    assert gate.ask(RIGHT) == 200
    assert [gate.ask(WRONG), gate.ask(WRONG), gate.ask(RIGHT)] == [401, 429, 429]
    assert gate.ask(RIGHT, "192.0.2.2") == 200


def test_a_name_that_is_not_there_is_answered_alike(gate: Gate) -> None:
    for name in ("viewer", "nobody"):
        wrong = basic(name, "wrong")
        assert [gate.ask(wrong) for _ in range(FREE + 1)] == [401] * FREE + [429]
        gate.suspect(name)
        assert [gate.ask(wrong, "192.0.2.3") for _ in range(2)] == [401, 429]


def test_the_right_token_is_let_in_whoever_was_wrong(gate: Gate) -> None:
    wrong = {"Authorization": "Bearer wrong"}
    assert [gate.ask(wrong) for _ in range(FREE + 1)] == [401] * FREE + [429]
    assert gate.answer(wrong, path="/api/seen").json()["message"].startswith("too many logins")
    assert gate.ask(bearer(Role.VIEWER)) == 200
    assert gate.ask(RIGHT) == 200  # tokens are counted by themselves


def test_what_asks_for_nothing_is_not_counted(gate: Gate) -> None:
    assert [gate.ask({"X-Nothing": ""}) for _ in range(FREE + 5)] == [401] * (FREE + 5)
    assert gate.ask(RIGHT) == 200


def test_who_is_behind_a_proxy_is_told_apart_only_where_it_is_believed() -> None:
    def forwarded(gate: Gate, one: str, other: str) -> int:
        for _ in range(FREE):
            gate.ask(WRONG | {"X-Forwarded-For": one})
        return gate.ask(RIGHT | {"X-Forwarded-For": other})

    assert forwarded(Gate(["192.0.2.0/24"]), "203.0.113.5", "203.0.113.6") == 200
    assert forwarded(Gate(["192.0.2.0/24"]), "203.0.113.5", "203.0.113.5") == 429
    # Whoever asks writes what is before the proxy's own words.
    assert forwarded(Gate(["192.0.2.0/24"]), "1.1.1.1, 203.0.113.5", "2.2.2.2, 203.0.113.5") == 429
    assert forwarded(Gate(), "203.0.113.5", "203.0.113.6") == 429


@pytest.mark.parametrize(
    ("peer", "said", "address"),
    [
        ("192.0.2.1", [], "192.0.2.1"),
        ("10.0.0.1", [], "10.0.0.1"),
        ("192.0.2.1", ["203.0.113.5"], "192.0.2.1"),
        ("10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("::ffff:10.0.0.1", ["203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["1.1.1.1, 203.0.113.5, 10.0.0.9"], "203.0.113.5"),
        ("10.0.0.1", ["1.1.1.1", "203.0.113.5"], "203.0.113.5"),
        ("10.0.0.1", ["203.0.113.5:4711"], "203.0.113.5"),
        ("10.0.0.1", ["[2001:db8:1:2:3::4]:4711"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["2001:db8:1:2:ffff::1"], "2001:db8:1:2::/64"),
        ("10.0.0.1", ["203.0.113.5, unknown"], "10.0.0.1"),
        ("10.0.0.1", ["10.0.0.2, 10.0.0.3"], "10.0.0.2"),
        ("10.0.0.1", [""], "10.0.0.1"),
        ("a socket", ["203.0.113.5"], "a socket"),
    ],
)
def test_whose_address_it_is(peer: str, said: list[str], address: str) -> None:
    headers = [(b"x-forwarded-for", each.encode()) for each in said]
    request = Request({"type": "http", "client": (peer, 1), "headers": headers})
    assert address_of(request, [ipaddress.ip_network("10.0.0.0/8")]) == address


def test_what_is_remembered_is_bounded() -> None:
    clock = Clock()
    gate = Throttle(clock)
    for number in range(KEPT + 50):
        gate.failed(str(number), f"{number} {'x' * 5000}")
    for kept in (gate._named, gate._addresses, gate._names):
        assert len(kept._forgotten) == KEPT
    assert max(len(str(name)) for name in gate._names._forgotten) == 255


def test_they_are_logged_and_counted(
    gate: Gate, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[Any] = []
    monkeypatch.setattr(
        "riverbridge.telemetry.logins_refused.add", lambda *given: counted.append(given)
    )
    for _ in range(FREE + 2):
        gate.ask(basic("viewer", "a secret"))
    reasons = [labels["reason"] for _, labels in counted]
    assert reasons == ["wrong"] * FREE + ["throttled"] * 2
    text = caplog.text
    assert text.count("too many logins to the console were wrong: 192.0.2.1 has to wait") == 1
    assert "secret" not in text
    assert "viewer" not in text
