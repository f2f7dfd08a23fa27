"""The SNS, EventBridge and Kinesis sinks against a server that goes wrong in known ways.

What they share with SQS (deadlines, certificates, credentials, threads) is in test_sqs_sink.py.
"""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from botocore.credentials import Credentials

from riverbridge.model.outcome import Delivered, Outcome, Permanent, Retry
from riverbridge.sinks.aws_sink import AwsSink
from riverbridge.sinks.base import Message
from riverbridge.sinks.cloud_event import structured
from riverbridge.sinks.kinesis import KinesisSink
from riverbridge.sinks.sns import SnsSink
from tests.bridge.aws_answers import ARN, SERVICES, Service
from tests.bridge.aws_server import RESET, SILENCE, AwsStub
from tests.support.wait import eventually

Make = Callable[..., AwsSink]


@pytest.fixture(params=list(SERVICES))
def service(request: pytest.FixtureRequest) -> Service:
    return SERVICES[request.param]


@pytest.fixture
def stub() -> Iterator[AwsStub]:
    server = AwsStub(always=(599, "no turn was given"))
    yield server
    server.close()


@pytest.fixture
def make(stub: AwsStub) -> Iterator[Make]:
    sinks: list[AwsSink] = []

    def make(kind: Callable[..., AwsSink], **more: Any) -> AwsSink:
        keys = {"credentials": Credentials("test", "test")}
        sink = kind(region="us-east-1", endpoint_url=stub.url, **(keys | more))
        sinks.append(sink)
        return sink

    yield make
    for sink in sinks:
        sink.close()


def messages(count: int, key: str | None = None) -> list[Message]:
    return [Message(f"e:{n}", b'{"n":%d}' % n, "order.placed", key) for n in range(count)]


def send(sink: AwsSink, some: Sequence[Message], seconds: float = 5.0) -> list[Outcome]:
    begun = time.monotonic()
    outcomes = sink.deliver(some, begun + seconds)
    assert time.monotonic() - begun < seconds + 0.2
    assert len(outcomes) == len(some)
    return list(outcomes)


def kinds(outcomes: Sequence[Outcome]) -> list[str]:
    return [type(outcome).__name__ for outcome in outcomes]


ENTRY_CODES = {
    "sns": {
        "InternalError": "Retry",
        "InvalidParameter": "Permanent",
        "KMSDisabled": "Misconfigured",
    },
    "eventbridge": {
        "ThrottlingException": "Retry",
        "InternalFailure": "Retry",
        "MalformedDetail": "Permanent",
        "NotAuthorizedForSourceException": "Misconfigured",
    },
    "kinesis": {"ProvisionedThroughputExceededException": "Retry", "InternalFailure": "Retry"},
}


class TestEntries:
    @pytest.mark.parametrize("name", list(SERVICES))
    def test_each_by_its_own_result(self, stub: AwsStub, make: Make, name: str) -> None:
        service = SERVICES[name]
        codes = list(ENTRY_CODES[name])
        failed = {2 * place + 1: code for place, code in enumerate(codes)}
        stub.turns.append(lambda request: service.reply(request, failed))
        outcomes = send(make(service.make), messages(10))
        wanted = ["Delivered"] * 10
        for place, code in failed.items():
            wanted[place] = ENTRY_CODES[name][code]
            assert code.removesuffix("Exception") in str(outcomes[place])
        assert kinds(outcomes) == wanted
        assert len(stub.requests) == 1

    @pytest.mark.parametrize(
        ("name", "receipt"), [("sns", "m"), ("eventbridge", "1"), ("kinesis", "shardId-7@1")]
    )
    def test_receipts_say_what_the_service_calls_it(
        self, stub: AwsStub, make: Make, name: str, receipt: str
    ) -> None:
        service = SERVICES[name]

        def turn(request: dict[str, Any]) -> Any:
            status, said = service.reply(request, {1: next(iter(ENTRY_CODES[name]))})
            if not isinstance(said, str) and name == "kinesis":
                said["Records"][0]["ShardId"] = "shardId-7"
            return status, said

        stub.turns.append(turn)
        outcomes = send(make(service.make, receipts=True), messages(2))
        assert outcomes[0] == Delivered(receipt)
        assert not isinstance(outcomes[1], Delivered)

    def test_an_answer_that_names_not_all(
        self, stub: AwsStub, make: Make, service: Service
    ) -> None:
        def turn(request: dict[str, Any]) -> Any:
            status, said = service.reply(request, {})
            if isinstance(said, str):
                return status, said.replace("<Id>1</Id>", "<Id>stranger</Id>")
            return status, {name: value[:-1] for name, value in said.items() if name[-1] == "s"}

        stub.turns.append(turn)
        outcomes = send(make(service.make), messages(3))
        assert isinstance(outcomes[1], Retry)
        assert outcomes[1].ambiguous

    @pytest.mark.parametrize("said", ["", "<html>", "[1]", '{"Entries":1,"Records":1}', "<a/>"])
    def test_an_answer_that_is_none(
        self, stub: AwsStub, make: Make, service: Service, said: str
    ) -> None:
        stub.turns.append((200, said))
        (outcome,) = send(make(service.make), messages(1))
        assert isinstance(outcome, Retry)
        assert outcome.ambiguous


