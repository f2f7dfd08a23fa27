"""The console's settings: who may come, from where, and what becomes of that."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner

from riverbridge.cli import main
from riverbridge.console.access.hashes import PasswordHash, token_hash
from riverbridge.embedded.process import free_port
from riverbridge.engine.supervisor import Supervisor
from riverbridge.errors import ConfigurationError
from riverbridge.service.serving import Front
from riverbridge.settings import Settings, load
from tests.unit.settings_cases import DSN, problems_of

H = "RIVERBRIDGE_HTTP__"
GOOD = str(PasswordHash(14, 8, 1, b"0123456789abcdef", b"x" * 32))
TOKEN = token_hash("a token")
PROXY = {
    H + "PROXY__ADDRESSES": "10.0.0.0/8",
    H + "PROXY__SECRET": "s" * 24,
    H + "PROXY__VIEWERS": "@staff",
}


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in PROXY.items() if key != H + name}


@pytest.mark.parametrize(
    ("env", "variable", "problem"),
    [
        ({H + "HOST": "0.0.0.0"}, "HOST", "is not loopback, so whoever reaches it"),
        ({H + "USERS__ANN__ROLE": "viewer"}, "USERS__ANN__PASSWORD", "and no token either"),
        ({H + "USERS__ANN__PASSWORD": "secret99"}, "USERS__ANN__PASSWORD", "is no hash of a pass"),
        ({H + "USERS__ANN__TOKEN": "secret99"}, "USERS__ANN__TOKEN", "is no hash of a token"),
        ({H + "USERS__ANN__PASSWORD": GOOD.replace(":14:", ":30:")}, "USERS__ANN__PASSWORD",
         "the cost is from 14 to 18"),
        ({H + "USERS__ANN__TOKEN": TOKEN, H + "USERS__ANN__ROLE": "root"}, "USERS__ANN__ROLE",
         "must be one of viewer, operator, admin"),
        (without("PROXY__SECRET"), "PROXY__SECRET", "anybody at the proxy's addresses"),
        (PROXY | {H + "PROXY__SECRET": "short"}, "PROXY__SECRET", "use 24 characters or more"),
        (without("PROXY__ADDRESSES"), "PROXY__ADDRESSES", "never believed"),
        (PROXY | {H + "PROXY__ADDRESSES": "proxy"}, "PROXY__ADDRESSES", "neither an address nor"),
        (without("PROXY__VIEWERS"), "PROXY__VIEWERS", "nobody may come in"),
        ({H + "PREFIX": "jobs/"}, "PREFIX", "is no path"),
        ({H + "PREFIX": "//evil.example"}, "PREFIX", "is no path"),
        ({H + "REDACT": "a..b"}, "REDACT", "is no rule"),
        ({H + "COLOUR": "pink"}, "COLOUR", "must be one of grey, red"),
        ({H + "DATABASES__MAIN__DATABASE_URL": DSN}, "DATABASES__MAIN__DATABASE_URL",
         "is that of DATABASE_URL's"),
        ({H + "DATABASES__B__LABEL": "b"}, "DATABASES__B__DATABASE_URL", "not set, and it is"),
    ],
)  # fmt: skip
def test_what_is_refused(env: dict[str, str], variable: str, problem: str) -> None:
    (line,) = problems_of({"DATABASE_URL": DSN} | env)
    assert line.startswith(f"{H}{variable}: ")
    assert problem in line
    assert "secret99" not in line


@pytest.mark.parametrize(
    "login", [PROXY, {H + "USERS__ANN__PASSWORD": GOOD}, {H + "USERS__ANN__TOKEN": TOKEN}]
)
def test_who_logs_in_may_come_from_anywhere(login: dict[str, str]) -> None:
    settings = load({"DATABASE_URL": DSN, H + "HOST": "0.0.0.0"} | login, None, None)
    assert settings.http.asks_for_login
    shown = " ".join(str(line.value) for line in settings.describe())
    assert not any(each in shown for each in (GOOD, TOKEN, "s" * 24))


def test_a_wrong_address_ends_the_command_with_78(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(H + "HOST", "0.0.0.0")
    monkeypatch.setenv("DATABASE_URL", DSN)
    result = CliRunner().invoke(main, ["console"])
    assert result.exit_code == 78
    assert f"{H}HOST: is not loopback" in result.output


def test_hashes_are_made_by_the_command() -> None:
    made = CliRunner().invoke(main, ["console", "--hash-password"], input="a long password\n")
    parsed = PasswordHash.parse(made.output.strip())
    assert parsed.matches("a long password")
    assert not parsed.matches("a long passworD")
    assert CliRunner().invoke(main, ["console", "--hash-password"], input="short").exit_code == 2
    lines = CliRunner().invoke(main, ["console", "--new-token"]).output.split()
    assert lines[3] == token_hash(lines[1])


class Well:
    version = "1"

    def checks(self) -> dict[str, str | None]:
        return {}

    def notes(self) -> dict[str, str]:
        return {}


@contextmanager
def serving(**env: str) -> Iterator[Front]:
    given = {f"RIVERBRIDGE_{name}": value for name, value in env.items()}
    front = Front(load({"DATABASE_URL": DSN} | given, None, None), Well(), with_console=True)
    stop = threading.Event()
    threads = Supervisor(stop)
    front.start(threads)
    try:
        yield front
    finally:
        stop.set()
        assert threads.join(10) == []
        front.close()


def status(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


LOGIN = {"HTTP__USERS__ANN__TOKEN": TOKEN}


def test_one_port_for_console_and_probes() -> None:
    with serving(HTTP__PORT="0", HTTP__PREFIX="/rb", **LOGIN) as front:
        site = f"http://127.0.0.1:{front.ports['probes']}"
        assert front.console_url == f"{site}/rb/"
        assert [status(f"{site}{path}") for path in ("/livez", "/rb/jobs", "/jobs")] == [
            200, 401, 404,
        ]  # fmt: skip


def test_two_ports_where_the_probes_are_set_apart() -> None:
    with serving(HTTP__PORT="0", PROBES__PORT=str(free_port()), **LOGIN) as front:
        assert front.console_url is not None
        assert status(f"http://127.0.0.1:{front.ports['probes']}/livez") == 200
        assert status(f"http://127.0.0.1:{front.ports['probes']}/jobs") == 404
        assert status(f"{front.console_url}jobs") == 401
        assert status(f"{front.console_url}livez") == 404


def test_a_port_that_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was asked for must be there; a console that nobody asked for stops no delivery."""
    with serving(HTTP__PORT="0") as front:
        env = {"HTTP__PORT": str(front.ports["probes"]), "PROBES__PORT": "0"}
        with pytest.raises(ConfigurationError, match=r"RIVERBRIDGE_HTTP__PORT: cannot listen on"):
            serving(**env).__enter__()
        monkeypatch.setattr(Settings, "is_given", lambda *_: False)
        with serving(**env) as other:
            assert other.console_url is None
            assert status(f"http://127.0.0.1:{other.ports['probes']}/livez") == 200
