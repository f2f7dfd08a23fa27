"""What is printed of the settings: masked, with origins, as a reference, by the command."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from riverbridge.cli.config import config
from riverbridge.settings import load
from riverbridge.settings.reference import reference
from tests.unit.settings_cases import (
    CANARY,
    DSN,
    EXAMPLE,
    KAFKA,
    S,
    problems_of,
    read,
    refused,
)

DSNS = [
    (f"postgresql://app:{CANARY}@db:5432/app", "postgresql://app:***@db:5432/app"),
    (f"postgres://a%40b:{CANARY}%40@db/app", "postgresql://a%40b:***@db/app"),
    (f"host=db user=app password={CANARY} dbname=app", "postgresql://app:***@db/app"),
    (
        f"postgresql://app@h1:1,h2:2/app?sslmode=require&sslpassword={CANARY}",
        "postgresql://app@h1:1,h2:2/app?sslmode=require&sslpassword=***",
    ),
    (f"postgresql://app@[::1]/x?password={CANARY}", "postgresql://app:***@[::1]/x"),
    (
        f"postgresql:///app?host=/run/pg&options={CANARY}",
        "postgresql://%2Frun%2Fpg/app?options=***",
    ),
]


@pytest.mark.parametrize(("dsn", "shown"), DSNS)
def test_connection_strings_are_shown_masked(dsn: str, shown: str) -> None:
    described = load({"DATABASE_URL": dsn}, None, None).describe()
    assert described[0] == ("DATABASE_URL", shown, "environment", False)


@pytest.mark.parametrize(
    ("dsn", "text"),
    [
        (f"mysql://app:{CANARY}@db/app", "libpq can read"),
        (f"postgresql://app:{CANARY}@db/app?nonsense=1", "libpq can read"),
        (f"postgresql://app:x@{CANARY}@db/app", "percent-encode"),
        (f"postgresql://app:{CANARY}/x@db/app", "percent-encode"),
        (f"postgresql://app:12/{CANARY}@db/app", "percent-encode"),
        (f"postgresql://app:{CANARY}@db/app?sslmode=requrie", "sslmode is none of"),
        (f"postgresql://app:{CANARY}@db:99999/app", "port"),
        (f"postgresql://app:{CANARY}@db/app\n", "control character"),
        (f"postgresql://app:{CANARY}%zz@db/app", "libpq can read"),
    ],
)
def test_a_bad_connection_string_is_never_printed(dsn: str, text: str) -> None:
    if text == "control character":
        dsn = dsn.replace("@", "\n@")
    for name in ("DATABASE_URL", "RIVERBRIDGE_LISTEN_URL"):
        (problem,) = refused({name: dsn})
        assert problem.startswith(name + ": ")
        assert text in problem
        assert CANARY not in problem


SECRET_PLACES = [
    "DATABASE_URL",
    "RIVERBRIDGE_LISTEN_URL",
    S + "CONFIG__SASL_PASSWORD",
    S + "CONFIG__SSL_KEY_PEM",
    S + "CONFIG__SASL_OAUTHBEARER_CLIENT_SECRET",
    S + "CONFIG__SASL_OAUTHBEARER_CONFIG",
]


@pytest.mark.parametrize("name", SECRET_PLACES)
def test_a_secret_is_in_no_output(name: str) -> None:
    secret = f"postgresql://app:{CANARY}@db/app" if name.endswith("URL") else CANARY
    s = read({**KAFKA, name: secret})
    for text in (repr(s), str(s), str(s.describe()), str(s.warnings)):
        assert CANARY not in text
    for problem in refused({**KAFKA, name: secret, "RIVERBRIDGE_FOO": "1"}):
        assert CANARY not in problem


def test_a_value_in_the_wrong_place_is_not_repeated() -> None:
    names = [line.variable for line in load(EXAMPLE, None, None).describe()]
    for name in names:
        wrong = f"({CANARY})"
        for line in problems_of({**EXAMPLE, name: wrong}):
            assert CANARY not in line


def test_describe_tells_where_values_come_from(tmp_path: Path) -> None:
    toml, dotenv = tmp_path / "r.toml", tmp_path / "r.env"
    toml.write_text('lanes = 3\nhold = "2s"\ngrace = 1\n[sinks.events.config]\nlinger.ms = 1\n')
    dotenv.write_text("RIVERBRIDGE_LANES=4\nRIVERBRIDGE_HOLD=3s\n")
    env = {"DATABASE_URL": DSN, "RIVERBRIDGE_LANES": "5", **KAFKA, S + "CONFIG__CLIENT_RACK": "b"}
    s = load(env, dotenv, toml)
    assert (s.lanes, s.hold, s.grace) == (5, 3, 1)
    lines = {line.variable: line[1:] for line in s.describe()}
    assert lines["RIVERBRIDGE_LANES"] == ("5", "environment", False)
    assert lines["RIVERBRIDGE_HOLD"] == ("3s", "r.env", False)
    assert lines["RIVERBRIDGE_GRACE"] == ("1s", "r.toml", False)
    assert lines["RIVERBRIDGE_DEADLINE"] == ("10s", "default", True)
    assert lines["RIVERBRIDGE_SCHEMA"] == (None, "default", True)
    assert lines[S + "CONFIG"] == (
        '{"linger.ms": "1", "client.rack": "b"}',
        "environment and r.toml",
        False,
    )


def test_what_describe_shows_reads_as_the_same() -> None:
    env = {
        **EXAMPLE,
        "RIVERBRIDGE_HOLD": "333ms",
        "RIVERBRIDGE_POLL_INTERVAL": "1.25",
        "RIVERBRIDGE_GRACE": "90",
        "RIVERBRIDGE_RETENTION__COMPLETED": "-1",
        "RIVERBRIDGE_RETENTION__DISCARDED": "36h",
        "RIVERBRIDGE_ROUTES__ORDERS__RETRY": "exponential",
    }
    s = load(env, None, None)
    again = {line.variable: line.value for line in s.describe() if line.value is not None}
    assert load(again, None, None).model_dump() == s.model_dump()


def test_the_reference_is_current() -> None:
    page = Path(__file__).parents[2] / "docs" / "configuration.md"
    assert page.read_text() == reference(), "run python -m riverbridge.settings > " + str(page)


def test_the_reference_has_every_variable() -> None:
    text = reference()
    for line in load(EXAMPLE, None, None).describe():
        name = line.variable
        for own in ("EVENTS", "BILLING", "ORDERS", "SIGNUPS"):
            name = name.replace(f"__{own}__", "__<NAME>__")
        assert f"| `{name}` |" in text


@pytest.fixture
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    monkeypatch.chdir(tmp_path)
    for name in EXAMPLE:
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def test_the_command_prints_the_settings(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("DATABASE_URL", f"postgresql://app:{CANARY}@db/app")
    clean.setenv("RIVERBRIDGE_SERVICE_HOST", "10.0.0.1")
    result = CliRunner().invoke(config, [])
    assert result.exit_code == 0
    assert "postgresql://app:***@db/app  (environment)" in result.stdout
    assert "RIVERBRIDGE_SERVICE_HOST" in result.stderr
    rows = json.loads(CliRunner().invoke(config, ["--json"]).stdout)
    assert rows[0] == {
        "variable": "DATABASE_URL",
        "value": "postgresql://app:***@db/app",
        "origin": "environment",
        "default": False,
    }
    assert CANARY not in result.output


def test_the_command_ends_with_78_and_every_problem(clean: pytest.MonkeyPatch) -> None:
    clean.setenv("RIVERBRIDGE_LANES", "0")
    result = CliRunner().invoke(config, ["--json"])
    assert result.exit_code == 78
    assert result.stdout == ""
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == [
        "RIVERBRIDGE_LANES",
        "DATABASE_URL",
    ]


def test_the_command_asks_librdkafka(clean: pytest.MonkeyPatch) -> None:
    for name, value in {"DATABASE_URL": DSN, **KAFKA}.items():
        clean.setenv(name, value)
    clean.setenv(S + "CONFIG", '{"compression.type":"zstd"}')
    assert CliRunner().invoke(config, []).exit_code == 0
    clean.setenv(S + "CONFIG", '{"compresion.type":"zstd"}')
    result = CliRunner().invoke(config, [])
    assert result.exit_code == 78
    assert result.stderr.startswith(S + "CONFIG: compresion.type: ")


def test_the_command_parses_templates(clean: pytest.MonkeyPatch) -> None:
    for name, value in {**EXAMPLE, S + "TOPIC": "jobs.{kind"}.items():
        clean.setenv(name, value)
    result = CliRunner().invoke(config, [])
    assert result.exit_code == 78
    assert result.stderr.startswith(S + "TOPIC: ")
    assert len(result.stderr.splitlines()) == 1
