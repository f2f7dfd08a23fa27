"""Roles of the server that may do what docs/operations.md grants them, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.support.database import Database, new_name

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
PASSWORD = "no secret"


def grants(name: str) -> list[str]:
    """The statements of the page's block of that name."""
    block = re.search(rf"<!-- grants: {name} -->\n```sql\n(.*?)```", PAGE, re.DOTALL)
    assert block, f"docs/operations.md has no block of grants called {name}"
    return [statement for statement in map(str.strip, block[1].split(";")) if statement]


@dataclass(frozen=True)
class Role:
    """A role of no rights but those granted, and the database as it sees it."""

    name: str
    database: Database
    owner: Database

    def grant(self, statements: Sequence[str]) -> None:
        with self.owner.connect() as connection:
            for statement in statements:
                assert statement.endswith(" TO riverbridge")
                mine = f"{statement.removesuffix('riverbridge')}{self.name}"
                connection.execute(mine.encode())


@contextmanager
def new_role(database: Database) -> Iterator[Role]:
    """A role without any rights; `public` is nobody's from now on but for what is granted."""
    name = new_name("riverbridge_role")
    with database.connect() as connection:
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(
                sql.Identifier(name), sql.Literal(PASSWORD)
            )
        )
        # As a careful owner has it, and Postgres 14 had not.
        connection.execute("REVOKE ALL ON SCHEMA public FROM PUBLIC")
    dsn = make_conninfo(database.dsn, user=name, password=PASSWORD)
    try:
        yield Role(name, Database(database.name, dsn, database.server), database)
    finally:
        with database.connect() as connection:
            connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
            connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))