class TestRequests:
    @pytest.mark.parametrize(
        ("status", "code"),
        [(500, "InternalFailure"), (503, "ServiceUnavailable"), (400, "ThrottlingException")],
    )
    def test_throttled_and_broken_is_tried_again(
        self, stub: AwsStub, make: Make, service: Service, status: int, code: str
    ) -> None:
        stub.turns.append(service.refusal(status, code))
        stub.turns.append(lambda request: service.reply(request, {}))
        assert send(make(service.make), messages(3)) == [Delivered()] * 3
        assert len(stub.requests) == 2

    @pytest.mark.parametrize(
        ("status", "code"),
        [
            (403, "AccessDeniedException"),
            (403, "SignatureDoesNotMatch"),
            (403, "AuthorizationError"),
            (403, "RequestTimeTooSkewed"),
            (400, "InvalidSignatureException"),
            (404, "NotFound"),
            (400, "ResourceNotFoundException"),
        ],
    )
    def test_configuration(
        self, stub: AwsStub, make: Make, service: Service, status: int, code: str
    ) -> None:
        stub.always = service.refusal(status, code)
        outcomes = send(make(service.make, threads=1), messages(12))
        assert kinds(outcomes) == ["Misconfigured"] * 12
        assert len(stub.requests) == 1
        assert code.removesuffix("Exception") in str(outcomes[0])

    @pytest.mark.parametrize("code", ["ExpiredTokenException", "UnrecognizedClientException"])
    def test_expired_credentials_are_read_again(
        self,
        stub: AwsStub,
        make: Make,
        service: Service,
        code: str,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "OLD")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        sink = make(service.make, credentials=None)

        def expired(request: dict[str, Any]) -> Any:
            monkeypatch.setenv("AWS_ACCESS_KEY_ID", "NEW")
            return service.refusal(403, code)

        stub.turns.append(expired)
        stub.turns.append(lambda request: service.reply(request, {}))
        assert kinds(send(sink, messages(1))) == ["Delivered"]
        used = [head["Authorization"].split("Credential=")[1][:3] for head in stub.heads]
        assert used == ["OLD", "NEW"]

    def test_in_parts_to_find_the_bad_one(
        self, stub: AwsStub, make: Make, service: Service
    ) -> None:
        def turn(request: dict[str, Any]) -> Any:
            bodies = service.bodies(request)
            bad = {'{"n":7}', base64.b64encode(b'{"n":7}').decode()} & set(bodies)
            return (
                service.refusal(400, "ValidationException") if bad else service.reply(request, {})
            )

        stub.always = turn
        outcomes = send(make(service.make), messages(10))
        assert kinds(outcomes) == [*["Delivered"] * 7, "Permanent", "Delivered", "Delivered"]

    @pytest.mark.parametrize("how", [RESET, SILENCE])
    def test_no_answer(self, stub: AwsStub, make: Make, service: Service, how: str) -> None:
        stub.turns.append(how)
        assert kinds(send(make(service.make), messages(2), 0.5)) == ["Unreachable"] * 2

    def test_what_had_no_turn_spends_no_attempt(
        self, stub: AwsStub, make: Make, service: Service
    ) -> None:
        stub.turns.append(lambda request: service.reply(request, {}))
        stub.always = SILENCE
        outcomes = send(make(service.make, threads=1), messages(3 * service.most), 0.7)
        found = kinds(outcomes)
        assert found[: service.most] == ["Delivered"] * service.most
        assert found[service.most : 2 * service.most] == ["Retry"] * service.most
        assert found[2 * service.most :] == ["Snoozed"] * service.most
        assert outcomes[service.most] == Retry(outcomes[service.most].error, ambiguous=True)  # type: ignore[union-attr]

    def test_a_kept_connection_that_was_closed_is_not_used(
        self, stub: AwsStub, make: Make, service: Service
    ) -> None:
        stub.always = lambda request: service.reply(request, {})
        stub.hangs_up = True
        sink = make(service.make, threads=1)
        for _ in range(3):
            assert send(sink, messages(1)) == [Delivered()]
            time.sleep(0.05)
        assert stub.connections == 3

    def test_a_topic_of_another_region_is_not_the_messages_fault(
        self, stub: AwsStub, make: Make
    ) -> None:
        status, said = SERVICES["sns"].refusal(400, "InvalidParameter")
        stub.always = status, str(said).replace("because", "Invalid parameter: TopicArn")
        assert kinds(send(make(SERVICES["sns"].make), messages(2))) == ["Misconfigured"] * 2

    def test_xml_that_declares_entities_is_no_answer(self, stub: AwsStub, make: Make) -> None:
        def turn(request: dict[str, Any]) -> Any:
            status, said = SERVICES["sns"].reply(request, {})
            return status, str(said).replace("?>", '?><!DOCTYPE a [<!ENTITY b "c">]>', 1)

        stub.turns.append(turn)
        assert kinds(send(make(SERVICES["sns"].make), messages(1))) == ["Retry"]

    def test_close_ends_a_call_under_way(self, stub: AwsStub, make: Make, service: Service) -> None:
        stub.always = SILENCE
        sink = make(service.make)
        got: list[Outcome] = []
        caller = threading.Thread(target=lambda: got.extend(sink.deliver(messages(20), 1e12)))
        caller.start()
        eventually(lambda: len(stub.requests) > 0)
        begun = time.monotonic()
        sink.close()
        caller.join(5)
        assert time.monotonic() - begun < 1.5
        assert kinds(got) == ["Unreachable"] * 20


