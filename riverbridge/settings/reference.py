"""The configuration reference, written from the models so that it cannot differ from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import get_args

from pydantic_core import PydanticUndefined

from riverbridge.settings import http, models, shape
from riverbridge.settings.parts import Part
from riverbridge.settings.sinks.kinds import OURS
from riverbridge.settings.sinks.large import Large, OwnLarge
from riverbridge.settings.sinks.schema import Registry
from riverbridge.settings.sources.fetch import Fetch
from riverbridge.settings.sources.kinds import OURS as SOURCES

_HEAD = """\
# Configuration

Settings are read from the environment, from `.env` and from `riverbridge.toml` in the working
directory; the environment wins over `.env`, and `.env` over the TOML file. All but `DATABASE_URL`
start with `RIVERBRIDGE_`, and two underscores separate levels. The TOML file has the same keys in
lower case, levels as tables:

```toml
database_url = "postgresql://app@db/app"

[sinks.events]
type = "kafka"
bootstrap_servers = "broker:9092"
topic = "jobs.{kind}"
```

- A **duration** is seconds (`5`, `0.5`) or a number and a unit: `500ms`, `5s`, `2m`, `1h`, `7d`.
- A **size** is bytes or a number and `KiB`, `MiB` or `GiB`.
- A **rate** is a number and `/s`, `/m` or `/h`: so many in a second, a minute or an hour.
- A **list** is comma-separated or a JSON array; in TOML an array.
- Any table may be given as a JSON object: `RIVERBRIDGE_HTTP='{"port":8081}'`. A variable for a part
  of it wins.
- In `.env`, `${NAME}` stands for another variable. In the environment nothing is replaced.
- `<NAME>` is a name you choose: letters, digits and single underscores; it is used in lower case.

Unknown keys are errors, at every level. Excepted are the variables that Kubernetes injects for a
Service named riverbridge (`RIVERBRIDGE_SERVICE_HOST`, `RIVERBRIDGE_SERVICE_PORT…`,
`RIVERBRIDGE_PORT…`), which are ignored with one log line, and those of the project's own tools
(`RIVERBRIDGE_REQUIRE`, `RIVERBRIDGE_PG_BIN`, `RIVERBRIDGE_MINISTACK_BIN`, `RIVERBRIDGE_TEST_*`).

`riverbridge config` prints what is in force and where it came from, secrets masked. Wrong settings
end every command with exit code 78 and one line for each problem, all at once.

This page is written by `python -m riverbridge.settings`.
"""

_SECTIONS: tuple[tuple[str, str, shape.Path, tuple[type[Part], ...]], ...] = (
    (
        "Retention",
        "Applies where riverbridge leads the upkeep.",
        ("retention",),
        (models.Retention,),
    ),
    ("Logging", "", ("log",), (models.Log,)),
    ("Console and API", "[The console](console.md).", ("http",), (http.Http,)),
    (
        "Users of the console",
        "Without users and proxy there is no login, and the console listens on loopback only.",
        ("http", "users", "<NAME>"),
        (http.User,),
    ),
    ("Proxy before the console", "", ("http", "proxy"), (http.HttpProxy,)),
    (
        "Further databases in the console",
        "",
        ("http", "databases", "<NAME>"),
        (http.ConsoleDatabase,),
    ),
    ("Probes", "", ("probes",), (models.Probes,)),
    ("Webhooks that come in", "", ("hooks",), (models.Hooks,)),
    *((kind.title, "", ("sinks", "<NAME>"), (kind,)) for kind in OURS),
    (
        "Large messages",
        "For all sinks but EventBridge's and files. [More](envelopes.md#large-messages).",
        ("sinks", "<NAME>", "large"),
        (Large,),
    ),
    (
        "Schema registry",
        "For Kafka sinks. [More](kafka.md#schemas).",
        ("sinks", "<NAME>", "registry"),
        (Registry,),
    ),
    (
        "Routes",
        (
            "With sinks but no route there is one route, `outbox`: the queue `outbox` to all "
            "sinks. [Routes](routes.md) tells which route takes a job."
        ),
        ("routes", "<NAME>"),
        (models.Route,),
    ),
    (
        "Overrides of routes",
        "What differs for one of the route's sinks, by the sink's name.",
        ("routes", "<NAME>", "overrides", "<SINK>"),
        (models.Override,),
    ),
    (
        "Large messages of a route",
        (
            "What differs for one of the route's sinks; the rest is the sink's. "
            "[More](envelopes.md#large-messages)."
        ),
        ("routes", "<NAME>", "overrides", "<SINK>", "large"),
        (OwnLarge,),
    ),
    *((kind.title, "", ("sources", "<NAME>"), (kind,)) for kind in SOURCES),
    (
        "Bodies that lie elsewhere",
        "For all sources. [More](ingest.md#bodies-that-lie-elsewhere).",
        ("sources", "<NAME>", "fetch"),
        (Fetch,),
    ),
)


def reference() -> str:
    """The reference as Markdown: every variable, its type, default, limits and an example."""
    parts = [_HEAD, *_table("General", "", (), (models.Settings,))]
    for title, text, path, part in _SECTIONS:
        parts += _table(title, text, path, part)
    return "\n".join(parts)


def _table(
    title: str, text: str, path: shape.Path, part: tuple[type[Part | models.Settings], ...]
) -> Iterator[str]:
    yield f"## {title}\n"
    if text:
        yield text + "\n"
    yield "| Variable | Type | Default | Limits | Meaning | Example |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for key, node in shape.tree(*part).fields.items():
        if isinstance(node, shape.Leaf):
            yield _row((*path, key), node)
    yield ""


def _row(path: shape.Path, leaf: shape.Leaf) -> str:
    field, rule = leaf.field, leaf.rule
    examples = [_code(example) for example in field.examples or ()]
    cells = (
        _code(shape.variable(path)),
        rule.kind if rule else "choice",
        _default(leaf),
        (rule.limits if rule else ", ".join(get_args(field.annotation))),
        field.description or "",
        ", ".join(examples),
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _default(leaf: shape.Leaf) -> str:
    default = leaf.field.default
    if default is PydanticUndefined:
        return "required"
    if default is None or default in ((), {}):
        return ""
    return _code(leaf.show(default))


def _code(value: object) -> str:
    return f"`{value}`"
