"""The SQS sink against ministack, and against a server that goes wrong in known ways."""

from __future__ import annotations

import json
import shutil
import socket
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest
from botocore.credentials import Credentials

from riverbridge.bridge.envelope import Envelope
from riverbridge.embedded.sqs import SqsServer
from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
)
from riverbridge.sinks.base import Message
from riverbridge.sinks.sqs import SqsSink
from tests.bridge.aws_server import (
    RESET,
    SILENCE,
    TRICKLE,
    AwsStub,
    Reply,
    accept,
    taken,
)
from tests.support.given import GivenSqs
from tests.support.jobs import job
from tests.support.tls import Authority

KEYS = Credentials("test", "test")
MakeSink = Callable[..., SqsSink]


@pytest.fixture
def make_sink() -> Iterator[MakeSink]:
    sinks: list[SqsSink] = []

    def make(url: str, **more: Any) -> SqsSink:
        more = {"region": "us-east-1", "credentials": KEYS, "delivery_timeout": 10.0, **more}
        sinks.append(SqsSink(queue_url=url, **more))
        return sinks[-1]

    yield make
    for sink in sinks:
        sink.close()
    left = [thread for thread in threading.enumerate() if thread.name == "aws-sink"]
    assert left == []


@pytest.fixture
def stub() -> Iterator[AwsStub]:
    server = AwsStub()
    yield server
    server.close()


def messages(count: int, **more: Any) -> list[Message]:
    return [Message(id=f"e:{n}", body=json.dumps({"n": n}).encode(), **more) for n in range(count)]


def send(sink: SqsSink, some: Sequence[Message], seconds: float = 5.0) -> list[Outcome]:
    """Deliver, and hold the sink to its deadline and to one outcome for each message."""
    begun = time.monotonic()
    outcomes = sink.deliver(some, begun + seconds)
    assert time.monotonic() - begun < seconds + 0.2
    assert len(outcomes) == len(some)
    return list(outcomes)


def kinds(outcomes: Sequence[Outcome]) -> list[str]:
    return [type(outcome).__name__ for outcome in outcomes]


@pytest.fixture
def queue(sqs: SqsServer | GivenSqs) -> Callable[..., str]:
    """Makes a queue of a new name and gives its URL."""

    def make(fifo: bool = False, **attributes: str) -> str:
        return sqs.create_queue(f"sink-{uuid.uuid4().hex}", fifo, attributes)

    return make


def received(client: Any, url: str, count: int) -> list[dict[str, Any]]:
    """All messages of a queue, in the order they come, deleted; at most ten seconds."""
    got: list[dict[str, Any]] = []
    until = time.monotonic() + 10
    while len(got) < count and time.monotonic() < until:
        batch = client.receive_message(
            QueueUrl=url,
            MaxNumberOfMessages=10,
            MessageAttributeNames=["All"],
            AttributeNames=["All"],
            WaitTimeSeconds=1,
        ).get("Messages", [])
        if batch:
            entries = [
                {"Id": str(n), "ReceiptHandle": m["ReceiptHandle"]} for n, m in enumerate(batch)
            ]
            client.delete_message_batch(QueueUrl=url, Entries=entries)
        got += batch
    return got


