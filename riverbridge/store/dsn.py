"""Connecting by URL without ever showing the password that is in it.

libpq repeats pieces of a URL it misreads, and with an unescaped `@` or `/` in the password those
pieces are the password. Such a URL is refused here, before libpq sees it.
"""

from __future__ import annotations

import re
from typing import Any

import psycopg
from psycopg.conninfo import conninfo_to_dict

from riverbridge.errors import ConfigurationError

CONNECT_TIMEOUT = 10
"""Seconds a connection may take to be made, for each host, unless the URL says otherwise."""

_PORTS = re.compile(r"[0-9,]*")


def parse_dsn(dsn: str) -> dict[str, Any]:
    """The parameters of a URL or of a `key=value` string.

    Raises ConfigurationError, which never quotes the string.
    """
    if _misread(dsn):
        raise ConfigurationError(
            "the database URL has an '@' or a '/' in its user or password that is not escaped: "
            "write %40 for '@' and %2F for '/'"
        )
    try:
        params: dict[str, Any] = dict(conninfo_to_dict(dsn))
    except psycopg.Error:
        raise ConfigurationError(
            "the database URL cannot be read: write postgresql://user:password@host:port/database "
            "and escape special characters, such as %25 for '%'"
        ) from None
    if _PORTS.fullmatch(str(params.get("port") or "")) is None:
        raise ConfigurationError(
            "the database URL has a port that is not a number: "
            "write postgresql://user:password@host:port/database"
        )
    return params


def _misread(dsn: str) -> bool:
    """Whether libpq would take a part of the user or password for the host or the path."""
    scheme, found, rest = dsn.partition("://")
    if not found or scheme not in ("postgres", "postgresql"):
        return False
    user, at, tail = rest.partition("@")
    if not at or "/" in user:
        tail = rest
    return "@" in tail.partition("?")[0]


def connect(dsn: str, *, application_name: str) -> psycopg.Connection[tuple[Any, ...]]:
    """One connection in autocommit, without prepared statements so that poolers work.

    Raises ConfigurationError for a string that cannot be read, psycopg.OperationalError otherwise.
    """
    params = parse_dsn(dsn)
    params.setdefault("connect_timeout", CONNECT_TIMEOUT)
    params.setdefault("application_name", application_name)
    return psycopg.connect(autocommit=True, prepare_threshold=None, **params)


def connect_failure(error: psycopg.Error, dsn: str) -> str:
    """What went wrong, in one line and without the password of `dsn`."""
    line = " ".join(str(error).split())
    try:
        password = parse_dsn(dsn).get("password")
    except ConfigurationError:
        return "the connection failed"
    return line.replace(str(password), "***") if password else line
