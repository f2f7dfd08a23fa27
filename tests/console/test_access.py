"""Who gets in, and how far."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.testclient import TestClient

from riverbridge.console.access.authentication import Authentication, Proxy
from riverbridge.console.access.forgery import Hosts
from riverbridge.console.app import console
from riverbridge.console.frame import Page, Role, visitor_of
from riverbridge.console.ground import Ground
from riverbridge.console.pages import PAGES
from tests.support.console import SITE, Desk, basic, bearer, desk, insert
from tests.support.database import Database

CASES = [(page, method) for page in PAGES for method in page.methods]
STREAMS = {"/api/bridge/tail"}
"""What never ends for whom it begins; `test_tail.py` reads it."""

FORM = "application/x-www-form-urlencoded"


def path_of(page: Page) -> str:
    return re.sub(r"\{\w+(:int)?\}", lambda f: "1" if f[1] else "console.css", page.path)


@pytest.mark.parametrize(
    ("page", "method"), CASES, ids=[f"{method} {page.path}" for page, method in CASES]
)
def test_every_page_is_for_its_role_alone(
    office: Desk, look: psycopg.Connection[Any], page: Page, method: str
) -> None:
    insert(look)
    for role in (None, *Role):
        if page.path in STREAMS and role is not None:
            continue
        kind = "application/json" if page.is_api else FORM
        headers = bearer(role) | ({"Content-Type": kind} if page.changes else {})
        answer = TestClient(office.app, base_url=SITE, follow_redirects=False).request(
            method, path_of(page), headers=headers
        )
        if page.role is None:
            assert answer.status_code < 400
        elif role is None:
            assert answer.status_code == 401
            assert "the main one" not in answer.text
        elif role < page.role:
            assert answer.status_code == 403
        else:
            assert answer.status_code not in (401, 403, 405), answer.text
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert "unsafe" not in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_pages_that_change_something_say_so() -> None:
    """What is asked for by anything but GET changes something, and is not for viewers."""
    for page in PAGES:
        if set(page.methods) - {"GET"}:
            assert page.changes, page.path
            assert page.role is not None, page.path
            assert page.role >= Role.OPERATOR, page.path


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "jobs"},
        {"changes": True},
        {"methods": ("DELETE",)},
        {"methods": ("POST",), "changes": True, "role": None},
    ],
)
def test_a_page_that_contradicts_itself_is_none(wrong: dict[str, Any]) -> None:
    given: dict[str, Any] = {"path": "/x", "endpoint": whoever, "role": Role.VIEWER} | wrong
    with pytest.raises(ValueError, match=r"x|jobs"):
        Page(**given)


def whoever(request: Request, ground: Ground) -> Response:
    visitor = visitor_of(request)
    return PlainTextResponse(f"{visitor.name} {visitor.role.word} {visitor.way}")


WHO = Page("/who", whoever, Role.VIEWER)
TOUCH = Page("/touch", whoever, Role.OPERATOR, ("POST",), changes=True)
API = Page("/api/touch", whoever, Role.OPERATOR, ("POST", "PUT"), changes=True)


@pytest.mark.parametrize(
    ("headers", "seen"),
    [
        (basic("operator"), "operator operator basic"),
        (bearer(Role.VIEWER), "viewer viewer bearer"),
        (basic("operator", "wrong"), None),
        (basic("nobody"), None),
        ({"Authorization": "Bearer wrong"}, None),
        ({"Authorization": "Bearer "}, None),
        ({"Authorization": "Basic not base64"}, None),
        ({"Authorization": "Basic b3BlcmF0b3I="}, None),
        ({"Authorization": "Digest x"}, None),
        ({"X-Auth-Request-Email": "ann@example.com"}, None),
    ],
)
def test_who_it_is(
    monkeypatch: pytest.MonkeyPatch, headers: dict[str, str], seen: str | None
) -> None:
    monkeypatch.setattr("riverbridge.console.guard.WRONG_LOGIN_PAUSE", 0.0)
    office = desk(None, pages=[WHO])
    answer = office.client(**(headers or {"X-Nothing": ""})).get("/who")
    assert answer.status_code == (200 if seen else 401)
    assert answer.text == seen if seen else "Basic" in answer.headers["www-authenticate"]


SECRET = "s" * 24
SAID = {"X-Riverbridge-Proxy-Secret": SECRET, "X-Auth-Request-Email": "ann@example.com"}


@pytest.mark.parametrize(
    ("address", "headers", "seen"),
    [
        ("10.1.2.3", SAID, "ann@example.com operator proxy"),
        ("::ffff:10.1.2.3", SAID, "ann@example.com operator proxy"),
        ("10.1.2.3", SAID | {"X-Auth-Request-Groups": "x, chiefs"}, "ann@example.com admin proxy"),
        ("10.2.2.3", SAID, None),
        ("10.1.2.3", SAID | {"X-Riverbridge-Proxy-Secret": "other"}, None),
        ("10.1.2.3", {"X-Auth-Request-Email": "ann@example.com"}, None),
        ("10.1.2.3", SAID | {"X-Auth-Request-Email": "eve@example.com"}, None),
        ("10.1.2.3", SAID | {"X-Auth-Request-Email": "ann@example.com.evil"}, None),
        ("10.1.2.3", SAID | {"X-Auth-Request-Groups": "chief"}, "ann@example.com operator proxy"),
        ("10.2.2.3", SAID | {"X-Forwarded-For": "10.1.2.3"}, None),
    ],
)
def test_what_a_proxy_says(address: str, headers: dict[str, str], seen: str | None) -> None:
    import ipaddress

    proxy = Proxy(
        [ipaddress.ip_network("10.1.0.0/16")],
        SECRET,
        roles={"ann@example.com": Role.OPERATOR, "@chiefs": Role.ADMIN},
    )
    office = desk(None)
    app = console(office.ground, authentication=Authentication(proxy=proxy), pages=[WHO])
    client = TestClient(app, base_url=SITE, client=(address, 1234))
    answer = client.get("/who", headers=headers)
    assert (answer.status_code, answer.text if seen else None) == (200 if seen else 401, seen)


def test_a_name_said_twice_is_no_name() -> None:
    """A proxy that adds a header beside the visitor's own."""
    import ipaddress

    proxy = Proxy([ipaddress.ip_network("10.1.0.0/16")], SECRET, roles={"a": Role.ADMIN})
    app = console(desk(None).ground, authentication=Authentication(proxy=proxy), pages=[WHO])
    client = TestClient(app, base_url=SITE, client=("10.1.2.3", 1234))
    twice = [("X-Riverbridge-Proxy-Secret", SECRET), *[("X-Auth-Request-Email", "a")] * 2]
    assert client.get("/who", headers=twice).status_code == 401
    assert client.get("/who", headers=twice[:2]).text == "a admin proxy"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": SITE}, 200),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site"}, 403),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://localhost:8081"}, 403),
    ],
)
@pytest.mark.parametrize("login", [True, False])
def test_a_change_that_another_site_sends(
    login: bool, headers: dict[str, str], status: int
) -> None:
    """With the login that a browser adds by itself, and without any."""
    office = desk(None, login=login, pages=[WHO, TOUCH])
    client = office.client(**(basic("operator") if login else {"X-Nothing": ""}))
    client.get("/who")
    token = client.cookies["riverbridge"]
    assert client.post("/touch", data={"csrf": token}, headers=headers).status_code == status