class TestServer:
    def test_500_messages_with_attributes(
        self, sqs: SqsServer | GivenSqs, queue: Callable[..., str], make_sink: MakeSink
    ) -> None:
        url = queue()
        headers = (("ce_id", "1"), ("x", "ü€😀"), *((f"h{n}", str(n)) for n in range(12)))
        outcomes = send(make_sink(url, receipts=True), messages(500, headers=headers))
        got = received(sqs.client(), url, 500)
        assert sorted(json.loads(m["Body"])["n"] for m in got) == list(range(500))
        assert {o.receipt for o in outcomes if isinstance(o, Delivered)} == {
            m["MessageId"] for m in got
        }
        for message in got:
            values = {k: v["StringValue"] for k, v in message["MessageAttributes"].items()}
            rest = json.loads(values.pop("headers"))
            assert {**values, **rest} == dict(headers)

    def test_a_replay_is_not_swallowed_by_fifo_deduplication(
        self, sqs: SqsServer | GivenSqs, queue: Callable[..., str], make_sink: MakeSink
    ) -> None:
        """At once after the first delivery; each replay is deduplicated by itself."""
        url = queue(fifo=True)
        sink = make_sink(url)
        for metadata in ("{}", '{"riverbridge:replay": 1}', '{"riverbridge:replay": 2}'):
            rendered = Envelope("raw", source="here").render(job(metadata=metadata))
            message = msgspec.structs.replace(rendered, key="k")
            assert send(sink, [message, message]) == [Delivered()] * 2
        got = received(sqs.client(), url, 3)
        attributes = [found["MessageAttributes"] for found in got]
        assert {found["event-id"]["StringValue"] for found in attributes} == {"here:1"}
        replays = [found.get("riverbridge-replay", {}).get("StringValue") for found in attributes]
        assert replays == [None, "1", "2"]

    def test_500_in_groups_keep_their_order(
        self, sqs: SqsServer | GivenSqs, queue: Callable[..., str], make_sink: MakeSink
    ) -> None:
        url = queue(fifo=True)
        some = [
            Message(id=f"e:{n}", body=json.dumps({"n": n}).encode(), key=f"k{n % 23}")
            for n in range(500)
        ]
        sink = make_sink(url)
        assert send(sink, some, 10) == [Delivered()] * 500
        assert send(sink, some[:40], 10) == [Delivered()] * 40
        got = received(sqs.client(), url, 500)
        groups: dict[str, list[int]] = defaultdict(list)
        for message in got:
            n = json.loads(message["Body"])["n"]
            assert message["Attributes"]["MessageDeduplicationId"] == f"e:{n}"
            groups[message["Attributes"]["MessageGroupId"]].append(n)
        assert groups == {f"k{k}": list(range(k, 500, 23)) for k in range(23)}

    def test_the_queues_own_limit_counts(
        self, sqs: SqsServer | GivenSqs, queue: Callable[..., str], make_sink: MakeSink
    ) -> None:
        url = queue(MaximumMessageSize="2048")
        sizes = [2048, 2049, 1000, 1048, 1]
        outcomes = send(make_sink(url), [Message(id=str(n), body=b"x" * n) for n in sizes])
        assert kinds(outcomes) == ["Delivered", "Permanent", *["Delivered"] * 3]
        assert sorted(len(m["Body"]) for m in received(sqs.client(), url, 4)) == [
            1,
            1000,
            1048,
            2048,
        ]

    def test_a_whole_mebibyte_is_taken(
        self, sqs: SqsServer | GivenSqs, queue: Callable[..., str], make_sink: MakeSink
    ) -> None:
        url = queue()
        bodies = [b"x" * 1_048_576, b"x" * 1_048_577, b"y" * 600_000, b"z" * 600_000]
        outcomes = send(make_sink(url), [Message(id=str(n), body=b) for n, b in enumerate(bodies)])
        assert kinds(outcomes) == ["Delivered", "Permanent", "Delivered", "Delivered"]

    def test_a_queue_that_is_not_there(
        self, sqs: SqsServer | GivenSqs, queue: Callable[..., str], make_sink: MakeSink
    ) -> None:
        url = queue() + "-never"
        (outcome,) = send(make_sink(url), messages(1))
        assert isinstance(outcome, Misconfigured)
        assert "NonExistentQueue" in outcome.error or "QueueDoesNotExist" in outcome.error


def refuse(*which: int, code: str = "InternalError", fault: bool = False) -> Any:
    """A turn that refuses the entries at these places."""

    def turn(request: dict[str, Any]) -> Reply:
        entries = request["Entries"]
        failed = [
            {"Id": e["Id"], "SenderFault": fault, "Code": code, "Message": "because"}
            for place, e in enumerate(entries)
            if place in which
        ]
        good = [taken(e) for place, e in enumerate(entries) if place not in which]
        return 200, {"Successful": good, "Failed": failed}

    return turn


def error(status: int, code: str) -> Reply:
    return status, {"__type": f"com.amazonaws.sqs#{code}", "message": "because"}


