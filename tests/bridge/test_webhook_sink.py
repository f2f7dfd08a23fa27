"""The webhook sink against receivers that do well, badly, late or not at all."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import pytest
import standardwebhooks

from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
)
from riverbridge.service.running import Bridge
from riverbridge.settings import load
from riverbridge.sinks import webhook_http
from riverbridge.sinks.base import Message
from riverbridge.sinks.webhook import PATIENCE, WebhookSink
from tests.bridge.webhook_server import (
    OK,
    Receiver,
    Turn,
    floods,
    hangs,
    hangs_up,
    resets,
    says,
    sends,
    serving_once,
)
from tests.support.bridge import environment
from tests.support.database import Database
from tests.support.jobs import add, row
from tests.support.tls import Authority
from tests.support.wait import eventually

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
MakeSink = Callable[..., WebhookSink]


@pytest.fixture
def make_sink() -> Iterator[MakeSink]:
    sinks: list[WebhookSink] = []

    def make(url: str, **more: Any) -> WebhookSink:
        sinks.append(WebhookSink(url=url, **{"allow_private": True, "threads": 4, **more}))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()
    assert [thread for thread in threading.enumerate() if thread.name == "webhook-sink"] == []


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    one = Receiver()
    yield one
    one.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def messages(to: Receiver | str, count: int = 1, **more: Any) -> list[Message]:
    url = to if isinstance(to, str) else to.url
    return [
        Message(id=f"e:{n}", body=json.dumps({"n": n}).encode(), destination=url, **more)
        for n in range(count)
    ]


STRUCTURED = (("content-type", "application/cloudevents+json; charset=UTF-8"),)


def events(to: Receiver, count: int) -> list[Message]:
    return messages(to, count, headers=STRUCTURED)


def send(sink: WebhookSink, some: Sequence[Message], seconds: float = 5.0) -> list[Outcome]:
    """Deliver, and hold the sink to its deadline and to one outcome for each message."""
    begun = time.monotonic()
    outcomes = sink.deliver(some, begun + seconds)
    assert time.monotonic() - begun < seconds + 0.2
    assert len(outcomes) == len(some)
    return list(outcomes)


class TestDelivery:
    def test_what_arrives_can_be_verified_by_the_official_library(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        headers = (("ce_id", "e:0"), ("ce_type", "a b"), ("content-type", "application/json"))
        sink = make_sink(receiver.url, secrets=[SECRET])
        some = messages(receiver, 20, headers=headers)
        assert send(sink, some) == [Delivered()] * 20
        for got in receiver.got:
            named = {name.lower(): text for name, text in got.headers.items()}
            standardwebhooks.Webhook(SECRET).verify(got.body.decode(), named)
            assert (named["ce-type"], named["content-type"]) == ("a%20b", "application/json")
            assert named["host"] == f"localhost:{receiver.port}"
            assert len(got.all_headers) == len(named)
        assert {got.headers["webhook-id"] for got in receiver.got} == {one.id for one in some}

    def test_the_id_stays_and_the_timestamp_is_the_attempts(
        self, receiver: Receiver, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        sink = make_sink(receiver.url, secrets=[SECRET])
        receiver.turns.append(says(500))
        for now in (1000.0, 1030.9):
            monkeypatch.setattr("riverbridge.sinks.webhook.time.time", lambda now=now: now)
            send(sink, messages(receiver))
        one, other = (got.headers for got in receiver.got)
        assert one["webhook-id"] == other["webhook-id"] == "e:0"
        assert (one["webhook-timestamp"], other["webhook-timestamp"]) == ("1000", "1030")
        assert one["webhook-signature"] != other["webhook-signature"]

    def test_as_many_at_once_as_threads_over_all_calls_on_kept_connections(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        receiver.delay = 0.02
        sink = make_sink(receiver.url, threads=8)
        calls = [
            threading.Thread(target=lambda: outcomes.extend(send(sink, messages(receiver, 40))))
            for _ in range(3)
        ]
        outcomes: list[Outcome] = []
        for call in calls:
            call.start()
        for call in calls:
            call.join(10)
        assert outcomes == [Delivered()] * 120
        assert receiver.most == 8
        assert receiver.connections == 8

    def test_each_message_has_its_own_outcome_in_order(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        cut = sends(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n")
        receiver.turns.extend([OK, says(400, b"bad \x1b n"), says(409), OK, cut, OK])
        some = messages(receiver, 7)
        some[3] = Message(id="e:3", body=b"{}", destination="https://elsewhere.example/")
        outcomes = send(make_sink(receiver.url, threads=1), some)
        assert [type(one) for one in outcomes] == [
            *(Delivered, Permanent, Retry, Permanent, Delivered, Retry, Delivered)
        ]
        assert outcomes[1] == Permanent("answered 400 Bad Request: bad n")
        assert outcomes[5] == Retry("no answer: the answer's head was cut off", ambiguous=True)

    def test_an_empty_body_is_sent_and_a_tombstone_is_not(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        some = [Message(id="e:0", body=body, destination=receiver.url) for body in (None, b"")]
        tombstone, empty = send(make_sink(receiver.url), some)
        assert isinstance(tombstone, Permanent)
        assert empty == Delivered()
        assert [got.body for got in receiver.got] == [b""]

    def test_a_large_body_that_is_refused_unread(self, make_sink: MakeSink) -> None:
        def refuse(connection: socket.socket) -> None:
            connection.recv(1000)
            connection.sendall(says(413, b"too large"))
            connection.close()

        with serving_once(refuse) as url:
            some = [Message(id="e:0", body=b"x" * 8_000_000, destination=url)]
            assert send(make_sink(url), some) == [
                Permanent("answered 413 Request Entity Too Large: too large")
            ]


class TestBatches:
    def test_events_that_can_share_a_request_do(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        sink = make_sink(receiver.url, secrets=[SECRET], batch_size=3)
        some = events(receiver, 5)
        other = f"{receiver.url}?other"
        some[1] = msgspec.structs.replace(some[1], destination=other)
        traced = (*STRUCTURED, ("traceparent", "00-1"))
        some[2] = msgspec.structs.replace(some[2], headers=traced)
        assert send(sink, some) == [Delivered()] * 5
        found = {}
        for got in receiver.got:
            named = {name.lower(): text for name, text in got.headers.items()}
            standardwebhooks.Webhook(SECRET).verify(got.body.decode(), named)
            assert named["content-type"] == "application/cloudevents-batch+json; charset=UTF-8"
            found[got.path, named["webhook-id"][:6]] = [one["n"] for one in json.loads(got.body)]
        assert found == {
            ("/hook", "batch-"): [0, 2, 3],
            ("/hook", "e:4"): [4],
            ("/hook?other", "e:1"): [1],
        }

    def test_a_batch_has_the_same_id_each_time(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        receiver.turns.append(says(503))
        sink = make_sink(receiver.url, batch_size=10)
        lost = send(sink, events(receiver, 4))
        assert {type(one) for one in lost} == {Retry}  # one answer for all
        assert send(sink, events(receiver, 4)) == [Delivered()] * 4
        send(sink, events(receiver, 3))
        first, second, third = (got.headers["webhook-id"] for got in receiver.got)
        assert first == second != third

    def test_what_is_refused_for_good_is_looked_for_by_halves(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        receiver.always = lambda receiver, connection: connection.sendall(
            says(422 if 5 in [one["n"] for one in json.loads(receiver.got[-1].body)] else 200)
        )
        outcomes = send(make_sink(receiver.url, batch_size=100, threads=1), events(receiver, 8))
        assert [type(one) for one in outcomes] == [
            Permanent if n == 5 else Delivered for n in range(8)
        ]
        assert len(receiver.got) == 7  # 8; 4, 4; 2, 2; 1, 1

    def test_no_batch_is_larger_than_a_mebibyte(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        some = [
            msgspec.structs.replace(one, body=b'"' + b"x" * size + b'"')
            for one, size in zip(
                events(receiver, 4), (700_000, 700_000, 2_000_000, 100), strict=True
            )
        ]
        assert send(make_sink(receiver.url, batch_size=100), some) == [Delivered()] * 4
        sizes = sorted(len(json.loads(got.body)) for got in receiver.got)
        assert sizes == [1, 1, 1, 1]

    def test_what_is_no_structured_event_goes_by_itself(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        assert (
            send(make_sink(receiver.url, batch_size=9), messages(receiver, 3)) == [Delivered()] * 3
        )
        assert sorted(got.body for got in receiver.got) == [b'{"n": 0}', b'{"n": 1}', b'{"n": 2}']


class TestKeptConnections:
    def test_one_that_was_closed_meanwhile_is_not_used(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        sink = make_sink(receiver.url)
        for _ in range(3):
            receiver.turns.append(sends(OK))
            assert send(sink, messages(receiver)) == [Delivered()]
            time.sleep(0.05)
        assert receiver.connections == len(receiver.got) == 3

    def test_one_that_is_closed_while_a_request_comes_costs_nothing(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        sink = make_sink(receiver.url)
        for how in (hangs_up, resets):
            receiver.turns.extend([OK, how, OK])
            assert send(sink, messages(receiver)) == [Delivered()]
            assert send(sink, messages(receiver)) == [Delivered()]
        assert len(receiver.got) == 6

    def test_a_new_one_that_is_closed_may_have_taken_the_message(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        for how in (hangs_up, resets):
            receiver.turns.append(how)
            (got,) = send(make_sink(receiver.url), messages(receiver))
            assert isinstance(got, Retry)
            assert got.ambiguous
        assert len(receiver.got) == 2


BROKEN: dict[str, tuple[Turn, str]] = {
    "no HTTP": (sends(b"SSH-2.0-x\r\n"), "SSH-2.0"),
    "no status": (sends(b"HTTP/1.1 abc OK\r\n\r\n"), "HTTP/1.1 abc"),
    "cut head": (sends(b"HTTP/1.1 200 OK\r\nConte"), "cut off"),
    "endless line": (floods(b"HTTP/1.1 200 OK\r\nx: ", b"y" * 10_000), "above 65536"),
    "endless headers": (floods(b"HTTP/1.1 200 OK\r\n", b"x: y\r\n" * 20), "100 headers"),
    "endless interim": (floods(b"", b"HTTP/1.1 103 Early\r\n\r\n" * 20), "interim"),
    "endless continue": (floods(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 20), "above 65536"),
    "slow head": (floods(b"HTTP/1.1 200 OK\r\n", b"x", 0.02), "timed out"),
    "nothing": (hangs, "timed out"),
}


class TestBrokenAnswers:
    @pytest.mark.parametrize("name", BROKEN)
    def test_no_answer_is_an_attempt_that_may_have_arrived(
        self, receiver: Receiver, make_sink: MakeSink, name: str
    ) -> None:
        turn, why = BROKEN[name]
        receiver.turns.append(turn)
        limit = 0.4 if why == "timed out" else 3.0
        sink = make_sink(receiver.url, delivery_timeout=limit)
        begun = time.monotonic()
        (got,) = send(sink, messages(receiver))
        assert time.monotonic() - begun < limit + 0.5
        assert isinstance(got, Retry)
        assert got.ambiguous
        assert why in got.error
        assert send(sink, messages(receiver)) == [Delivered()]

    @pytest.mark.parametrize(
        "turn",
        [
            floods(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n", b" ", 0.02),
            floods(b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n", b" " * 10_000),
            floods(b"HTTP/1.1 200 OK\r\n\r\n", b" " * 10_000),
            floods(
                b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                b"2710\r\n" + b" " * 10_000 + b"\r\n",
            ),
            sends(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"),
            sends(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"),
            sends(b"HTTP/1.1 102 Wait\r\n\r\nHTTP/1.1 103 Early\r\n\r\n" + OK),
        ],
        ids=["slow", "huge", "endless", "chunks", "bad chunk", "cut", "interim"],
    )
    def test_a_body_decides_nothing(
        self,
        receiver: Receiver,
        make_sink: MakeSink,
        turn: Turn,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr(webhook_http, "BODY_TIME", 0.2)
        receiver.turns.append(turn)
        sink = make_sink(receiver.url)
        assert send(sink, messages(receiver), 2) == [Delivered()]
        assert send(sink, messages(receiver), 2) == [Delivered()]

    def test_chunks_and_lengths_leave_the_connection_in_use(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
        receiver.turns.extend([chunked, OK, says(200, b"x" * 60_000), b"HTTP/1.1 204 No\r\n\r\n"])
        sink = make_sink(receiver.url)
        for _ in range(5):
            assert send(sink, messages(receiver)) == [Delivered()]
        assert receiver.connections == 1

    def test_a_slow_one_holds_its_thread_and_no_other(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        receiver.turns.append(hangs)
        sink = make_sink(receiver.url, threads=2, delivery_timeout=1.0)
        outcomes = send(sink, messages(receiver, 100))
        assert [type(one) for one in outcomes].count(Delivered) == 99
        assert Retry("no answer: timed out", ambiguous=True) in outcomes


class TestEndpoint:
    def test_nobody_there(self, make_sink: MakeSink) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            url = f"http://127.0.0.1:{closed.getsockname()[1]}/"
        for got in send(make_sink(url), messages(url, 50)):
            assert isinstance(got, Unreachable)
            assert "refused" in got.error

    def test_a_name_without_an_address(
        self, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def nothing(*args: object, **more: object) -> None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", nothing)
        (got,) = send(make_sink("http://hooks.example/"), messages("http://hooks.example/"))
        assert isinstance(got, Unreachable)
        assert "no address for hooks.example" in got.error

    def test_a_resolver_that_hangs_holds_no_deadline(
        self, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        go = threading.Event()
        monkeypatch.setattr(socket, "getaddrinfo", lambda *a, **k: go.wait(10) and [])
        sink = make_sink("http://hooks.example/")
        for got in send(sink, messages("http://hooks.example/", 10), 0.3):
            assert got == Unreachable("not sent: no answer before the deadline")
        go.set()

    @pytest.mark.parametrize("status", [401, 403, 404, 410, 302])
    def test_what_is_wrong_with_the_endpoint_stops_the_call_and_costs_no_attempt(
        self, receiver: Receiver, make_sink: MakeSink, status: int
    ) -> None:
        receiver.always = says(status, location="http://127.0.0.1:9/")
        outcomes = send(make_sink(receiver.url, threads=2), messages(receiver, 100))
        assert {type(one) for one in outcomes} == {Misconfigured}
        assert len(receiver.got) <= 4

    def test_a_message_it_always_refuses_costs_itself_attempts_in_the_end(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        receiver.always = says(403, b"blocked by the firewall")
        sink = make_sink(receiver.url)
        kinds = [type(send(sink, messages(receiver))[0]) for _ in range(PATIENCE + 1)]
        assert kinds == [Misconfigured] * (PATIENCE - 1) + [Retry] * 2

    def test_where_jobs_choose_the_url_a_refusal_is_theirs(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        receiver.turns.extend([says(404), says(410), OK])
        outcomes = send(make_sink(receiver.url, fixed=False, threads=1), messages(receiver, 3))
        assert [type(one) for one in outcomes] == [Retry, Permanent, Delivered]

    def test_one_that_asks_to_be_left_alone_is(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        receiver.turns.append(says(429, retry_after="30"))
        sink = make_sink(receiver.url, threads=1)
        first, *rest = send(sink, messages(receiver, 50))
        assert first == Retry("answered 429 Too Many Requests", after=30.0)
        assert rest == [Snoozed(30.0)] * 49
        (later,) = send(sink, messages(receiver))
        assert isinstance(later, Snoozed)
        assert 25 < later.seconds < 30
        assert len(receiver.got) == 1

    def test_one_slower_than_the_deadline_gets_the_rest_later(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        receiver.delay = 0.4
        outcomes = send(make_sink(receiver.url, threads=2), messages(receiver, 50), 1.45)
        assert outcomes.count(Delivered()) == len(receiver.got) == 6
        assert outcomes.count(Snoozed(0)) == 50 - len(receiver.got)

    def test_one_that_answers_nothing_gets_no_more(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        receiver.always = hangs
        outcomes = send(make_sink(receiver.url, threads=2), messages(receiver, 20), 0.4)
        assert outcomes[:2] == [Retry("no answer: timed out", ambiguous=True)] * 2
        assert outcomes[2:] == [Unreachable("not sent: no answer before the deadline")] * 18

    def test_no_secret_comes_back_in_an_error(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        receiver.always = says(400, f"you sent {SECRET} and tok-4711-abc".encode())
        headers = (("Authorization", "Bearer tok-4711-abc"),)
        sink = make_sink(receiver.url, secrets=[SECRET])
        assert send(sink, messages(receiver, 1, headers=headers)) == [
            Permanent("answered 400 Bad Request: you sent *** and ***")
        ]


class TestClose:
    def test_in_mid_flight(self, receiver: Receiver, make_sink: MakeSink) -> None:
        receiver.always = hangs
        sink = make_sink(receiver.url, threads=2)
        outcomes: list[Outcome] = []
        call = threading.Thread(target=lambda: outcomes.extend(send(sink, messages(receiver, 20))))
        call.start()
        eventually(lambda: len(receiver.got) == 2)
        begun = time.monotonic()
        sink.close()
        call.join(5)
        assert time.monotonic() - begun < 1
        assert all(isinstance(one, Retry) and one.ambiguous for one in outcomes[:2])
        assert outcomes[2:] == [Unreachable("not sent: the sink was closed")] * 18

    def test_afterwards_nothing_is_sent(self, receiver: Receiver, make_sink: MakeSink) -> None:
        sink = make_sink(receiver.url)
        sink.close()
        sink.close()
        assert (
            send(sink, messages(receiver, 2)) == [Unreachable("not sent: the sink was closed")] * 2
        )
        assert receiver.got == []


class TestTls:
    @pytest.fixture
    def secure(self, authority: Authority) -> Iterator[Receiver]:
        one = Receiver(authority.context("localhost", "DNS:localhost"))
        yield one
        one.close()

    def test_a_trusted_certificate(
        self, secure: Receiver, make_sink: MakeSink, authority: Authority
    ) -> None:
        sink = make_sink(secure.url, ca_file=str(authority.ca))
        for _ in range(3):
            assert send(sink, messages(secure, 4)) == [Delivered()] * 4
        assert secure.connections <= 4

    def test_one_that_never_finishes_the_handshake(
        self, make_sink: MakeSink, authority: Authority
    ) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"https://127.0.0.1:{silent.getsockname()[1]}/"
            sink = make_sink(url, ca_file=str(authority.ca), delivery_timeout=0.3)
            (got,) = send(sink, messages(url))
        assert isinstance(got, Unreachable)
        assert "timed out" in got.error


class TestForbiddenAddresses:
    def test_nothing_reaches_this_machine_by_default(
        self, receiver: Receiver, make_sink: MakeSink
    ) -> None:
        for host in ("127.0.0.1", "localhost", "2130706433", "0x7f.1", "127.1"):
            url = f"http://{host}:{receiver.port}/"
            for got in send(make_sink(url, allow_private=False), messages(url, 3)):
                assert isinstance(got, Misconfigured)
                assert "ALLOW_PRIVATE" in got.error
        assert receiver.got == []

    def test_a_name_is_resolved_once_and_that_address_is_used(
        self, receiver: Receiver, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A name that changes its address between check and connect: DNS rebinding."""
        asked: list[str] = []

        def resolver(host: str, port: int, **more: object) -> object:
            asked.append(host)
            address = "127.0.0.1" if len(asked) == 1 else "169.254.169.254"
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

        monkeypatch.setattr(socket, "getaddrinfo", resolver)
        url = f"http://hooks.example:{receiver.port}/"
        sink = make_sink(url, threads=1)
        assert send(sink, messages(url, 3)) == [Delivered()] * 3
        assert asked == ["hooks.example"]
        assert receiver.got[0].headers["Host"] == f"hooks.example:{receiver.port}"
        receiver.turns.append(sends(OK))
        assert send(sink, messages(url)) == [Delivered()]
        time.sleep(0.05)
        (got,) = send(sink, messages(url))
        assert isinstance(got, Misconfigured)
        assert "169.254.169.254" in got.error

    def test_the_environments_proxy_is_not_asked(
        self, receiver: Receiver, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, "http://127.0.0.1:9")
        assert send(make_sink(receiver.url), messages(receiver)) == [Delivered()]