class TestPacking:
    def test_as_many_as_the_service_takes(
        self, stub: AwsStub, make: Make, service: Service
    ) -> None:
        stub.always = lambda request: service.reply(request, {})
        count = 3 * service.most + 1
        assert send(make(service.make), messages(count)) == [Delivered()] * count
        counts = sorted(len(service.bodies(request)) for request in stub.requests)
        assert counts == [1, *[service.most] * 3]

    def test_kinesis_keeps_below_five_mebibytes(self, stub: AwsStub, make: Make) -> None:
        service = SERVICES["kinesis"]
        stub.always = lambda request: service.reply(request, {})
        some = [Message(f"e:{n}", b"x" * 1_048_573) for n in range(7)]
        outcomes = send(make(service.make, threads=1), [*some, Message("e:7", b"x" * 1_048_574)])
        assert kinds(outcomes) == [*["Delivered"] * 7, "Permanent"]
        assert "1048577 bytes" in str(outcomes[7])
        assert "1048576" in str(outcomes[7])
        assert [len(request["Records"]) for request in stub.requests] == [5, 2]

    @pytest.mark.parametrize(
        ("bytes_", "wanted"), [(1_048_575, "Delivered"), (1_048_576, "Permanent")]
    )
    def test_eventbridge_counts_as_documented(
        self, stub: AwsStub, make: Make, bytes_: int, wanted: str
    ) -> None:
        service = SERVICES["eventbridge"]
        stub.always = lambda request: service.reply(request, {})
        headers = (("ce_time", "2026-01-02T03:04:05.5Z"),)
        rest = 14 + len("shop") + len("é.type".encode()) + len("ev:1")
        detail = b"{" + b" " * (bytes_ - rest - 2) + b"}"
        (outcome,) = send(make(service.make), [Message("ev:1", detail, "é.type", None, headers)])
        assert kinds([outcome]) == [wanted]
        if isinstance(outcome, Permanent):
            assert "1048576 bytes" in outcome.error
            assert "1048575" in outcome.error

    def test_sns_counts_attributes_and_the_topics_own_limit(
        self, stub: AwsStub, make: Make
    ) -> None:
        service = SERVICES["sns"]
        stub.always = lambda request: service.reply(request, {})
        headers = (("n", "é"),)  # 1 + 6 + 2 bytes
        some = [Message(str(n), b"x" * (n - 9), headers=headers) for n in (262_144, 262_145)]
        assert kinds(send(make(service.make), some)) == ["Delivered", "Permanent"]
        large = make(service.make, max_message_size=1_048_576)
        assert kinds(send(large, some)) == ["Delivered"] * 2