class TestEntries:
    @pytest.mark.parametrize("which", [(3,), tuple(range(9)), tuple(range(10))])
    def test_each_by_its_own_result(
        self, stub: AwsStub, make_sink: MakeSink, which: tuple[int, ...]
    ) -> None:
        stub.turns.append(refuse(*which))
        outcomes = send(make_sink(f"{stub.url}/1/q"), messages(10))
        assert kinds(outcomes) == ["Retry" if n in which else "Delivered" for n in range(10)]
        assert len(stub.requests) == 1

    def test_the_senders_fault_is_for_good(self, stub: AwsStub, make_sink: MakeSink) -> None:
        stub.turns.append(refuse(1, code="InvalidMessageContents", fault=True))
        outcomes = send(make_sink(f"{stub.url}/1/q"), messages(3))
        assert kinds(outcomes) == ["Delivered", "Permanent", "Delivered"]

    def test_missing_wrong_and_unknown(self, stub: AwsStub, make_sink: MakeSink) -> None:
        def turn(request: dict[str, Any]) -> Reply:
            first, second, _, fourth = request["Entries"]
            wrong = {**taken(second), "MD5OfMessageBody": "0" * 32}
            stranger = {**taken(first), "Id": "stranger"}
            return 200, {"Successful": [taken(first), wrong, taken(fourth), stranger]}

        stub.turns.append(turn)
        outcomes = send(make_sink(f"{stub.url}/1/q"), messages(4))
        assert kinds(outcomes) == ["Delivered", "Retry", "Retry", "Delivered"]
        assert [o.ambiguous for o in outcomes if isinstance(o, Retry)] == [True, True]

    def test_an_answer_that_is_none(self, stub: AwsStub, make_sink: MakeSink) -> None:
        stub.turns.append((200, {"Successful": "what"}))
        (outcome,) = send(make_sink(f"{stub.url}/1/q"), messages(1))
        assert isinstance(outcome, Retry)
        assert outcome.ambiguous

    def test_bad_messages_do_not_hold_good_ones(self, stub: AwsStub, make_sink: MakeSink) -> None:
        some = messages(3)
        some[1:1] = [Message(id="t", body=None), Message(id="c", body=b"\x01")]
        outcomes = send(make_sink(f"{stub.url}/1/q", receipts=True), some)
        assert kinds(outcomes) == ["Delivered", "Permanent", "Permanent", "Delivered", "Delivered"]
        assert outcomes[0] == Delivered("m-0")


