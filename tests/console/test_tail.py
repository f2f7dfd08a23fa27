"""The live tail: what is committed shows within a second, also late, for so many watchers."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from riverbridge.console import arrivals
from tests.support.console_server import Site, console_on
from tests.support.database import Database
from tests.support.jobs import add, fill
from tests.support.wait import eventually


class Stream:
    """What has come of one tail, with the moment of each."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.jobs: list[tuple[float, Any]] = []
        self.skipped = 0
        self.comments = 0
        self._answer = answer
        threading.Thread(target=self._read, daemon=True).start()
        eventually(lambda: self.comments)

    def kinds(self) -> list[str]:
        return [job["kind"] for _, job in self.jobs]

    def _read(self) -> None:
        event = ""
        try:
            for line in self._answer:
                name, _, value = line.decode().rstrip("\n").partition(": ")
                if name == "event":
                    event = value
                elif name == "data" and event == "job":
                    self.jobs.append((time.monotonic(), json.loads(value)))
                elif name == "data":
                    self.skipped += int(value)
                elif not name:
                    self.comments += 1
        except (OSError, ValueError, http.client.HTTPException, AttributeError):
            pass  # the test has closed it


@contextmanager
def tail(site: Site, query: str = "", begun: Callable[[], None] = lambda: None) -> Iterator[Stream]:
    connection = http.client.HTTPConnection(urlsplit(site.url).netloc, timeout=30)
    connection.request("GET", f"/api/bridge/tail?q={quote(query)}")
    answer = connection.getresponse()
    begun()
    assert (answer.status, answer.headers.get_content_type()) == (200, "text/event-stream")
    try:
        yield Stream(answer)
    finally:
        assert connection.sock is None or connection.sock.shutdown(2) is None
        connection.close()


@pytest.fixture
def site(database: Database) -> Iterator[Site]:
    with console_on(database, redact=("secret:card.number",)) as site:
        yield site


def test_a_job_shows_within_a_second_of_its_commit(database: Database, site: Site) -> None:
    """Announced or not, and though its id is lower than one that was there before."""
    with (
        tail(site) as stream,
        database.connect() as look,
        database.connect(autocommit=False) as slow,
    ):
        add(slow, kind="'late'")
        add(look, kind="'quiet'")
        committed = {"quiet": time.monotonic()}
        eventually(lambda: stream.kinds() == ["quiet"])
        with look.transaction():
            add(look, kind="'announced'")
            look.execute("""SELECT pg_notify('public.river_insert', '{"queue": "q"}')""")
        committed["announced"] = time.monotonic()
        eventually(lambda: stream.kinds() == ["quiet", "announced"])
        slow.commit()
        committed["late"] = time.monotonic()
        eventually(lambda: stream.kinds() == ["quiet", "announced", "late"])
        shown = {job["kind"]: at for at, job in stream.jobs}
        delays = {kind: shown[kind] - at for kind, at in committed.items()}
        print({kind: round(delay, 3) for kind, delay in delays.items()})
        assert max(delays.values()) < 1.0, delays


def test_the_answer_begins_once_no_job_can_be_missed(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A browser says that it watches as soon as the answer begins."""
    answered, too_early = threading.Event(), []

    class Look(arrivals._Look):
        def __init__(self, *given: Any) -> None:
            too_early.append(answered.wait(0.5))
            super().__init__(*given)

    monkeypatch.setattr(arrivals, "_Look", Look)
    with tail(site, begun=answered.set) as stream:
        eventually(lambda: stream.comments)
    assert too_early == [False]


def test_shows_what_matches_and_hides_what_is_to_be_hidden(database: Database, site: Site) -> None:
    with tail(site, "kind:secret -queue:mail") as stream, database.connect() as look:
        add(look, kind="'other'")
        add(look, kind="'secret'", queue="'mail'")
        add(look, kind="'secret'", args="""'{"card": {"number": "4111"}, "a": 1}'""")
        eventually(lambda: stream.jobs)
        [(_, job)] = stream.jobs
        assert job["args"] == {"card": {"number": "•••"}, "a": 1}


def test_tells_how_much_came_too_fast(database: Database, site: Site) -> None:
    with tail(site) as stream, database.connect() as look:
        fill(look, 3000)
        eventually(lambda: stream.skipped + len(stream.jobs) == 3000)
        assert len(stream.jobs) >= arrivals.PENDING_MAX


def test_only_so_many_watch_at_once_and_nobody_looks_when_they_have_gone(
    database: Database, site: Site
) -> None:
    with ExitStack() as stack:
        for _ in range(arrivals.WATCHERS_MAX):
            stack.enter_context(tail(site))
        said = site.get("/api/bridge/tail")
        assert (said.status, "watching already" in said.body["message"]) == (503, True)
    eventually(lambda: "arrivals" not in {each.name for each in threading.enumerate()}, within=30)
    with tail(site) as stream, database.connect() as look:
        add(look)
        eventually(lambda: stream.jobs)


def test_refuses_a_search_that_cannot_be(site: Site) -> None:
    assert site.get("/api/bridge/tail", q="priority:x").status == 400