def test_from_the_table_to_the_receiver_and_back(database: Database, receiver: Receiver) -> None:
    """The wait it asks for is the row's, and the job's values stay in their place of the URL."""
    receiver.always = says(503, b"later", retry_after="600")
    settings = {
        "SINKS__HOOK__TYPE": "webhook",
        "SINKS__HOOK__URL": receiver.url + "/{args.customer}",
        "SINKS__HOOK__SECRETS": SECRET,
        "SINKS__HOOK__ALLOW_PRIVATE": "true",
        "SOURCE_NAME": "shop.eu",
    }
    with database.connect() as connection:
        id_ = add(
            connection,
            queue="'outbox'",
            kind="'order.placed'",
            args="""'{"customer": "../a b"}'""",
        )
        bridge = Bridge(load(environment(database, settings), None, None))
        bridge.start()
        try:
            eventually(lambda: row(connection, id_)["state"] == "retryable")
        finally:
            bridge.stop()
        left = connection.execute(
            "SELECT extract(epoch FROM scheduled_at - now()), attempt, errors[1]->>'error'"
            " FROM river_job WHERE id = %s",
            (id_,),
        ).fetchone()
    assert left is not None
    assert 580 < left[0] <= 600
    assert left[1:] == (1, "hook: answered 503 Service Unavailable: later")
    (got,) = receiver.got
    assert got.path == "/hook/..%2Fa%20b"
    named = {name.lower(): text for name, text in got.headers.items()}
    assert (named["ce-id"], named["ce-type"]) == (f"shop.eu:{id_}", "order.placed")
    assert named["webhook-id"] == f"shop%2Eeu:{id_}"
    standardwebhooks.Webhook(SECRET).verify(got.body.decode(), named)