def test_a_change_without_the_token() -> None:
    client = desk(None, pages=[WHO, TOUCH]).client(**basic("operator"))
    token = "A" * 43
    assert client.post("/touch", data={"csrf": token}).status_code == 403
    client.get("/who")
    for wrong in ({}, {"csrf": ""}, {"csrf": token}, {"csrf": "é"}):
        assert client.post("/touch", data=wrong).status_code == 403
    good = {"X-CSRF-Token": client.cookies["riverbridge"]}
    assert client.post("/touch", headers=good).status_code == 200


def test_the_token_is_of_this_host_alone_where_there_is_tls() -> None:
    client = desk(None, pages=[WHO]).client(**basic("viewer"))
    cookie = client.get("/who", headers={"X-Forwarded-Proto": "https"}).headers["set-cookie"]
    assert re.fullmatch(
        r"__Host-riverbridge=[\w-]{43}; HttpOnly; Path=/; SameSite=strict; Secure", cookie
    )


@pytest.mark.parametrize(
    ("method", "kind", "status"),
    [
        ("POST", "application/json", 200),
        ("POST", "application/json; charset=utf-8", 200),
        ("POST", "text/plain", 415),
        ("POST", FORM, 415),
        ("PUT", None, 200),
    ],
)
def test_the_api_takes_what_no_form_can_send(method: str, kind: str | None, status: int) -> None:
    client = desk(None, pages=[API]).client(**basic("operator"))
    headers = {} if kind is None else {"Content-Type": kind}
    answer = client.request(method, "/api/touch", content="{}", headers=headers)
    assert answer.status_code == status
    cross = headers | {"Origin": "http://evil.example"}
    answer = client.request(method, "/api/touch", content="{}", headers=cross)
    assert answer.status_code == 403
    assert answer.json() == {"message": "the request comes from another origin"}


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("localhost", True),
        ("localhost:9000", True),
        ("127.0.0.1:8080", True),
        ("[::1]:8080", True),
        ("evil.example", False),
        ("127.0.0.1.evil.example", False),
        ("localhost.evil.example:8080", False),
        ("localhost@evil.example", False),
        ("", False),
    ],
)
def test_a_name_of_somebody_else_that_leads_here(host: str, good: bool) -> None:
    office = desk(None, login=False, pages=[WHO])
    answer = office.client(Host=host).get("/who")
    assert answer.status_code == (200 if good else 421)


def test_only_the_names_that_were_given() -> None:
    hosts = Hosts(["jobs.example.com"], loopback=False)
    client = desk(None, pages=[WHO], hosts=hosts).client(**basic("viewer"))
    for host, status in (("jobs.example.com", 200), ("JOBS.example.com:443", 200),
                         ("localhost", 421), ("x.jobs.example.com", 421)):  # fmt: skip
        assert client.get("/who", headers={"Host": host}).status_code == status


def test_read_only_is_for_everybody(tables: Database, look: psycopg.Connection[Any]) -> None:
    id = insert(look, state="discarded")
    office = desk(tables, read_only=True)
    for page in PAGES:
        if page.changes:
            headers = bearer(Role.ADMIN) | {"Content-Type": FORM}
            answer = office.client(**headers).request(page.methods[0], path_of(page))
            assert answer.status_code == 403, page.path
            assert "read-only" in answer.text
    assert office.row(id)["state"] == "discarded"
    assert "/jobs/retry" not in office.get(f"/jobs/{id}").text


@pytest.mark.parametrize("size", [(1 << 20) - 5, (1 << 20) + 5])
def test_a_body_that_is_too_large(size: int) -> None:
    client = desk(None, pages=[TOUCH]).client(**bearer(Role.ADMIN))
    answer = client.post("/touch", content=b"a=" + b"x" * (size - 2))
    assert answer.status_code == (200 if size <= 1 << 20 else 413)
