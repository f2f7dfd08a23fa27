"""The settings of River sinks: what they refuse, and where they would lead back to."""

from __future__ import annotations

import pytest

from riverbridge.bridge.template import Template
from riverbridge.settings import load
from riverbridge.sinks.river import RiverSink
from tests.unit.settings_cases import CANARY, DSN, ROUTE, R, S, problems_of, refused

OTHER = f"postgresql://bridge:{CANARY}@billing-db/billing"
BASE = {"DATABASE_URL": DSN, S + "TYPE": "river", S + "DATABASE_URL": OTHER, **ROUTE}
SAME = {**BASE, S + "DATABASE_URL": f"postgresql://other:{CANARY}@DB:5432/app"}

REFUSED = [
    (BASE, S + "ENVELOPE", "raw", "must be one of cloudevents"),
    (BASE, S + "MAX_ATTEMPTS", "0", "outside of the limits, 1 to 32767"),
    (BASE, S + "DATABASE_URL", f"postgresql://a:{CANARY}@h:x/b", "port"),
    (BASE, S + "HEADERS", '{"river-queue":"x"}', "is the sink's own; set QUEUE"),
    (SAME, S + "QUEUE", "orders", "orders leads back to route a"),
    (SAME, S + "QUEUE", "{queue}", "{queue} leads back to route a"),
    ({**SAME, S + "SCHEMA": "public"}, S + "QUEUE", "orders", "leads back to route a"),
]


@pytest.mark.parametrize(("env", "name", "value", "text"), REFUSED)
def test_what_cannot_work_is_said(env: dict[str, str], name: str, value: str, text: str) -> None:
    (problem,) = problems_of({**env, name: value})
    assert text in problem
    assert CANARY not in problem


@pytest.mark.parametrize(
    "env",
    [
        BASE,
        {**BASE, S + "QUEUE": "orders"},
        {**BASE, S + "QUEUE": "{queue}"},
        {**SAME, S + "QUEUE": "other"},
        {**SAME, S + "QUEUE": "orders", S + "SCHEMA": "billing"},
        {**SAME, S + "QUEUE": "orders", R + "QUEUES": "invoices"},
    ],
)
def test_what_works_opens_a_sink_and_shows_no_secret(env: dict[str, str]) -> None:
    settings = load(env, None, None)
    assert CANARY not in "".join(line.value or "" for line in settings.describe())
    sink = settings.sinks["events"].open("events")
    assert isinstance(sink, RiverSink)
    sink.close()


@pytest.mark.parametrize("field", ["KIND", "QUEUE", "PRIORITY", "TAGS"])
def test_a_wrong_template_is_found_in_its_field(field: str) -> None:
    (problem,) = refused({**BASE, S + field: "{no_such}"}, check_template=Template.parse)
    assert problem.startswith(f"{S}{field}: ")
