"""The job functions that test_river_ui.py has `riverbridge work` run, in a process of their own."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

from riverbridge import FixedRetry, JobCancel, JobSnooze, RunningJob, Workers

DIARY = "RIVERBRIDGE_TEST_DIARY"
"""The variable that names the file they write into."""

workers = Workers()


def write(what: str, job: RunningJob[Any]) -> None:
    """Add a line to the diary: what happened, and to which job."""
    with Path(os.environ[DIARY]).open("a") as diary:
        print(what, job.id, file=diary, flush=True)


@workers.work(dict, kind="loop", aliases=("young", "fresh"))
async def loop(job: RunningJob[dict[str, Any]]) -> None:
    """Never ends by itself."""
    write("begun", job)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        write("told", job)
        raise


@workers.work(dict, kind="thread")
def thread(job: RunningJob[dict[str, Any]]) -> None:
    """Never ends by itself, and looks whether it is cancelled, as a thread must."""
    write("begun", job)
    job.cancelled.wait()
    write("told", job)
    job.raise_if_cancelled()


@workers.work(dict, kind="end", retry=FixedRetry(3600))
def end(job: RunningJob[dict[str, Any]]) -> None:
    """Ends as its args say."""
    write("begun", job)
    match job.args.get("how"):
        case "fail":
            raise ValueError("out of paper")
        case "cancel":
            raise JobCancel("not wanted")
        case "snooze":
            raise JobSnooze(3600)


@workers.work(dict, kind="talk", retry=FixedRetry(0))
def talk(job: RunningJob[dict[str, Any]]) -> None:
    """Fails once, and leaves a log of both attempts and an output."""
    job.log(f"attempt {job.attempt} <b>&amp;</b>")
    job.log("second line — 漢字")
    if job.attempt == 1:
        raise ConnectionError("no answer\nfrom 10.0.0.1")
    job.record_output({"pages": 3, "note": "naïve"})
