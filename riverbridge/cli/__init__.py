"""`riverbridge`: every command, each imported only when it is called."""

from __future__ import annotations

import importlib
from importlib.metadata import version

import click

_COMMANDS = {
    "run": ("riverbridge.cli.run", "Run the bridge."),
    "work": ("riverbridge.cli.work", "Work jobs with Python functions."),
    "demo": ("riverbridge.cli.demo", "Show the whole thing on servers started for it."),
    "migrate": ("riverbridge.cli.migrate", "Create, upgrade and take down the tables."),
    "insert": ("riverbridge.cli.insert", "Insert a job."),
    "jobs": ("riverbridge.cli.jobs", "Look at jobs; cancel, retry and delete them."),
    "status": ("riverbridge.cli.status", "Show how things stand, from the database alone."),
    "doctor": ("riverbridge.cli.doctor", "Look for what is wrong, and say what to do."),
    "queues": ("riverbridge.cli.queues", "Look at queues, pause them and let them go on."),
    "routes": ("riverbridge.cli.pauses", "Look at routes, pause them and let them go on."),
    "sinks": ("riverbridge.cli.pauses", "Look at sinks, pause them and let them go on."),
    "periodic": ("riverbridge.cli.periodic", "Look at periodic jobs, run them now, pause them."),
    "replay": ("riverbridge.cli.replay", "Deliver finished jobs once more."),
    "quarantine": ("riverbridge.cli.quarantine", "Look at events that could not become jobs."),
    "console": ("riverbridge.cli.console", "Serve the console alone."),
    "config": ("riverbridge.cli.config", "Print the settings in force, and all that is wrong."),
    "bench": ("riverbridge.cli.bench", "Measure the bridge on this machine."),
}


class _Commands(click.Group):
    """Knows the commands by name and help; imports one when it is run."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(_COMMANDS[cmd_name][0])
        command = getattr(module, cmd_name)
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in _COMMANDS.items()])


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("riverbridge"), prog_name="riverbridge")
def main() -> None:
    """Jobs committed to River's Postgres tables reach Kafka, AWS, webhooks and others.

    Settings come from the environment, .env and riverbridge.toml. Exit codes: 0 good, 1 failed,
    2 wrong usage, 78 wrong configuration.
    """
