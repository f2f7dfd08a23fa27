"""River UI, the real program, on a database where all that works is in Python."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import riverbridge
from riverbridge import Client, InsertOpts, JobState, RawArgs
from riverbridge.embedded.process import ChildProcess, free_port, plain_environment
from tests.interop.river_ui_jobs import DIARY
from tests.support.browser import Browser, browser, find_chromium
from tests.support.database import Database
from tests.support.parts import part
from tests.support.river_ui import Refused, RiverUi, build_river_ui, river_ui
from tests.support.roles import grants, new_role
from tests.support.wait import eventually

pytestmark = pytest.mark.go

WORK = [
    *("-c", "from riverbridge.cli import main; main()", "work", "tests.interop.river_ui_jobs"),
    *("--queue", "default=20", "--queue", "mail=20", "--queue", "other=20"),
]


@dataclass
class Office:
    """A database, a Python process that works its queues, and River UI to look at it."""

    ui: RiverUi
    client: Client
    look: psycopg.Connection[tuple[Any, ...]]
    diary: Path

    def insert(self, kind: str, args: str = "{}", **options: Any) -> int:
        return self.client.insert(RawArgs(kind, args), InsertOpts(**options)).job.id

    def end(self, how: str, **options: Any) -> int:
        return self.insert("end", json.dumps({"how": how}), **options)

    def wrote(self, what: str, id_: int) -> bool:
        return f"{what} {id_}" in self.diary.read_text().splitlines()

    def job(self, id_: int) -> Any:
        return self.ui.get(f"/api/jobs/{id_}")

    def becomes(self, id_: int, state: str) -> Any:
        """The job as River UI has it, once it is in `state` there."""
        return eventually(lambda: found if (found := self.job(id_))["state"] == state else None)

    def listed(self, **query: Any) -> list[int]:
        """The jobs that River UI lists, in its order."""
        return [job["id"] for job in self.ui.get("/api/jobs", **query)["data"]]

    def value(self, query: str, *parameters: object) -> Any:
        row = self.look.execute(query.encode(), parameters).fetchone()
        return None if row is None else row[0]


@pytest.fixture(scope="module")
def office(module_database: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with part("go"):
        program = build_river_ui()
    home = tmp_path_factory.mktemp("office")
    diary = home / "diary"
    diary.touch()
    worker = ChildProcess(
        [sys.executable, *WORK],
        log=home / "worker.log",
        cwd=home,
        env=plain_environment(
            **{DIARY: str(diary)},
            PYTHONPATH=str(Path(riverbridge.__file__).parents[1]),
            DATABASE_URL=module_database.dsn,
            RIVERBRIDGE_PROBES__PORT=str(free_port()),
            RIVERBRIDGE_GRACE="0",
        ),
    )
    with (
        new_role(module_database) as role,
        river_ui(program, role.database, home) as ui,
        Client(module_database.dsn) as client,
        module_database.connect() as look,
    ):
        office = Office(ui, client, look, diary)
        role.grant(grants("administration"))
        worker.start(lambda: len(ui.get("/api/queues")["data"]) == 3)
        try:
            yield office
        finally:
            worker.stop(within=20)


def test_lists_jobs_of_every_state_and_counts_them(office: Office) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    tagged: dict[str, Any] = {"tags": ["every"]}
    jobs = {
        "available": [office.end("", queue="nobody", **tagged)],
        "scheduled": [office.end("snooze", **tagged), office.end("", scheduled_at=later, **tagged)],
        "pending": [office.end("", pending=True, **tagged)],
        "running": [office.insert("loop", **tagged)],
        "retryable": [office.end("fail", **tagged)],
        "cancelled": [office.end("cancel", **tagged)],
        "discarded": [office.end("fail", max_attempts=1, **tagged)],
        "completed": [office.end("", tags=["every", "odd"], priority=3, queue="mail")],
    }
    for state, ids in jobs.items():
        for id_ in ids:
            office.becomes(id_, state)
    last = office.end("", **tagged)
    office.becomes(last, "completed")
    jobs["completed"].insert(0, last)  # the newest first
    assert jobs == {state: office.listed(state=state, tags="every") for state in JobState}
    assert office.listed(tags="every") == jobs["running"]
    assert office.listed(state="completed", limit=1) == [last]
    for query in ({"priorities": 3}, {"queues": "mail"}, {"tags": "odd"}, {"ids": [0, last - 1]}):
        assert office.listed(state="completed", **query) == jobs["completed"][1:], query
    assert office.listed(state="completed", kinds=["loop", "talk"]) == []
    counted = office.ui.get("/api/states")
    found = office.look.execute("SELECT state::text, count(*) FROM river_job GROUP BY state")
    assert {state: count["count"] for state, count in counted.items()} == dict(found.fetchall())
    office.ui.post("cancel", *jobs["running"])


def test_shows_attempts_errors_logs_and_output(office: Office) -> None:
    id_ = office.insert("talk", '{"big": 9007199254740993, "text": "<b>"}', tags=["a-b"])
    shown = office.becomes(id_, "completed")
    process = office.value("SELECT id FROM riverbridge_process")
    assert json.loads(shown["args"]) == {"big": 9007199254740993, "text": "<b>"}
    assert shown["attempted_by"] == [process, process]
    assert (shown["attempt"], shown["max_attempts"], shown["tags"]) == (2, 25, ["a-b"])
    instants = [
        datetime.fromisoformat(at)
        for at in (
            shown["created_at"], shown["errors"][0]["at"], shown["attempted_at"],
            shown["finalized_at"],
        )
    ]  # fmt: skip
    assert instants == sorted(instants)
    error = shown["errors"][0]
    assert error == error | {"attempt": 1, "error": "no answer\nfrom 10.0.0.1"}
    assert error["trace"].startswith("Traceback (most recent call last):\n")
    assert shown["metadata"] == {
        "river:log": [
            {"attempt": n, "log": f"attempt {n} <b>&amp;</b>\nsecond line — 漢字\n"} for n in (1, 2)
        ],
        "output": {"pages": 3, "note": "naïve"},
    }


@pytest.mark.parametrize("kind", ["loop", "thread"])
def test_cancels_what_runs(office: Office, kind: str) -> None:
    id_ = office.insert(kind)
    assert office.becomes(id_, "running")["errors"] == []
    office.ui.post("cancel", id_)
    shown = office.becomes(id_, "cancelled")
    assert office.wrote("told", id_)
    assert shown["finalized_at"]
    assert [error["error"] for error in shown["errors"]] == [
        "JobCancelError: job cancelled remotely"
    ]


def test_cancels_what_began_just_now(office: Office) -> None:
    """Its row reads available still, and is locked."""
    id_ = office.insert("young")
    eventually(lambda: office.wrote("begun", id_))
    assert office.job(id_)["state"] == "available"
    office.ui.post("cancel", id_)
    office.becomes(id_, "cancelled")
    assert office.wrote("told", id_)


def test_does_not_delete_what_began_just_now(office: Office) -> None:
    """Though it says so, as it does not look again at what it waited for."""
    id_ = office.insert("fresh")
    eventually(lambda: office.wrote("begun", id_))
    assert office.job(id_)["state"] == "available"
    office.ui.post("delete", id_)
    assert office.job(id_)["state"] == "running"
    office.ui.post("cancel", id_)
    office.becomes(id_, "cancelled")


def test_cancels_what_waits(office: Office) -> None:
    later = datetime.now(UTC) + timedelta(hours=1)
    retried = office.end("fail")
    office.becomes(retried, "retryable")
    ids = [
        retried,
        office.end("", scheduled_at=later),
        office.end("", queue="nobody"),
        office.end("", pending=True),
    ]
    office.ui.post("cancel", *ids)
    assert [office.job(id_)["state"] for id_ in ids] == ["cancelled"] * 4


def test_retries(office: Office) -> None:
    """One that is over for good runs again, with an attempt more where none was left."""
    done, failed = office.end(""), office.end("fail", max_attempts=1)
    for id_, state in ((done, "completed"), (failed, "discarded")):
        office.becomes(id_, state)
    office.ui.post("retry", done, failed)
    eventually(lambda: office.job(done)["attempt"] == office.job(failed)["attempt"] == 2)
    assert office.becomes(done, "completed")["max_attempts"] == 25
    again = office.becomes(failed, "discarded")
    assert again["max_attempts"] == 2
    assert [error["attempt"] for error in again["errors"]] == [1, 2]


def test_deletes_what_does_not_run(office: Office) -> None:
    running = office.insert("loop")
    office.becomes(running, "running")
    with pytest.raises(Refused, match=f"{running} is running"):
        office.ui.post("delete", running)
    done = office.end("")
    office.becomes(done, "completed")
    waiting = office.end("", queue="nobody")
    office.ui.post("delete", done, waiting)
    assert office.value("SELECT count(*) FROM river_job WHERE id = ANY (%s)", [done, waiting]) == 0
    with pytest.raises(Refused, match="not found"):
        office.job(done)
    office.ui.post("cancel", running)
    office.becomes(running, "cancelled")


def test_pauses_and_resumes_queues(office: Office) -> None:
    office.ui.put("mail", "pause")
    assert office.ui.get("/api/queues/mail")["paused_at"]
    eventually(lambda: left_waiting(office, "mail"))
    waiting = [left_waiting(office, "mail") for _ in range(5)]
    assert office.ui.get("/api/queues/mail")["count_available"] == 6
    office.ui.put("mail", "resume")
    for id_ in waiting:
        office.becomes(id_, "completed")
    assert office.ui.get("/api/queues/mail")["paused_at"] is None


def left_waiting(office: Office, queue: str) -> int:
    """A new job of `queue`, if a later one of another queue overtakes it; else 0."""
    id_ = office.end("", queue=queue)
    office.becomes(office.end("", queue="other"), "completed")
    return id_ if office.job(id_)["state"] == "available" else 0


def test_lists_queues_and_completes_names(office: Office) -> None:
    running = office.insert("thread", queue="other")
    office.becomes(running, "running")
    queues = {queue["name"]: queue for queue in office.ui.get("/api/queues")["data"]}
    assert queues.keys() == {"default", "mail", "other"}
    assert queues["other"]["count_running"] == 1
    kinds = office.ui.get("/api/autocomplete", facet="job_kind", match="thr")["data"]
    assert kinds == ["thread"]
    names = office.ui.get("/api/autocomplete", facet="queue_name", match="o")["data"]
    assert names == ["other"]
    office.ui.post("cancel", running)
    office.becomes(running, "cancelled")


def test_serves_its_pages(office: Office) -> None:
    """The pages of this version, and all that they ask for."""
    for path in ("/", "/jobs?state=completed", "/queues"):
        kind, page = office.ui.fetch(path)
        assert kind == "text/html"
        wanted = re.findall(r'(?:src|href)="([^"]+\.(?:js|css|svg|ico|png))"', page.decode())
        assert {name.rpartition(".")[2] for name in wanted} == {"js", "css", "svg", "ico", "png"}
        for name in wanted:
            kind, content = office.ui.fetch(name)
            assert kind != "text/html", name
            assert len(content) > 1000, name


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Browser]:
    with part("browser"):
        find_chromium()
    with browser(tmp_path) as opened:
        yield opened


def test_in_a_browser(office: Office, window: Browser) -> None:
    def shows(path: str, *texts: str) -> None:
        window.open(office.ui.url + path)
        sees(*texts)

    def sees(*texts: str) -> None:
        eventually(lambda: all(text in window.text() for text in texts))

    def click(xpath: str) -> None:
        eventually(lambda: window.clicked(xpath))

    talked, running = office.insert("talk", '{"big": 9007199254740993}'), office.insert("loop")
    process = office.becomes(talked, "completed")["attempted_by"][0]
    office.becomes(running, "running")
    shows("/jobs?state=completed", "talk", '{"big":9007199254740993}')
    shows(f"/jobs/{talked}", "Completed", "2 / 25", process, "no answer\nfrom 10.0.0.1", "Logs")
    click("//summary[.='Logs']")
    sees("attempt 2 <b>&amp;</b>\nsecond line — 漢字")
    click("(//summary[.='Logs'])[2]")
    sees("attempt 1 <b>&amp;</b>\nsecond line — 漢字")
    click("//summary[.='Stack Trace']")
    sees("Traceback (most recent call last):")
    shows(f"/jobs/{running}", "Running")
    click("//button[normalize-space()='Cancel']")
    sees("JobCancelError: job cancelled remotely")
    assert office.wrote("told", running)
    shows("/queues", "mail", "Pause, mail")
    click("//button[contains(., 'Pause, mail')]")
    sees("Paused", "Resume, mail")
    click("//button[contains(., 'Resume, mail')]")
    sees("Pause, mail")
    assert window.logged() == []
