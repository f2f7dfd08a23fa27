"""The migration files as they are shipped: complete, and with the schema at every name."""

from __future__ import annotations

import re

import pytest

from riverbridge.errors import ConfigurationError, MigrationError
from riverbridge.model.names import SCHEMA_LENGTH_MAX, check_schema_name
from riverbridge.sql import MARKER
from riverbridge.sql.migrations import BRIDGE, LINES, MAIN, Direction, Migration, migrations
from riverbridge.store.migrate import Migrator, find_migration

ALL = [migration for line in LINES for migration in migrations(line)]
IDS = [f"{migration.line}-{migration.version}" for migration in ALL]

# What the files create, so that an unknown name below is a typing error and not a new object.
RELATIONS = {
    "river_migration",
    "river_migration_old",
    "river_job",
    "river_job_state",
    "river_job_notify",
    "river_job_state_in_bitmask",
    "river_leader",
    "river_queue",
    "river_client",
    "river_client_queue",
    "river_notification",
    "riverbridge_history",
    "riverbridge_history_mark",
    "riverbridge_inbox",
    "riverbridge_periodic_job",
    "riverbridge_position",
    "riverbridge_quarantine",
    "riverbridge_replay",
    "riverbridge_pause",
    "riverbridge_process",
    "riverbridge_audit",
    "riverbridge_operation",
    "riverbridge_receipt",
    "riverbridge_route",
    "riverbridge_slot",
    "riverbridge_view",
}
# Postgres takes these without a schema: each lives where its table does.
UNQUALIFIED = re.compile(
    r"CREATE (UNIQUE )?INDEX (IF NOT EXISTS )?\w+"
    r"|(CREATE|DROP) TRIGGER \w+"
    r"|RENAME TO \w+"
    r"|pg_notify\('\w+'"
    r"|\briver_client_id\b"
)
INDEXES = {"river_job_unique_idx", "river_job_kind_unique_key_idx"}


def unmarked(text: str) -> list[str]:
    """River names without the marker right before them, comments and free names set aside."""
    text = re.sub(r"--.*", "", text)
    text = UNQUALIFIED.sub("", text)
    return re.findall(rf"(?<!{re.escape(MARKER)})\b(river(?:bridge)?_\w+)", text)


def test_main_is_rivers_line_up_to_version_7() -> None:
    assert {migration.version: migration.name for migration in migrations(MAIN)} == {
        1: "create river migration",
        2: "initial schema",
        3: "river job tags non null",
        4: "pending and more",
        5: "migration unique client",
        6: "bulk unique",
        7: "notification outbox sqlite jsonb and sql cleanup",
    }


def test_versions_of_our_line_have_no_gaps() -> None:
    versions = [migration.version for migration in migrations(BRIDGE)]
    assert versions == list(range(1, len(versions) + 1))
    assert versions


@pytest.mark.parametrize("migration", ALL, ids=IDS)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_every_name_carries_the_marker(migration: Migration, direction: Direction) -> None:
    text = migration.up if direction == "up" else migration.down
    assert unmarked(text) == []
    marked = set(re.findall(re.escape(MARKER) + r"(\w+)", text))
    assert marked, "a migration that touches nothing"
    assert marked <= RELATIONS | INDEXES


@pytest.mark.parametrize("migration", ALL, ids=IDS)
@pytest.mark.parametrize("direction", ["up", "down"])
def test_a_schema_replaces_every_marker(migration: Migration, direction: Direction) -> None:
    plain, qualified = migration.sql(direction), migration.sql(direction, "jobs")
    assert MARKER not in plain + qualified
    assert qualified.replace('"jobs".', "") == plain
    assert qualified != plain


def test_the_marker_test_sees_a_missing_marker() -> None:
    assert unmarked("DROP TABLE river_job;") == ["river_job"]
    assert unmarked("DROP INDEX river_job_unique_idx;") == ["river_job_unique_idx"]
    assert unmarked(f"CREATE INDEX river_job_kind ON {MARKER}river_job (kind);") == []


def test_a_version_not_shipped_is_an_error_that_names_those_shipped() -> None:
    with pytest.raises(MigrationError, match="main has no version 8; this release ships 001, 002"):
        find_migration(MAIN, 8)


def test_an_unknown_line_is_refused() -> None:
    with pytest.raises(ValueError, match="workflow"):
        migrations("workflow")
    with pytest.raises(ConfigurationError, match="workflow"):
        Migrator("postgresql://localhost/x", line="workflow")


@pytest.mark.parametrize("name", ["public", "_a", "Jobs_2", "x" * SCHEMA_LENGTH_MAX])
def test_schema_names_river_accepts(name: str) -> None:
    check_schema_name(name)


@pytest.mark.parametrize(
    "name", ["", "1a", "a-b", 'a"b', "a.b", "a b", "a\n", "a'--", "schéma", "\u0430", "a\x00"]
)
def test_schema_names_river_refuses(name: str) -> None:
    with pytest.raises(ConfigurationError, match="letters, digits and underscores"):
        check_schema_name(name)


def test_a_long_schema_name_is_refused_with_the_limit() -> None:
    assert 63 - len("." + "river_leadership") == SCHEMA_LENGTH_MAX
    with pytest.raises(ConfigurationError, match="has 47 characters; at most 46"):
        check_schema_name("x" * 47)


def test_a_migrator_refuses_a_schema_name_that_would_end_up_in_a_literal() -> None:
    with pytest.raises(ConfigurationError):
        Migrator("postgresql://localhost/x", schema="a'; DROP TABLE river_job; --")
