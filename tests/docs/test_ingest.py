"""docs/ingest.md is true: its example runs, on a broker and a Postgres."""

from __future__ import annotations

from pathlib import Path

from riverbridge.embedded.broker import Broker
from riverbridge.embedded.process import free_port
from tests.docs.pages import ROOT, blocks
from tests.docs.reader import Reader
from tests.docs.test_readme import url
from tests.support.database import Database

PAGE = ROOT / "docs" / "ingest.md"


def test_the_page_on_ingest(tmp_path: Path, own_kafka: Broker, empty_database: Database) -> None:
    own_kafka.create_topic("signups", 2)
    replace = {
        "postgresql://app@db/app": url(empty_database),
        "broker:9092": own_kafka.bootstrap_servers,
    }
    env = {
        "RIVERBRIDGE_PROBES__PORT": str(free_port()),
        # This broker lets members wait for half of it.
        "RIVERBRIDGE_SOURCES__SIGNUPS__CONFIG": '{"session.timeout.ms":1000}',
    }
    with Reader(tmp_path, replace, env) as person:
        for block in blocks(PAGE):
            if block.mark:
                person.follow(block)
