"""Settings from `.env` and TOML files, sound and not."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from riverbridge.errors import ConfigurationError
from riverbridge.settings import KafkaSink, load
from tests.unit.settings_cases import (
    CANARY,
    DSN,
    EXAMPLE,
    problems_of,
)

TOML = """
database_url = "postgresql://app@db/app"
schema = "public"
[http]
port = 8080
[sinks.events]
type = "kafka"
bootstrap_servers = "broker:9092"
topic = "jobs.{kind}"
[sinks.billing]
type = "sqs"
queue_url = "https://sqs.eu-west-1.amazonaws.com/123456789012/billing.fifo"
[routes.orders]
queues = ["orders"]
kinds = "order.*"
sinks = ["events", "billing"]
key = "{args.customer_id}"
ordered = false
[sources.signups]
type = "kafka"
bootstrap_servers = "broker:9092"
topics = ["signups"]
kind = "signup"
"""


def toml(tmp_path: Path, text: str | bytes) -> Path:
    file = tmp_path / "riverbridge.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return file


def test_toml_says_the_same_as_the_environment(tmp_path: Path) -> None:
    from_toml, from_env = load({}, None, toml(tmp_path, TOML)), load(EXAMPLE, None, None)
    assert from_toml.model_dump() == from_env.model_dump()


def test_dotted_properties_in_toml(tmp_path: Path) -> None:
    text = TOML.replace(
        "[http]", '[sinks.events.config]\nlinger.ms = 5\n"log.queue" = true\n[http]'
    )
    sink = load({}, None, toml(tmp_path, text)).sinks["events"]
    assert isinstance(sink, KafkaSink)
    assert sink.config == {"linger.ms": "5", "log.queue": "true"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("lane = 1", "RIVERBRIDGE_LANE: unknown; did you mean RIVERBRIDGE_LANES?"),
        ("Lanes = 1", "RIVERBRIDGE_LANES: unknown"),
        ("lanes = 1.5", "RIVERBRIDGE_LANES: not a whole number"),
        ("lanes = true", "RIVERBRIDGE_LANES: not a whole number"),
        ("lanes = 1979-05-27", "RIVERBRIDGE_LANES: not a whole number"),
        ("hold = nan", "RIVERBRIDGE_HOLD: not a duration"),
        ("hold = inf", "RIVERBRIDGE_HOLD: not a duration"),
        ("hold = true", "RIVERBRIDGE_HOLD: not a duration"),
        ("listen = 1", "RIVERBRIDGE_LISTEN: neither true nor false"),
        ("name = 5", "RIVERBRIDGE_NAME: must be text"),
        ("http = 5", "RIVERBRIDGE_HTTP: must be a table"),
        ("sinks = [1]", "RIVERBRIDGE_SINKS: must be a table"),
        ("[sinks.my-sink]", "RIVERBRIDGE_SINKS__MY-SINK: RIVERBRIDGE_SINKS__MY-SINK is no name"),
        ("[sinks.events]", "RIVERBRIDGE_SINKS__EVENTS__TYPE: not set"),
        ("[routes.a]", "RIVERBRIDGE_ROUTES__A__QUEUES: not set"),
        ("a = [", "{file}:1:6: is not valid TOML"),
        ("lanes = 1\nlanes = 2", "{file}:2:10: is not valid TOML: a key or table is given twice"),
        ("[http]\n[http]", "{file}:2:6: is not valid TOML: a key or table is given twice"),
        ("x = 1\n\tb = ", "{file}:2:6: is not valid TOML"),
        (b"\xef\xbb\xbflanes = 2", "{file}:1:1: starts with a byte order mark"),
        (b"a = 1\nb = '\xc3\xa9\xff'", "{file}:2:7: is not valid UTF-8"),
        ("a = " + "[" * 5000, "{file}:1:"),
        ("a = " + "9" * 5000, "{file}:1:1: holds a number"),
        (b"#" * ((1 << 20) + 1), "{file}: is larger than the limit of 1 MiB"),
    ],
)
def test_bad_toml(tmp_path: Path, text: str | bytes, expected: str) -> None:
    file = toml(tmp_path, text)
    with pytest.raises(ConfigurationError) as caught:
        load({"DATABASE_URL": DSN}, None, file)
    problems = caught.value.problems
    assert problems[0].startswith(expected.format(file=file))
    assert all("\n" not in line for line in problems)


def test_a_named_file_must_be_there(tmp_path: Path) -> None:
    for files in ((tmp_path / "no.env", None), (None, tmp_path / "no.toml")):
        with pytest.raises(ConfigurationError, match="does not exist"):
            load({"DATABASE_URL": DSN}, *files)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load({"DATABASE_URL": DSN}, None, tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RIVERBRIDGE_FOO=1", "RIVERBRIDGE_FOO: unknown"),
        ("RIVERBRIDGE_LANES=0", "RIVERBRIDGE_LANES: 0 is outside of the limits, 1 to 32 (in .env)"),
        ("A=1\nRIVERBRIDGE_LANES=1\nRIVERBRIDGE_LANES=2", "{file}:3:1: RIVERBRIDGE_LANES is given"),
        ("RIVERBRIDGE_NAME=${NOBODY}", "{file}:1:1: RIVERBRIDGE_NAME uses ${{NOBODY}}, which is"),
        ("RIVERBRIDGE_NAME", "RIVERBRIDGE_NAME: is empty"),
        ("A=1\n= what", "{file}:2:1: is not a NAME=value line"),
        (b"\xef\xbb\xbfA=1", "{file}:1:1: starts with a byte order mark"),
        (b"A=1\n\xff", "{file}:2:1: is not valid UTF-8"),
    ],
)
def test_bad_dotenv(tmp_path: Path, text: str | bytes, expected: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as caught:
        load({"DATABASE_URL": DSN}, file, None)
    assert caught.value.problems[0].startswith(expected.format(file=file))


def test_dotenv_replaces_references_and_ignores_what_is_not_ours(tmp_path: Path) -> None:
    file = tmp_path / ".env"
    file.write_text(
        "APP_KEY=1\nHOST_IN_FILE=db\nexport DATABASE_URL='postgresql://${WHO}@${HOST_IN_FILE}/app'\n"
        "RIVERBRIDGE_NAME=${NOBODY:-spare}\nRIVERBRIDGE_SERVICE_HOST=x\n"
    )
    s = load({"WHO": "me"}, file, None)
    assert s.database_url is not None
    assert s.database_url.get_secret_value() == "postgresql://me@db/app"
    assert (s.name, s.ignored) == ("spare", ("RIVERBRIDGE_SERVICE_HOST",))


def test_a_file_with_a_secret_that_all_may_read_is_warned_about(tmp_path: Path) -> None:
    file = toml(tmp_path, f'database_url = "postgresql://app:{CANARY}@db/app"')
    file.chmod(0o644)
    (warning,) = load({}, None, file).warnings
    assert "every user of this machine" in warning
    assert CANARY not in warning
    file.chmod(0o600)
    assert load({}, None, file).warnings == ()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.binary(max_size=200) | st.text(max_size=80).map(lambda t: TOML.encode() + t.encode()))
def test_any_file_gives_settings_or_problems(tmp_path: Path, data: bytes) -> None:
    file = toml(tmp_path, data)
    for files in ((None, file), (file, None)):
        assert all(problems_of({"DATABASE_URL": DSN}, *files))
