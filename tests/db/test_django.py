"""What only Django has: tests inside of a transaction that is never committed."""

from __future__ import annotations

import unittest
from dataclasses import dataclass
from typing import Any, ClassVar

from riverbridge import Client
from tests.support.connections import SYNC, run
from tests.support.database import Database

DJANGO = next(way for way in SYNC if way.name == "django")


@dataclass
class Placed:
    order_id: int
    kind: ClassVar[str] = "order.placed"


def test_an_insert_of_its_own_works_in_a_test_case_and_goes_with_it(tables: Database) -> None:
    async def scenario() -> None:
        async with DJANGO.given(tables) as connection:
            found = run_in_test_case(connection)
            assert [text for _, text in found.errors + found.failures] == []
            assert found.testsRun == 1

    run(DJANGO, scenario())
    with tables.connect() as look:
        assert look.execute("SELECT count(*) FROM river_job").fetchone() == (0,)


def run_in_test_case(connection: Any) -> unittest.TestResult:
    from django.test import TestCase

    class Case(TestCase):  # type: ignore[misc]  # Any
        def runTest(self) -> None:
            result = Client(connection).insert(Placed(1))
            with connection.cursor() as cursor:
                cursor.execute("SELECT id FROM river_job")
                assert cursor.fetchall() == [(result.job.id,)]

    found = unittest.TestResult()
    unittest.TestSuite([Case()]).run(found)
    return found
