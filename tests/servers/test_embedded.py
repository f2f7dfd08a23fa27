"""Each server starts, answers its own protocol, and is gone afterwards."""

from __future__ import annotations

from riverbridge.embedded.broker import Broker
from riverbridge.embedded.postgres import Postgres
from riverbridge.embedded.sqs import SqsServer
from tests.support.database import Database, new_name


def test_a_fresh_database_is_empty(empty_database: Database) -> None:
    with empty_database.connect() as connection:
        found = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")
        assert found.fetchone() == (0,)


def test_postgres_keeps_what_was_committed_over_a_crash(own_postgres: Postgres) -> None:
    dsn = own_postgres.create_database("kept")
    own_postgres.kill()
    own_postgres.start()
    assert own_postgres.dsn("kept") == dsn


def test_broker_takes_a_topic(kafka: Broker) -> None:
    kafka.create_topic(new_name("orders"), partitions=3)


def test_sqs_takes_a_queue(sqs: SqsServer) -> None:
    assert sqs.create_queue(new_name("orders")).startswith(sqs.endpoint_url)
