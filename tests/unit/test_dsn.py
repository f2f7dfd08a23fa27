"""A database URL that cannot be used never shows its password."""

from __future__ import annotations

import socket

import psycopg
import pytest

from riverbridge.errors import ConfigurationError
from riverbridge.store.dsn import connect, connect_failure, parse_dsn


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://app:s3@cret@db/app",
        "postgresql://app:s3/cret@db/app",
        "postgresql://app:s3?cret=1@cret@db/app",
        "postgresql://app:s3cret",
        "postgresql://app:s3%cret@db/app",
        "postgresql+psycopg://app:s3cret@db/app",
        "app:s3cret@db/app",
        "host=db password='s3cret",
        "postgresql://app:x@db/app?s3cret",
        "postgresql://app:x@db:s3cret/app",
    ],
)
def test_a_url_that_cannot_be_read_is_never_quoted(dsn: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parse_dsn(dsn)
    for piece in ("s3", "cret"):
        assert piece not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(
    ("dsn", "password", "host"),
    [
        ("postgresql://app:s3%40c%2Fret@db:5433/app", "s3@c/ret", "db"),
        ("postgres://app:s3?cret@db/app", "s3?cret", "db"),
        ("host=db user=app password=s3@cret", "s3@cret", "db"),
        ("postgresql://app@db1:1,db2:2/app?application_name=a@b", None, "db1,db2"),
        ("postgresql://app@db?application_name=a@b", None, "db"),
        ("postgresql:///app?host=/run/pg", None, "/run/pg"),
        ("", None, None),
    ],
)
def test_a_good_url_is_read_as_libpq_reads_it(
    dsn: str, password: str | None, host: str | None
) -> None:
    params = parse_dsn(dsn)
    assert params.get("password") == password
    assert params.get("host") == host


def test_a_refused_connection_is_one_line_without_the_password() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        dsn = f"postgresql://app:s3cret@127.0.0.1:{port}/app"
        with pytest.raises(psycopg.OperationalError) as caught:
            connect(dsn, application_name="test")
    line = connect_failure(caught.value, dsn)
    assert "\n" not in line
    assert "s3cret" not in line
    assert str(port) in line


def test_a_password_a_server_repeats_is_blotted_out() -> None:
    error = psycopg.OperationalError("no such role as s3cret\nat all")
    assert connect_failure(error, "postgresql://a:s3cret@db/x") == "no such role as *** at all"
    assert connect_failure(error, "postgresql://a:s3@cret@db/x") == "the connection failed"
