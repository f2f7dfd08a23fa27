"""Every exception riverbridge raises on purpose.

    RiverbridgeError
    ├── ConfigurationError    settings that cannot work; the command ends with exit code 78
    │   └── SchemaError       the tables are missing, too old or too new for this version
    ├── MigrationError        a migration that cannot be run, or that failed and was rolled back
    ├── InvalidJob            a job River would refuse, found before anything is sent
    ├── ClientError           an insert client used in a way that could lose or split an insert
    ├── InvalidRequest        a question about jobs or queues that cannot be asked
    ├── JobError              what a job's row does not allow
    │   ├── JobNotFound       no job has the id
    │   ├── JobRunning        a job that is being worked, and so cannot be deleted
    │   └── JobConflict       a job that cannot become available: another has its unique key
    ├── QueueNotFound         no queue has the name
    ├── ReplayError           a replay that is not there, is over, or is run by somebody else
    ├── WorkerError           job functions registered, or a job used, in a way that cannot work
    ├── TemplateError         a template that cannot be parsed, or a job it cannot be rendered for
    ├── ConditionError        a condition that cannot be parsed, or that cannot judge a job
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


class InvalidRequest(RiverbridgeError, ValueError):
    """A filter, order, cursor, limit or value that cannot be. Nothing was sent."""


class JobError(RiverbridgeError):
    """What a job's row, or its absence, does not allow; `job_id` says which job."""

    def __init__(self, message: str, *, job_id: int | None = None) -> None:
        super().__init__(message)
        self.job_id = job_id


class JobNotFound(JobError, LookupError):
    """No job has the id."""


class JobRunning(JobError):
    """A job that is being worked cannot be deleted."""


class JobLost(JobError):
    """A job at work that is not its function's any more: cancelled, rescued or finished."""


class JobConflict(JobError):
    """A job cannot become available while another one has its unique key.

    holder_id: the job that has the key; None if it took it in that very moment.
    """

    def __init__(
        self, message: str, *, job_id: int | None = None, holder_id: int | None = None
    ) -> None:
        super().__init__(message, job_id=job_id)
        self.holder_id = holder_id


class QueueNotFound(RiverbridgeError, LookupError):
    """No queue has the name: a queue has a row once a worker has asked for its jobs."""

    def __init__(self, message: str, *, name: str | None = None) -> None:
        super().__init__(message)
        self.name = name


class PeriodicJobNotFound(RiverbridgeError, LookupError):
    """No durable periodic job has the id: it has a row once a leader has seen it."""


class ReplayError(RiverbridgeError):
    """A replay that is not there, is over, or is being run by somebody else."""


class WorkerError(RiverbridgeError):
    """Job functions registered, or a job used, in a way that cannot work."""


class TemplateError(RiverbridgeError, ValueError):
    """A template that cannot be parsed, or a job for which it gives no value."""


class ConditionError(RiverbridgeError, ValueError):
    """A condition that cannot be parsed, or a job of which it cannot say whether it holds."""


class PartMissing(RiverbridgeError):
    """A server the demo or a test starts is not on this machine; the message says how to get it."""


class ServerFailed(RiverbridgeError):
    """A server started for the demo or a test did not come up; the message ends with its log."""
