"""Python's logging, into the rows of the jobs that log."""

from __future__ import annotations

import logging

from riverbridge.worker.job import current


class JobLogHandler(logging.Handler):
    """Copies what is logged while a job runs into that job's row, formatted as the handler is.

    Add it to the loggers whose lines are wanted, such as the root logger. Lines that are logged
    outside of a job function, and in those that get many jobs at once, are let go.
    """

    def emit(self, record: logging.LogRecord) -> None:
        job = current.get(None)
        if job is not None:
            try:
                job.log(self.format(record))
            except Exception:
                self.handleError(record)
