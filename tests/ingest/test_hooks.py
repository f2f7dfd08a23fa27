"""Webhooks over HTTP, from the sender to the job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from riverbridge.console import hooks
from riverbridge.console.hooks import RETRY_AFTER
from riverbridge.service.running import Bridge
from riverbridge.testing.proxy import Proxy
from tests.ingest.hooked import HOST, Post, hooked
from tests.ingest.rows import args_of, numbers, quarantined
from tests.support import signed
from tests.support.bridge import running_bridge
from tests.support.database import Database
from tests.support.signed import JSON, SECRET, number, standard
from tests.support.wait import eventually


def serving(bridge: Bridge) -> None:
    eventually(lambda: bridge.checks()["source-shop"] is None, within=20)


class TestAnEvent:
    def test_it_is_one_job_however_often_it_is_sent(self, tables: Database) -> None:
        with hooked(tables, {"SOURCES__SHOP__KIND": "shop.{headers.x-topic}"}) as (bridge, post):
            serving(bridge)
            for _ in range(3):
                assert post.event(1, **{"x-topic": "paid"}).status == 200
            with tables.connect() as connection:
                rows = connection.execute("SELECT kind, args FROM river_job").fetchall()
                assert rows == [("shop.paid", {"n": 1})]
                connection.execute("DELETE FROM river_job")
            assert post.event(1, **{"x-topic": "paid"}).status == 200
            assert args_of(tables) == []

    def test_what_is_not_signed_cannot_make_it_another(self, tables: Database) -> None:
        with hooked(tables) as (bridge, post):
            serving(bridge)
            for n in range(3):
                claims = {
                    "ce-specversion": "1.0",
                    "ce-id": str(n),
                    "ce-source": "s",
                    "ce-type": "t",
                }
                assert post.event(1, **claims).status == 200
        assert numbers(tables) == {1: 1}

    def test_one_that_can_be_no_job_is_kept_and_need_not_come_again(self, tables: Database) -> None:
        with hooked(tables) as (bridge, post):
            serving(bridge)
            body = b'{"n": '
            for _ in range(2):
                headers = standard(body, "bad") | {"authorization": "Bearer s3cret"}
                assert post(body, headers).status == 200
        [row] = quarantined(tables)
        assert (row.body, row.event_id) == (body, "bad")
        assert b"authorization" not in row.headers

    def test_nothing_of_a_stranger_is_kept(self, tables: Database) -> None:
        with hooked(tables) as (bridge, post):
            serving(bridge)
            assert post(b'{"n": ', standard(b"other", "bad")).status == 401
            assert post(number(1), JSON).status == 401
        assert quarantined(tables) == []
        assert args_of(tables) == []

    def test_each_sender_in_its_own_way(self, tables: Database) -> None:
        env: dict[str, str] = {}
        for name in ("github", "stripe", "slack", "shopify"):
            env |= {
                f"SOURCES__{name.upper()}__TYPE": "webhook",
                f"SOURCES__{name.upper()}__KIND": name,
                f"SOURCES__{name.upper()}__VERIFY": name,
                f"SOURCES__{name.upper()}__SECRETS": SECRET,
            }
        env["SOURCES__GITHUB__IDENTITY"] = "{headers.x-hub-signature-256}"
        challenge = b'{"type": "url_verification", "challenge": "3eZbrw1aB"}'
        with hooked(tables, env) as (bridge, post):
            eventually(lambda: not any(bridge.checks().values()), within=20)
            for path, headers in (
                ("github", signed.github(number(1), "d1")),
                ("stripe", signed.stripe(number(2))),
                ("slack", signed.slack(number(3))),
                ("shopify", signed.shopify(number(4), "w1")),
            ):
                n = 1 + ["github", "stripe", "slack", "shopify"].index(path)
                for _ in range(2):
                    assert post(number(n), headers, f"/hooks/{path}").status == 200
                assert post(number(n), headers).status == 401
            # The id is not signed, so somebody else may send the body with another one.
            replayed = signed.github(number(1), "d2")
            assert post(number(1), replayed, "/hooks/github").status == 200
            answer = post(challenge, signed.slack(challenge), "/hooks/slack")
            assert (answer.status, answer.body) == (200, b"3eZbrw1aB")
            assert post(challenge, JSON, "/hooks/slack").status == 401
            ping = signed.github(number(9), "d9", event="ping")
            assert post(number(9), ping, "/hooks/github").status == 200
        assert numbers(tables) == {1: 1, 2: 1, 3: 1, 4: 1}


HEAD = b"POST /hooks/shop HTTP/1.1\r\nconnection: close\r\nhost: a\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"
NO_HTTP = {
    "a length and chunks": HEAD + CHUNKED + b"content-length: 1\r\n\r\n0\r\n\r\n",
    "two lengths": HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}",
    "a negative length": HEAD + b"content-length: -1\r\n\r\n{}",
    "a length with a sign": HEAD + b"content-length: +1\r\n\r\n{}",
    "a length beyond all numbers": HEAD + b"content-length: %s\r\n\r\n{}" % (b"9" * 40),
    "chunks and more": HEAD + b"transfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
    "no chunk": HEAD + CHUNKED + b"\r\nZ\r\n",
    "a folded line": HEAD + b" x: folded\r\n\r\n",
    "a long line": HEAD + b"x: %s\r\n\r\n" % (b"y" * 70_000),
    "many headers": HEAD + b"x: y\r\n" * 10_000 + b"\r\n",
    "HTTP/0.9": b"GET /hooks/shop\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
}


class TestRefused:
    def test_a_stranger_learns_nothing(
        self, tables: Database, caplog: pytest.LogCaptureFixture
    ) -> None:
        with hooked(tables) as (bridge, post):
            serving(bridge)
            body = number(1)
            wrong = standard(body, "m1", secret="whsec_" + "A" * 32)
            answers = [
                post(body, wrong),
                post(body, wrong, "/hooks/nobody"),
                post(body, wrong | {"content-type": "text/plain"}),
                post(body, {}, "/hooks/%73hop%00"),
            ]
        for answer in answers:
            answer.headers.pop("date")
        assert all(answer == answers[0] for answer in answers)
        assert answers[0].status == 401
        said = [r.getMessage() for r in caplog.records if "did not verify" in r.getMessage()]
        assert len(said) == 2, "once a minute for each"
        assert "is of none of the source's secrets" in said[0]
        assert "A" * 32 not in caplog.text

    def test_what_is_wrong_with_a_request(self, tables: Database) -> None:
        with hooked(tables, {"HOOKS__MAX_BODY": "1KiB"}) as (bridge, post):
            serving(bridge)
            body, headers = number(1), standard(number(1), "m1")
            large = b'{"n": "%s"}' % (b"x" * 2000)
            media = headers | {"content-type": "text/plain"}
            for status, answer in (
                (405, post(b"", {}, method="GET")),
                (405, post(body, headers, method="PUT")),
                (404, post(body, headers, "/hooks/shop/")),
                (404, post(body, headers, "/hooks/")),
                (404, post(body, headers, "/hooks/../hooks/shop")),
                (415, post(body, media)),
                (415, post(body, headers | {"content-encoding": "gzip"})),
                (413, post(large, standard(large, "m2"))),
                (413, post(large, standard(large, "m2"), chunked=True)),
            ):
                assert answer.status == status, answer
            assert post(body, headers | {"content-type": "application/x+json; a=b"}).status == 200
            assert post(body, headers, chunked=True).status == 200
        assert numbers(tables) == {1: 1}

    def test_what_is_no_http(self, tables: Database, caplog: pytest.LogCaptureFixture) -> None:
        with hooked(tables) as (bridge, post):
            serving(bridge)
            for what, text in NO_HTTP.items():
                answer = post.raw(text)
                assert answer.split(b" ")[1] in (b"400", b"401"), (what, answer[:200])
            assert "Invalid HTTP" not in caplog.text, "it fills no log"
            assert post.event(1).status == 200

    def test_too_many_a_second(self, tables: Database) -> None:
        with hooked(tables, {"SOURCES__SHOP__RATE": "2"}) as (bridge, post):
            serving(bridge)
            for _ in range(5):
                assert post(number(0), standard(b"x", "m")).status == 401
            answers = [post.event(n) for n in range(6)]
            late = [answer for answer in answers if answer.status != 200]
            assert {answer.status for answer in late} == {429}
            assert {answer.headers["retry-after"] for answer in late} == {"1"}
            kept = [n for n, answer in enumerate(answers) if answer.status == 200]
            assert kept[:2] == [0, 1], "strangers use nothing up"
        assert sorted(numbers(tables)) == kept


class TestTogether:
    def test_requests_that_wait_share_a_transaction(self, tables: Database) -> None:
        with hooked(tables) as (bridge, post), ThreadPoolExecutor(32) as pool:
            serving(bridge)
            statuses = {answer.status for answer in pool.map(post.event, range(200))}
        assert statuses == {200}
        assert numbers(tables) == dict.fromkeys(range(200), 1)
        with tables.connect() as connection:
            row = connection.execute("SELECT count(DISTINCT xmin::text) FROM river_job").fetchone()
        assert row is not None
        assert row[0] < 150

    def test_one_that_the_database_refuses_costs_the_others_nothing(self, tables: Database) -> None:
        with tables.connect() as connection:
            connection.execute(
                "ALTER TABLE river_job ADD CONSTRAINT odd CHECK ((args->>'n')::int <> 7)"
            )
            try:
                with hooked(tables) as (bridge, post), ThreadPoolExecutor(20) as pool:
                    serving(bridge)
                    answers = list(pool.map(post.event, range(20)))
            finally:
                connection.execute("ALTER TABLE river_job DROP CONSTRAINT odd")
        assert {answer.status for answer in answers} == {200}
        assert sorted(numbers(tables)) == [n for n in range(20) if n != 7]
        assert [row.event_id for row in quarantined(tables)] == ["m7"]


class TestWhenNothingCanBeTakenIn:
    def test_a_queue_that_is_too_full(self, tables: Database) -> None:
        with hooked(tables, {"SOURCES__SHOP__PAUSE_ABOVE": "3"}) as (bridge, post):
            serving(bridge)
            kept: list[int] = []

            def full() -> bool:
                answer = post.event(len(kept))
                if answer.status == 200:
                    kept.append(len(kept))
                    return False
                assert (answer.status, answer.headers["retry-after"]) == (503, str(RETRY_AFTER))
                return True

            eventually(full, within=20)
            assert len(kept) > 3
            assert post(b"", {}, "/readyz/hooks", "GET").status == 503
            assert sorted(numbers(tables)) == kept
            with tables.connect() as connection:
                connection.execute("UPDATE river_job SET state = 'completed', finalized_at = now()")
            eventually(lambda: post.event(99).status == 200, within=20)
            assert post(b"", {}, "/readyz/hooks", "GET").status == 200
        assert 99 in numbers(tables)

    def test_postgres_is_away_and_comes_back(
        self, tables: Database, proxy: Callable[[int], Proxy]
    ) -> None:
        line = proxy(int(str(conninfo_to_dict(tables.dsn)["port"])))
        dsn = make_conninfo(tables.dsn, host=HOST, port=line.port)
        through = Database(tables.name, dsn, tables.server)
        with hooked(through) as (bridge, post):
            serving(bridge)
            assert post.event(1).status == 200
            line.set_mode("refuse")
            eventually(lambda: post.event(2).status == 503, within=20)
            line.set_mode("pass")
            eventually(lambda: post.event(2).status == 200, within=20)
        assert numbers(tables) == {1: 1, 2: 1}

    def test_postgres_that_says_nothing(
        self,
        tables: Database,
        proxy: Callable[[int], Proxy],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(hooks, "ANSWER", 0.5)
        line = proxy(int(str(conninfo_to_dict(tables.dsn)["port"])))
        dsn = make_conninfo(tables.dsn, host=HOST, port=line.port)
        with hooked(Database(tables.name, dsn, tables.server)) as (bridge, post):
            serving(bridge)
            line.set_mode("blackhole")
            began = time.monotonic()
            assert [post.event(n).status for n in (1, 2)] == [503, 503]
            assert time.monotonic() - began < 5
            line.set_mode("pass")
            for n in (1, 2):
                eventually(lambda n=n: post.event(n).status == 200, within=20)  # type: ignore[misc]
        assert numbers(tables) == {1: 1, 2: 1}


class TestStop:
    def test_what_was_answered_well_is_a_job(self, tables: Database) -> None:
        kept: list[int] = []
        ended = threading.Event()
        lock = threading.Lock()
        counter = iter(range(10**9))

        def send(post: Post) -> None:
            while not ended.is_set():
                with lock:
                    n = next(counter)
                try:
                    answer = post.event(n)
                except OSError:
                    continue
                assert answer.status in (200, 503)
                if answer.status == 200:
                    kept.append(n)

        with ThreadPoolExecutor(8) as pool:
            with hooked(tables) as (bridge, post):
                serving(bridge)
                sending = [pool.submit(send, post) for _ in range(8)]
                eventually(lambda: len(kept) > 50, within=20)
                began = time.monotonic()
            assert time.monotonic() - began < 10
            ended.set()
            for each in sending:
                each.result()
        jobs = numbers(tables)
        assert set(kept) <= set(jobs)
        assert set(jobs.values()) == {1}


def test_without_such_a_source_there_is_nothing(tables: Database) -> None:
    kafka = {
        "SOURCES__EVENTS__TYPE": "kafka",
        "SOURCES__EVENTS__BOOTSTRAP_SERVERS": f"{HOST}:9",
        "SOURCES__EVENTS__TOPICS": "t",
        "SOURCES__EVENTS__KIND": "k1",
    }
    with running_bridge(tables, {}, kafka) as bridge:
        assert set(bridge.ports) == {"probes"}
        post = Post(bridge.port)
        assert post(b"", {}, "/hooks/shop").status == 404
        assert post(b"", {}, "/readyz/hooks", "GET").status == 404


def test_it_shares_the_port_of_the_probes_unless_set(tables: Database) -> None:
    with hooked(tables) as (bridge, post):
        serving(bridge)
        assert bridge.ports["hooks"] == bridge.port
        assert post(b"", {}, "/livez", "GET").status == 200
    with hooked(tables, {"HOOKS__HOST": "::1", "HOOKS__PORT": "0"}) as (bridge, _):
        assert bridge.ports["hooks"] != bridge.port
