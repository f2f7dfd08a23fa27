"""A dry run shows and changes nothing."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest
from click.testing import CliRunner

from riverbridge.cli import main
from riverbridge.service.dry_run import dry_run
from riverbridge.settings import load
from tests.support.bridge import environment
from tests.support.database import Database
from tests.support.jobs import add, row


def settings(database: Database, port: int = 9, **env: str) -> Any:
    given = {
        "SINKS__EVENTS__TYPE": "kafka",
        "SINKS__EVENTS__BOOTSTRAP_SERVERS": f"127.0.0.1:{port}",
        "SINKS__EVENTS__TOPIC": "jobs.{kind}",
        "ROUTES__A__QUEUES": "q",
        "ROUTES__A__KINDS": "order.*",
        "ROUTES__A__SINKS": "events",
        "ROUTES__A__KEY": "{args.customer}",
        "ROUTES__A__ORDERED": "false",
        "SOURCE_NAME": "here",
    }
    return load(environment(database, given | env), None, None)


def test_a_dry_run_shows_what_would_be_sent_and_changes_nothing(tables: Database) -> None:
    with tables.connect() as look:
        good = add(look, kind="'order.a'", args="""'{"customer": 1.0, "é": "語"}'""")
        bad = add(look, kind="'order.b'")
        other = add(look, kind="'stray'")
        before = [row(look, id_) for id_ in (good, bad, other)]
        lines: list[str] = []

        def show(line: str) -> None:
            lines.append(line)
            # The rows are free again by now.
            look.execute("SELECT FROM river_job FOR UPDATE NOWAIT")

        assert dry_run(settings(tables), 10, show) == 2
        assert [row(look, id_) for id_ in (good, bad, other)] == before
    sent, refused = map(json.loads, lines)
    assert sent["id"] == f"here:{good}"
    assert sent["body"] == '{"é": "語", "customer": 1.0}'
    assert (sent["destination"], sent["key"]) == ("jobs.order.a", "1.0")
    assert (sent["route"], sent["sink"], sent["job"]) == ("a", "events", good)
    assert sent["headers"]["ce_type"] == "order.a"
    assert "args.customer" in refused["discarded"]


def test_a_dry_run_sends_nothing(tables: Database) -> None:
    with tables.connect() as look, socket.create_server(("127.0.0.1", 0)) as broker:
        add(look, kind="'order.a'", args="""'{"customer": 1}'""")
        assert dry_run(settings(tables, broker.getsockname()[1]), 10, lambda _: None) == 1
        broker.setblocking(False)
        with pytest.raises(BlockingIOError):
            broker.accept()


def test_what_no_route_takes_is_not_shown_as_sent(tables: Database) -> None:
    with tables.connect() as look:
        stray = add(look, kind="'stray'")
    lines: list[str] = []
    assert dry_run(settings(tables, ROUTES__A__UNMATCHED="fail"), 10, lines.append) == 1
    [line] = map(json.loads, lines)
    assert line["job"] == stray
    assert "takes the kind stray" in line["failed"]
    assert "body" not in line


def test_globs_and_conditions_count_in_a_dry_run(tables: Database) -> None:
    with tables.connect() as look:
        ids = [add(look, queue="'q-new'", args=args) for args in ("'{\"n\": 1}'", "'{\"n\": 2}'")]
    lines: list[str] = []
    given = settings(
        tables,
        ROUTES__A__QUEUES="q-*",
        ROUTES__A__KINDS="*",
        ROUTES__A__KEY="k",
        ROUTES__A__WHEN="args.n == 2",
    )
    assert dry_run(given, 10, lines.append) == 2
    left, sent = map(json.loads, lines)
    assert (left["job"], sent["job"]) == tuple(ids)
    assert "no route of queue q-new takes" in left["left"]
    assert sent["route"] == "a"


@pytest.mark.parametrize("limit", ["0", "-1", "x"])
def test_a_limit_that_makes_no_sense_is_wrong_usage(limit: str) -> None:
    assert CliRunner().invoke(main, ["run", "--dry-run", "--limit", limit]).exit_code == 2
