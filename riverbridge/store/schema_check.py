"""Whether the tables are ones this release can serve. It looks, and never migrates."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.rows import tuple_row

from riverbridge.errors import SchemaError
from riverbridge.model.names import check_schema_name
from riverbridge.sql import statement
from riverbridge.sql.migrations import BRIDGE, MAIN, migrations
from riverbridge.store.migrate import read_applied

MAIN_OLDEST = 6
"""Uniqueness by state lives in an index since this version."""

MAIN_NEWEST = 8
"""River 0.51's version 8 changes nothing on Postgres, so it is served though not shipped."""


def check_schema(conn: psycopg.Connection[Any], schema: str | None) -> None:
    """Return if both lines are there in versions this release serves.

    Runs three short statements in whatever transaction `conn` is in. Without `river_migration`
    (users may manage the tables themselves) it looks for the tables and columns instead.

    Raises SchemaError with the versions found, those needed, and the command to run.
    """
    if schema:
        check_schema_name(schema)
    try:
        _check(conn, schema or None)
    except pg.InsufficientPrivilege as error:
        raise SchemaError(
            f"the tables{_where(schema)} cannot be checked: {error.diag.message_primary}; grant "
            "this role USAGE on the schema and SELECT on river_migration"
        ) from error


def _check(conn: psycopg.Connection[Any], schema: str | None) -> None:
    main = read_applied(conn, schema, MAIN)
    if not main.present:
        _check_without_versions(conn, schema)
        return
    bridge = read_applied(conn, schema, BRIDGE)
    ours = migrations(BRIDGE)[-1].version
    main_now, bridge_now = max(main.versions, default=0), max(bridge.versions, default=0)
    found = f"found{_where(schema)}: {_named(MAIN, main_now)}, {_named(BRIDGE, bridge_now)}"
    needed = f"needed: {MAIN} {MAIN_OLDEST:03} to {MAIN_NEWEST:03}, {BRIDGE} {ours:03}"
    if main_now > MAIN_NEWEST or bridge_now > ours:
        raise SchemaError(
            f"the tables are newer than this release knows ({found}; {needed}): "
            "upgrade riverbridge, or take them down with the release that applied them"
        )
    if main_now < MAIN_OLDEST or bridge_now < ours:
        raise SchemaError(
            f"the tables are older than this release needs ({found}; {needed}); run: {_up(schema)}"
        )


def _check_without_versions(conn: psycopg.Connection[Any], schema: str | None) -> None:
    with conn.cursor(row_factory=tuple_row) as cursor:
        row = cursor.execute(statement("migration/presence", schema)).fetchone()
    assert row is not None
    job, unique_states, bridge = row
    if not job:
        raise SchemaError(
            f"River's tables are not there{_where(schema)} (found: neither river_job nor "
            f"river_migration; needed: {MAIN} {MAIN_OLDEST:03} to {MAIN_NEWEST:03}); "
            "if they are, grant this role USAGE on their schema, else "
            f"run: {_up(schema)}"
        )
    unknown = f"the versions of the tables{_where(schema)} are unknown, river_migration is absent"
    if not unique_states:
        raise SchemaError(
            f"{unknown}; column unique_states of river_job is missing, which {MAIN} "
            f"{MAIN_OLDEST:03} adds: apply what is missing, printed by: "
            f"riverbridge migrate get --line {MAIN} --all --up (riverbridge migrate up cannot tell "
            "what is there)"
        )
    if not bridge:
        raise SchemaError(
            f"{unknown}; riverbridge's own tables are missing: apply what is printed by: "
            f"riverbridge migrate get --line {BRIDGE} --all --up (riverbridge migrate up needs "
            "river_migration)"
        )


def _named(line: str, version: int) -> str:
    return f"{line} {version:03}" if version else f"{line} none"


def _where(schema: str | None) -> str:
    return f" in schema {schema}" if schema else ""


def _up(schema: str | None) -> str:
    return "riverbridge migrate up" + (f" --schema {schema}" if schema else "")
