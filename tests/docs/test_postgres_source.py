"""docs/postgres-source.md is true: its example runs, with the role and the rights that it names."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from psycopg.conninfo import conninfo_to_dict

from riverbridge.embedded.postgres import Postgres
from riverbridge.embedded.process import free_port
from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader

PAGE = ROOT / "docs" / "postgres-source.md"


def test_the_page(tmp_path: Path, own_postgres: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    url = own_postgres.create_database("app")
    port = conninfo_to_dict(url)["port"]
    replace = {
        "postgresql://app@db/app": url,
        "postgresql://cdc@db/app": f"postgresql://cdc@127.0.0.1:{port}/app",
    }
    env = {"OWNER_URL": url, "RIVERBRIDGE_PROBES__PORT": str(free_port())}
    monkeypatch.setenv("PATH", f"{own_postgres.bin_dir}{os.pathsep}{os.environ['PATH']}")
    with Reader(tmp_path, replace, env) as person:
        for block in blocks(PAGE):
            if block.mark:
                person.follow(block)