class TestOrder:
    def test_a_failed_message_holds_its_group_of_a_topic(self, stub: AwsStub, make: Make) -> None:
        service = SERVICES["sns"]
        stub.turns.append(lambda request: service.reply(request, {}))
        stub.always = lambda request: service.reply(request, {0: "InternalError"})
        sink = make(SnsSink, topic_arn=ARN.format("sns", "t.fifo"))
        outcomes = send(sink, messages(4, "a"))
        assert kinds(outcomes) == ["Delivered", "Retry", "Retry", "Retry"]
        assert outcomes[2] == Retry("an earlier message of its group failed")
        assert len(stub.requests) == 2

    def test_a_failed_record_holds_later_requests_of_its_key(
        self, stub: AwsStub, make: Make
    ) -> None:
        code = "ProvisionedThroughputExceededException"
        service = SERVICES["kinesis"]
        stub.turns.append(lambda request: service.reply(request, {1: code}))
        stub.always = lambda request: service.reply(request, {})
        sink = make(service.make, threads=1)
        outcomes = send(sink, [*messages(510, "a"), *messages(2, "b")])
        # What was in the same request is reported as Kinesis took it.
        assert kinds(outcomes[:500]) == ["Delivered", "Retry", *["Delivered"] * 498]
        assert outcomes[500:510] == [Retry("an earlier message of its group failed")] * 10
        assert outcomes[510:] == [Delivered()] * 2
        keys = [{record["PartitionKey"] for record in r["Records"]} for r in stub.requests]
        assert keys == [{"a"}, {"b"}]

    def test_the_records_of_a_key_are_in_one_request_at_a_time(
        self, stub: AwsStub, make: Make
    ) -> None:
        service = SERVICES["kinesis"]
        out = threading.Semaphore(1)

        def turn(request: dict[str, Any]) -> Any:
            assert out.acquire(blocking=False)
            time.sleep(0.02)
            reply = service.reply(request, {})
            out.release()
            return reply

        stub.always = turn
        assert send(make(service.make), messages(1200, "a")) == [Delivered()] * 1200
        sent = [base64.b64decode(body) for r in stub.requests for body in service.bodies(r)]
        assert [json.loads(body)["n"] for body in sent] == list(range(1200))


class TestMessages:
    @pytest.mark.parametrize(
        ("name", "message", "says"),
        [
            ("eventbridge", Message("1", b"[1]", "t"), "not a JSON object"),
            ("eventbridge", Message("1", None, "t"), "not a JSON object"),
            ("eventbridge", Message("1", b"{}\xff", "t"), "utf-8"),
            ("eventbridge", Message("1", b"{}", "t" * 129), "129 characters"),
            ("eventbridge", Message("1", b"{}", ""), "detail type"),
            ("kinesis", Message("1", None), "tombstone"),
            ("kinesis", Message("1", b"{}", key=""), "0 characters"),
            ("kinesis", Message("1", b"{}", key="k" * 257), "257 characters"),
            ("kinesis", Message("1", b"{}", key="\ud800"), "UTF-8"),
            ("sns", Message("1", None), "tombstone"),
            ("sns", Message("1", b"a\x00"), "U+0000"),
        ],
    )
    def test_what_a_service_has_no_place_for_is_not_sent(
        self, stub: AwsStub, make: Make, name: str, message: Message, says: str
    ) -> None:
        (outcome,) = send(make(SERVICES[name].make), [message])
        assert isinstance(outcome, Permanent)
        assert says in outcome.error
        assert stub.requests == []

    def test_a_record_is_a_cloud_event_with_the_args_as_they_are(
        self, stub: AwsStub, make: Make
    ) -> None:
        stub.always = lambda request: SERVICES["kinesis"].reply(request, {})
        args = b'{"price": 1.10, "price": 2}'
        headers = (("ce_id", "e:1"), ("content-type", "application/json"), ("tenant", "t"))
        send(make(KinesisSink, stream_name="s"), [Message("x" * 300, args, headers=headers)])
        (record,) = stub.requests[0]["Records"]
        assert base64.b64decode(record["Data"]) == (
            b'{"id":"e:1","datacontenttype":"application/json","tenant":"t","data":%b}' % args
        )
        assert len(record["PartitionKey"]) == 64

    @pytest.mark.parametrize(
        "body", [b"", b"text", b"{} {}", b'"\xff"', bytes(range(256)), b"[" * 5000 + b"]" * 5000]
    )
    def test_what_is_no_json_is_in_a_cloud_event_all_the_same(self, body: bytes) -> None:
        event = json.loads(structured(Message("1", body, headers=(("ce_id", "1"),))))
        assert base64.b64decode(event.pop("data_base64")) == body
        assert event == {"id": "1"}

    def test_a_tombstone_has_no_data(self) -> None:
        assert structured(Message("1", None, headers=(("ce_id", "1"),))) == b'{"id":"1"}'
