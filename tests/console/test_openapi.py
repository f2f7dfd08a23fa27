"""The document of our own API, held against its answers by Schemathesis."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

import hypothesis
import pytest

from tests.support.console_server import Site, console_on
from tests.support.database import Database
from tests.support.jobs import add

schemathesis: Any = import_module("schemathesis")  # its types leave out what it documents

pytestmark = pytest.mark.filterwarnings("default")  # its own are not ours

EXAMPLES = 25
"""Requests for each operation and way: such as the document allows, and such as it does not."""


@pytest.fixture(scope="module")
def site(module_database: Database) -> Iterator[Site]:
    with module_database.connect() as look:
        add(look, args="""'{"a": [1, null]}'""", errors="""ARRAY['{"at": 1}']::jsonb[]""")
        add(look, state="'completed'", finalized_at="'infinity'", attempted_at="'-infinity'")
    with console_on(module_database) as site:
        yield site


@pytest.mark.parametrize("mode", ["positive", "negative"])
def test_the_answers_are_as_the_document_says(site: Site, mode: str) -> None:
    """None is a failure of the server, each has a status and a form that is described."""
    schema = schemathesis.openapi.from_url(f"{site.url}/api/bridge/openapi.json")
    wanted = schemathesis.GenerationMode(mode)
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()
        if mode == "negative" and not operation.definition.raw["parameters"]:
            continue  # there is nothing that could be wrong

        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        @hypothesis.given(case=operation.as_strategy(generation_mode=wanted))
        def holds(case: Any) -> None:
            nonlocal tried
            tried += 1
            case.call_and_validate(
                checks=[
                    schemathesis.checks.not_a_server_error,
                    schemathesis.specs.openapi.checks.status_code_conformance,
                    schemathesis.specs.openapi.checks.content_type_conformance,
                    schemathesis.specs.openapi.checks.response_schema_conformance,
                ]
            )

        holds()
    assert tried > 7