class TestRequests:
    @pytest.mark.parametrize(
        "reply",
        [
            error(500, "InternalError"),
            error(503, "ServiceUnavailable"),
            error(400, "RequestThrottled"),
            (429, {}),
        ],
        ids=str,
    )
    def test_throttled_and_broken_is_tried_again(
        self, stub: AwsStub, make_sink: MakeSink, reply: Reply
    ) -> None:
        stub.turns.extend([reply, reply])
        assert send(make_sink(f"{stub.url}/1/q"), messages(5)) == [Delivered()] * 5
        assert len(stub.requests) == 3

    def test_until_the_deadline(self, stub: AwsStub, make_sink: MakeSink) -> None:
        sink = make_sink(f"{stub.url}/1/q")
        stub.always = error(503, "ServiceUnavailable")
        outcomes = send(sink, messages(5), 0.7)
        assert kinds(outcomes) == ["Unreachable"] * 5
        assert len(stub.requests) > 1
        stub.turns.append(accept)
        assert kinds(send(sink, messages(1), 0.7)) == ["Delivered"]
        assert send(sink, messages(1), 0.7) == [
            Retry("SQS answered 503 ServiceUnavailable: because", ambiguous=True)
        ]

    @pytest.mark.parametrize("how", [RESET, SILENCE, TRICKLE])
    def test_no_answer_after_the_request(
        self, stub: AwsStub, make_sink: MakeSink, how: str
    ) -> None:
        sink = make_sink(f"{stub.url}/1/q")
        stub.turns.append(how)
        assert kinds(send(sink, messages(2), 0.7)) == ["Unreachable"] * 2
        assert kinds(send(sink, messages(2), 0.7)) == ["Delivered"] * 2
        stub.turns.append(how)
        outcomes = send(sink, messages(2), 0.7)
        assert [o.ambiguous for o in outcomes if isinstance(o, Retry)] == [True, True]

    @pytest.mark.parametrize(
        "reply",
        [
            error(403, "AccessDenied"),
            error(403, "SignatureDoesNotMatch"),
            error(403, "InvalidClientTokenId"),
            error(400, "QueueDoesNotExist"),
            error(400, "KmsAccessDenied"),
            (403, {}),
            (307, {}),
        ],
        ids=str,
    )
    def test_configuration(self, stub: AwsStub, make_sink: MakeSink, reply: Reply) -> None:
        stub.always = reply
        outcomes = send(make_sink(f"{stub.url}/1/q", threads=1), messages(35))
        assert kinds(outcomes) == ["Misconfigured"] * 35
        assert len(stub.requests) <= 2  # one, and once more with fresh credentials

    def test_expired_credentials_are_read_again(
        self, stub: AwsStub, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OLD")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        sink = make_sink(f"{stub.url}/1/q", credentials=None)

        def expired(request: dict[str, Any]) -> Reply:
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEW")
            return error(403, "ExpiredToken")

        stub.turns.append(expired)
        assert kinds(send(sink, messages(1))) == ["Delivered"]
        used = [head["Authorization"].split("Credential=")[1][:3] for head in stub.heads]
        assert used == ["OLD", "NEW"]

    @pytest.mark.parametrize("metadata", ["off", "down", "mute"])
    def test_no_credentials_until_there_are_some(
        self, stub: AwsStub, make_sink: MakeSink, monkeypatch: pytest.MonkeyPatch, metadata: str
    ) -> None:
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", str(metadata == "off").lower())
        with socket.create_server(("127.0.0.1", 0)) as service:
            where = f"http://127.0.0.1:{service.getsockname()[1]}"
            monkeypatch.setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", where)
            if metadata == "down":
                service.close()
            sink = make_sink(f"{stub.url}/1/q", credentials=None)
            (outcome,) = send(sink, messages(1))
        assert isinstance(outcome, Misconfigured)
        assert "no AWS credentials" in outcome.error
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEW")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        assert kinds(send(sink, messages(1))) == ["Delivered"]

    @pytest.mark.parametrize(
        "reply",
        [error(400, "BatchRequestTooLong"), (413, {}), error(400, "InvalidMessageContents")],
        ids=str,
    )
    def test_one_by_one_to_find_the_bad_one(
        self, stub: AwsStub, make_sink: MakeSink, reply: Reply
    ) -> None:
        def turn(request: dict[str, Any]) -> Reply:
            bad = any(json.loads(e["MessageBody"])["n"] == 2 for e in request["Entries"])
            return reply if bad else accept(request)

        stub.always = turn
        outcomes = send(make_sink(f"{stub.url}/1/q"), messages(4))
        assert kinds(outcomes) == ["Delivered", "Delivered", "Permanent", "Delivered"]

    def test_nobody_there(self, make_sink: MakeSink) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{free.getsockname()[1]}/1/q"
            begun = time.monotonic()
            assert kinds(send(make_sink(url), messages(200))) == ["Unreachable"] * 200
            assert time.monotonic() - begun < 3
            assert kinds(send(make_sink(url), [Message(id="1", body=None)])) == ["Permanent"]

    def test_no_right_to_read_the_limit(
        self, stub: AwsStub, make_sink: MakeSink, caplog: pytest.LogCaptureFixture
    ) -> None:
        stub.limit = error(403, "AccessDenied")
        sink = make_sink(f"{stub.url}/1/q")
        for _ in range(3):
            assert send(sink, [Message(id="1", body=b"x" * 1_048_576)]) == [Delivered()]
        told = [r for r in caplog.records if "MaximumMessageSize" in r.getMessage()]
        assert len(told) == 1

    def test_connections_are_kept_and_opened_again(
        self, stub: AwsStub, make_sink: MakeSink
    ) -> None:
        sink = make_sink(f"{stub.url}/1/q", threads=1)
        for _ in range(5):
            assert send(sink, messages(25)) == [Delivered()] * 25
        assert stub.connections == 2  # and one for the limit

    def test_a_kept_connection_that_was_closed_is_not_used(
        self, stub: AwsStub, make_sink: MakeSink
    ) -> None:
        stub.hangs_up = True
        sink = make_sink(f"{stub.url}/1/q", threads=1)
        for _ in range(3):
            assert send(sink, messages(1)) == [Delivered()]
            time.sleep(0.05)
        assert stub.connections == 4  # and one for the limit


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl for a certificate")
class TestTls:
    @pytest.fixture
    def secure(self, tmp_path: Path) -> Iterator[tuple[AwsStub, Path]]:
        """A stub that is certified as localhost, and the file of who certified it."""
        authority = Authority(tmp_path)
        server = AwsStub(authority.context("sqs", "DNS:localhost"))
        yield server, authority.ca
        server.close()

    def test_the_configured_bundle_is_trusted_for_the_right_host_only(
        self,
        secure: tuple[AwsStub, Path],
        make_sink: MakeSink,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("AWS_CA_BUNDLE", str(secure[1]))
        url = f"{secure[0].url}/1/q"
        sink = make_sink(url, threads=1)
        for _ in range(3):
            assert send(sink, messages(20)) == [Delivered()] * 20
        assert secure[0].connections == 2  # and one for the limit
        (outcome,) = send(make_sink(url.replace("localhost", "127.0.0.1")), messages(1))
        assert isinstance(outcome, Misconfigured)
        assert len(secure[0].requests) == 6


class TestGroups:
    def test_a_failed_entry_holds_its_group(self, stub: AwsStub, make_sink: MakeSink) -> None:
        some = [Message(id=f"e{n}", body=b"%d" % n, key="ab"[n % 2]) for n in range(8)]
        stub.turns.extend([accept, refuse(0)])
        outcomes = send(make_sink(f"{stub.url}/1/q.fifo"), some)
        assert kinds(outcomes[0::2]) == ["Delivered", "Retry", "Retry", "Retry"]
        assert outcomes[4] == Retry("an earlier message of its group failed")
        assert kinds(outcomes[1::2]) == ["Delivered"] * 4
        assert not {"4", "6"} & set(stub.bodies())

    def test_a_lost_answer_holds_its_group(self, stub: AwsStub, make_sink: MakeSink) -> None:
        some = [Message(id=f"e{n}", body=b"%d" % n, key="a") for n in range(3)]
        stub.turns.extend([accept, SILENCE])
        outcomes = send(make_sink(f"{stub.url}/1/q.fifo"), some, 0.7)
        assert kinds(outcomes) == ["Delivered", "Retry", "Retry"]
        assert stub.bodies() == ["0", "1"]

    def test_what_had_no_turn_spends_no_attempt(self, stub: AwsStub, make_sink: MakeSink) -> None:
        stub.turns.extend([accept] * 3)
        stub.always = SILENCE
        some = [Message(id=f"e{n}", body=b"%d" % n) for n in range(200)]
        outcomes = send(make_sink(f"{stub.url}/1/q", threads=1), some, 0.9)
        assert kinds(outcomes) == ["Delivered"] * 30 + ["Retry"] * 10 + ["Snoozed"] * 160
        assert outcomes[-1] == Snoozed(0)

    def test_messages_without_a_group_are_refused(self, stub: AwsStub, make_sink: MakeSink) -> None:
        outcomes = send(make_sink(f"{stub.url}/1/q.fifo"), messages(2))
        assert all(isinstance(o, Permanent) for o in outcomes)
        assert stub.requests == []


class TestEnd:
    def test_close_ends_a_call_under_way(self, stub: AwsStub, make_sink: MakeSink) -> None:
        stub.always = SILENCE
        sink = make_sink(f"{stub.url}/1/q")
        got: list[Outcome] = []
        caller = threading.Thread(target=lambda: got.extend(sink.deliver(messages(40), 1e12)))
        caller.start()
        until = time.monotonic() + 5
        while len(stub.requests) < 4 and time.monotonic() < until:
            time.sleep(0.01)
        begun = time.monotonic()
        sink.close()
        caller.join(5)
        assert time.monotonic() - begun < 1.5
        assert kinds(got) == ["Unreachable"] * 40
        assert all(isinstance(o, Unreachable) for o in sink.deliver(messages(2), 1e12))

    def test_close_ends_what_asks_for_the_limit(self, make_sink: MakeSink) -> None:
        with socket.create_server(("127.0.0.1", 0)) as mute:
            sink = make_sink(f"http://127.0.0.1:{mute.getsockname()[1]}/1/q")
            got: list[Outcome] = []
            caller = threading.Thread(target=lambda: got.extend(sink.deliver(messages(2), 1e12)))
            caller.start()
            asking, _ = mute.accept()
            begun = time.monotonic()
            sink.close()
            caller.join(5)
            assert kinds(got) == ["Unreachable"] * 2
            assert kinds(sink.deliver(messages(2), 1e12)) == ["Unreachable"] * 2
            assert time.monotonic() - begun < 1.0
            assert "sqs-limit" not in {thread.name for thread in threading.enumerate()}
            asking.close()

    def test_calls_at_once_do_not_mix(self, stub: AwsStub, make_sink: MakeSink) -> None:
        sink = make_sink(f"{stub.url}/1/q", threads=3)
        results: dict[int, list[Outcome]] = {}

        def call(n: int) -> None:
            some = messages(50)
            some[n] = Message(id="bad", body=None)
            results[n] = list(sink.deliver(some, time.monotonic() + 10))

        callers = [threading.Thread(target=call, args=(n,)) for n in range(6)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join(15)
        for n in range(6):
            wanted = ["Delivered"] * 50
            wanted[n] = "Permanent"
            assert kinds(results[n]) == wanted

    def test_a_deadline_in_the_past_sends_nothing(self, stub: AwsStub, make_sink: MakeSink) -> None:
        outcomes = make_sink(f"{stub.url}/1/q").deliver(messages(3), time.monotonic() - 1)
        assert kinds(outcomes) == ["Unreachable"] * 3
        assert stub.requests == []
