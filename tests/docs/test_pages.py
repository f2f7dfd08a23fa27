"""What pages name exists: links, make targets, commands, settings, metrics, files and tests."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from riverbridge.cli import main
from riverbridge.settings.reference import reference
from tests.docs.pages import PAGES, ROOT, blocks

FENCE = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
PROSE = {page: FENCE.sub("", page.read_text(encoding="utf-8")) for page in PAGES}
TEXT = {page: page.read_text(encoding="utf-8") for page in PAGES}

# Those of the tools and of Kubernetes, which the settings do not hold.
OTHER = re.compile(r"RIVERBRIDGE_(REQUIRE|PG_BIN|MINISTACK_BIN|TEST_\w*|SERVICE_\w*|PORT\w*)$")


COMMAND = re.compile(r"(?:^|[`|] ?|KINDS='order.\*' )(riverbridge [a-z][^`\n|]*)", re.MULTILINE)


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """The anchors of the headings, as GitHub makes them."""
    found = re.findall(r"^#+ (.+)$", PROSE[page], re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in found}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", PROSE[page]):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} is not there"
        assert there.is_relative_to(ROOT)
        if anchor:
            assert anchor in anchors(there), f"{target}: no such heading"


def test_links_are_found_and_bad_ones_would_be() -> None:
    readme = ROOT / "README.md"
    assert len(re.findall(r"\]\(([^)\s]+)\)", PROSE[readme])) > 10
    assert "insert-a-job" in anchors(readme)
    assert "insert-a-jobs" not in anchors(readme)


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_mark_belongs_to_a_block(page: Path) -> None:
    marks = re.findall(r"^<!-- (?:run|start|shows|stop|file \S+) -->$", TEXT[page], re.MULTILINE)
    assert len(marks) == len([block for block in blocks(page) if block.mark])


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_make_targets_exist(page: Path) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = re.findall(r"(?:^|`)make ([a-z][\w-]*)", TEXT[page], re.MULTILINE)
    assert set(named) <= targets


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_commands_and_their_options_exist(page: Path) -> None:
    context = click.Context(main)
    for line in re.findall(
        r"(?:^|[`|] ?|KINDS='order.\*' )(riverbridge [a-z][^`\n|]*)", TEXT[page]
    ):
        words = line.split(" #")[0].split()[1:]
        command: click.Command | None = main
        while words and isinstance(command, click.Group):
            command = command.get_command(context, words.pop(0))
            assert command is not None, f"there is no command: {line}"
        assert command is not None
        known = {option for each in command.params for option in each.opts}
        given = {word.split("=")[0] for word in words if word.startswith("--")}
        assert given <= known | {"--help"}, line


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_settings_exist(page: Path) -> None:
    known = []
    for variable in re.findall(r"^\| `(RIVERBRIDGE_[^`]+)`", reference(), re.MULTILINE):
        single = "(__[A-Z_]+)?" if variable.endswith("__CONFIG") else ""
        known.append(
            re.compile(re.sub(r"<(NAME|SINK)>", r"(<\1>|[A-Z]+)", variable) + single + r"\Z")
        )
    assert len(known) > 50
    wrong = "RIVERBRIDGE_SINKS__EVENTS__TOPICS"  # the tutorial's typing error
    known.append(re.compile("RIVERBRIDGE_SINKS__LETTERS__"))  # a kind that docs/sinks.md brings
    for found in set(re.findall(r"RIVERBRIDGE_[A-Z<][\w<>]*\w>?", TEXT[page])) - {wrong}:
        if not OTHER.match(found) and page.name != "configuration.md":
            assert any(pattern.match(found) for pattern in known), f"{found} is no setting"


SHOWN = """
import prometheus_client
from opentelemetry import metrics
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider

metrics.set_meter_provider(MeterProvider([PrometheusMetricReader()]))
from riverbridge import telemetry

for instrument in vars(telemetry).values():
    for verb in ("add", "set", "record"):
        if hasattr(instrument, "name") and hasattr(instrument, verb):
            getattr(instrument, verb)(1)
for family in prometheus_client.REGISTRY.collect():
    if family.name.startswith("riverbridge"):
        print(family.name + ("_total" if family.type == "counter" else ""))
"""


def test_the_metrics_of_the_operations_page_are_all_there_are() -> None:
    """In a process of its own, as a provider is set once for all."""
    told = re.findall(r"^\| `(riverbridge_\w+)`", TEXT[ROOT / "docs/operations.md"], re.MULTILINE)
    shown = subprocess.run(
        [sys.executable, "-c", SHOWN], capture_output=True, text=True, timeout=60, check=True
    )
    assert len(told) > 10
    assert sorted(told) == sorted(shown.stdout.split())


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_named_files_exist(page: Path) -> None:
    named = re.findall(r"`((?:riverbridge|tests|docs|charts|requirements)/[\w./-]+)`", PROSE[page])
    for path in named:
        assert (ROOT / path).exists(), f"{path} is not there"


def test_the_reading_order_is_short() -> None:
    """Eight files, under 2,000 lines, as docs/architecture.md says."""
    page = TEXT[ROOT / "docs/architecture.md"]
    listed = re.findall(r"^\d\. `(riverbridge/[\w/]+\.py)`", page, re.MULTILINE)
    assert len(listed) == 8
    assert sum(len((ROOT / path).read_text().splitlines()) for path in listed) < 2000
