"""Every exception riverbridge raises on purpose.

    RiverbridgeError
    ├── ConfigurationError    settings that cannot work; the command ends with exit code 78
    │   └── SchemaError       the tables are missing, too old or too new for this version
    ├── MigrationError        a migration that cannot be run, or that failed and was rolled back
    ├── InvalidJob            a job River would refuse, found before anything is sent
    ├── ClientError           an insert client used in a way that could lose or split an insert
    ├── TemplateError         a template that cannot be parsed, or a job it cannot be rendered for
    ├── PartMissing           the demo or a test needs a server that this machine does not have
    └── ServerFailed          a server the demo or a test started did not come up, or is not there

What happens to a job is never an exception: it is an outcome (`riverbridge.model.outcome`).
"""

from __future__ import annotations

from collections.abc import Sequence


class RiverbridgeError(Exception):
    """The root of the tree; catch it to catch everything below."""


class ConfigurationError(RiverbridgeError):
    """Settings that cannot work. `problems` holds one line for each, all found at once."""

    def __init__(self, problems: str | Sequence[str]) -> None:
        self.problems: tuple[str, ...] = (
            (problems,) if isinstance(problems, str) else tuple(problems)
        )
        super().__init__("\n".join(self.problems))


class SchemaError(ConfigurationError):
    """The tables are missing, too old or too new. The message names versions and the command."""


class MigrationError(RiverbridgeError):
    """A migration that cannot be run, or that failed and was rolled back."""


class InvalidJob(RiverbridgeError, ValueError):
    """A job that River would refuse; the message states the rule."""


class ClientError(RiverbridgeError):
    """An insert client used in a way that could lose or split an insert. Nothing was sent."""


class TemplateError(RiverbridgeError, ValueError):
    """A template that cannot be parsed, or a job for which it gives no value."""


class PartMissing(RiverbridgeError):
    """A server the demo or a test starts is not on this machine; the message says how to get it."""


class ServerFailed(RiverbridgeError):
    """A server started for the demo or a test did not come up; the message ends with its log."""
