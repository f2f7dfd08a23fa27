"""What no single setting of the console shows."""

from __future__ import annotations

from collections.abc import Iterator

from riverbridge.settings import checks
from riverbridge.settings.checked import Checked
from riverbridge.settings.http import MAIN
from riverbridge.settings.reading import Problem
from riverbridge.settings.shape import variable

SECRET_LEAST = 24
"""Characters of the secret that is shared with a proxy."""


def console(checked: Checked) -> Iterator[Problem]:
    """Who may come, and from where."""
    http = checked.settings.http
    if not checks.is_loopback(http.host) and not http.asks_for_login:
        yield Problem(
            ("http", "host"),
            "is not loopback, so whoever reaches it could change jobs: ask for a login "
            f"({variable(('http', 'users', '<NAME>', 'password'))} or a proxy, "
            f"{variable(('http', 'proxy'))}__…), or use 127.0.0.1 (probes may listen anywhere: "
            f"{variable(('probes', 'host'))})",
            (("http", "users"), ("http", "proxy")),
        )
    for name, user in http.users.items():
        if not (user.password or user.token or user.next_token):
            yield Problem(
                ("http", "users", name, "password"),
                "not set, and no token either: nobody could log in as this user",
                (("http", "users", name, "token"), ("http", "users", name, "next_token")),
            )
    if MAIN in http.databases:
        yield Problem(
            ("http", "databases", MAIN, "database_url"),
            f"the name {MAIN} is that of DATABASE_URL's; choose another",
        )


def proxy(checked: Checked) -> Iterator[Problem]:
    """A proxy that is described by halves would let in nobody, or anybody."""
    given = checked.settings.http.proxy
    if not given.is_given:
        return
    path = ("http", "proxy")
    if not given.addresses:
        yield Problem((*path, "addresses"), "not set; without it the proxy is never believed")
    if given.secret is None:
        yield Problem(
            (*path, "secret"), "not set; without it anybody at the proxy's addresses is believed"
        )
    elif len(given.secret.get_secret_value()) < SECRET_LEAST:
        yield Problem((*path, "secret"), f"is too short: use {SECRET_LEAST} characters or more")
    if not (given.viewers or given.operators or given.admins):
        yield Problem((*path, "viewers"), "not set, nor OPERATORS or ADMINS: nobody may come in")


HTTP_RULES = (console, proxy)
