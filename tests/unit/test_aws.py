"""The AWS sinks without a server: content rules, packing, lines of entries, what errors mean."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
from typing import Any

import pytest
from botocore.session import Session

from riverbridge.errors import ConfigurationError
from riverbridge.model.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Unreachable,
)
from riverbridge.sinks.aws_access import Access, own_endpoint, region_in
from riverbridge.sinks.aws_batch import Entry, Grouped, Loose
from riverbridge.sinks.aws_errors import Verdict, entry_outcome, refusal, verdict
from riverbridge.sinks.aws_http import Connection, Endpoint
from riverbridge.sinks.aws_text import Place, Text, text_of
from riverbridge.sinks.base import HELD, Message
from riverbridge.sinks.kept_connection import NotSent
from riverbridge.sinks.sqs import SqsSink, origin, region_of

MIB = 1_048_576


def made(message: Message, *, fifo: bool = False, fair: bool = False, limit: int = MIB) -> Text:
    text = text_of(message, Place("SQS", "queue", fifo, fair), limit)
    assert isinstance(text, Text), text
    return text


def refused(message: Message, *, fifo: bool = False, limit: int = MIB) -> str:
    outcome = text_of(message, Place("SQS", "queue", fifo), limit)
    assert isinstance(outcome, Permanent)
    return outcome.error


def attributes(*headers: tuple[str, str]) -> dict[str, str]:
    return made(Message(id="1", body=b"{}", headers=headers)).attributes


class TestBody:
    @pytest.mark.parametrize(
        "code", [0x00, 0x01, 0x08, 0x0B, 0x0C, 0x0E, 0x1F, 0xFFFE, 0xFFFF], ids=hex
    )
    def test_an_illegal_character_is_named_with_its_offset(self, code: int) -> None:
        error = refused(Message(id="1", body=("ü€😀" + chr(code)).encode()))
        assert f"U+{code:04X} at character 3" in error

    @pytest.mark.parametrize("code", [0x9, 0xA, 0xD, 0x20, 0x7F, 0x85, 0xD7FF, 0xE000, 0xFFFD])
    def test_the_characters_at_the_edges_are_taken(self, code: int) -> None:
        assert made(Message(id="1", body=chr(code).encode())).body == chr(code)

    def test_planes_above_the_first_are_taken(self) -> None:
        text = "\U00010000\U0001fffe\U0010ffff"
        assert made(Message(id="1", body=text.encode())).body == text

    @pytest.mark.parametrize(
        ("body", "says"),
        [
            (None, "tombstone"),
            (b"", "empty body"),
            (b"ab\xff", "not UTF-8 at byte 2"),
            (b"\xed\xa0\x80", "not UTF-8 at byte 0"),
        ],
    )
    def test_what_sqs_has_no_body_for(self, body: bytes | None, says: str) -> None:
        assert says in refused(Message(id="1", body=body))

    @pytest.mark.parametrize("limit", [262_144, MIB])
    def test_size_counts_body_and_attributes(self, limit: int) -> None:
        headers = (("n", "é"),)  # 1 + 6 + 2 bytes
        body = b"x" * (limit - 9)
        assert made(Message(id="1", body=body, headers=headers), limit=limit).size == limit
        error = refused(Message(id="1", body=body + b"x", headers=headers), limit=limit)
        assert f"{limit + 1} bytes" in error
        assert str(limit) in error


class TestAttributes:
    def test_ten_headers_are_ten_attributes(self) -> None:
        headers = [(f"h{n}", str(n)) for n in range(10)]
        assert attributes(*headers) == dict(headers)

    def test_more_keep_cloud_events_and_content_type_and_lose_nothing(self) -> None:
        headers = [(f"h{n}", str(n)) for n in range(8)]
        headers += [("content-type", "application/json"), ("ce_id", "a"), ("ce_type", "b")]
        got = attributes(*headers)
        assert len(got) == 10
        assert {"content-type", "ce_id", "ce_type"} <= got.keys()
        rest = json.loads(got.pop("headers"))
        assert {**got, **rest} == dict(headers)
        assert not got.keys() & rest.keys()

    @pytest.mark.parametrize(
        "name",
        ["AWS.x", "amazon.y", "a b", "é", ".a", "a.", "a..b", "x" * 257, "a:b", ""],
    )
    def test_a_name_sqs_refuses_goes_into_the_document(self, name: str) -> None:
        got = attributes(("fine", "1"), (name, "2"))
        assert got.pop("fine") == "1"
        assert json.loads(got["headers"]) == {name: "2"}

    @pytest.mark.parametrize("name", ["a", "A-b_c.9", "AWSx", "x" * 256, "traceparent"])
    def test_a_name_sqs_takes_is_an_attribute(self, name: str) -> None:
        assert attributes((name, "v")) == {name: "v"}

    def test_a_repeated_name_is_kept_in_order(self) -> None:
        got = attributes(("a", "1"), ("a", "2"), ("a", "3"))
        assert got["a"] == "1"
        assert json.loads(got["headers"]) == {"a": ["2", "3"]}

    def test_a_header_called_headers_gives_way_to_the_document(self) -> None:
        got = attributes(("headers", "mine"), ("AWS.x", "1"))
        assert json.loads(got["headers"]) == {"headers": "mine", "AWS.x": "1"}

    def test_empty_values_are_left_out(self) -> None:
        assert attributes(("a", ""), ("b", "1")) == {"b": "1"}

    def test_an_illegal_value_is_named(self) -> None:
        error = refused(Message(id="1", body=b"{}", headers=(("h", "ab\x00"),)))
        assert "header 'h' holds U+0000 at character 2" in error

    def test_a_lone_surrogate_is_refused_and_raises_nothing(self) -> None:
        assert "U+D800" in refused(Message(id="1", body=b"{}", headers=(("h", "\ud800"),)))
        assert "surrogate" in refused(Message(id="1", body=b"{}", headers=(("a b", "\ud800"),)))


class TestFifo:
    def test_key_is_the_group_and_id_deduplicates(self) -> None:
        text = made(Message(id="db:1", body=b"{}", key="c1"), fifo=True)
        assert (text.group, text.deduplication) == ("c1", "db:1")

    @pytest.mark.parametrize("key", [None, "", "a b", "é", "x" * 129, "a\n", "x" * 1_000_000])
    def test_a_key_that_cannot_be_a_group_is_refused(self, key: str | None) -> None:
        error = refused(Message(id="1", body=b"{}", key=key), fifo=True)
        assert "group" in error
        assert len(error) < 300

    def test_an_id_that_does_not_fit_is_hashed(self) -> None:
        for wanted in ("x" * 129, "a b", "é", "a\n"):
            text = made(Message(id=wanted, body=b"{}", key="k"), fifo=True)
            expected = hashlib.sha256(wanted.encode()).hexdigest()
            assert text.deduplication == expected
        assert "no id" in refused(Message(id="", body=b"{}", key="k"), fifo=True)

    def test_a_replay_is_not_taken_for_the_first_delivery(self) -> None:
        headers = (("riverbridge-replay", "2"),)
        text = made(Message(id="db:1", body=b"{}", key="k", headers=headers), fifo=True)
        assert text.deduplication == "db:1;replay=2"

    def test_a_standard_queue_gets_the_key_only_if_asked(self) -> None:
        message = Message(id="1", body=b"{}", key="tenant")
        assert made(message).group is None
        text = made(message, fair=True)
        assert (text.group, text.deduplication) == ("tenant", None)
        assert made(Message(id="1", body=b"{}"), fair=True).group is None


def entry(index: int, size: int = 1, group: str = "") -> Entry:
    return Entry(index, None, size, group)


def indexes(entries: list[Entry]) -> list[int]:
    return [one.index for one in entries]


class TestLoose:
    def test_ten_at_most(self) -> None:
        line = Loose([entry(n) for n in range(23)], 10, 1000)
        assert [len(line.take()) for _ in range(4)] == [10, 10, 3, 0]

    def test_bytes_at_most(self) -> None:
        line = Loose([entry(0, 60), entry(1, 40), entry(2, 1), entry(3, 100), entry(4, 5)], 10, 100)
        assert [indexes(line.take()) for _ in range(4)] == [[0, 1], [2], [3], [4]]


class TestGrouped:
    def test_one_of_a_group_is_out_at_a_time(self) -> None:
        line = Grouped([entry(n, group="ab"[n % 2]) for n in range(6)], 10, 1000)
        first = line.take()
        assert indexes(first) == [0, 1]
        assert line.take() == []
        assert line.answered(first, [Delivered(), Delivered()]) == []
        assert indexes(line.take()) == [2, 3]

    def test_a_failure_holds_the_rest_of_its_group_only(self) -> None:
        line = Grouped([entry(n, group="ab"[n % 2]) for n in range(6)], 10, 1000)
        held = line.answered(line.take(), [Retry("no"), Delivered()])
        assert [(one.index, outcome) for one, outcome in held] == [(2, HELD), (4, HELD)]
        assert indexes(line.take()) == [3]
        assert indexes(line.drain()) == [5]

    def test_behind_an_unreachable_one_no_attempt_is_spent(self) -> None:
        line = Grouped([entry(0, group="a"), entry(1, group="a")], 10, 1000)
        down = Unreachable("down")
        assert [o for _, o in line.answered(line.take(), [down])] == [down]

    def test_several_of_a_group_in_one_request_if_asked(self) -> None:
        line = Grouped([entry(n, group="a") for n in range(12)], 10, 1000, each=10)
        first = line.take()
        assert indexes(first) == list(range(10))
        assert line.take() == []
        outcomes: list[Outcome] = [Delivered()] * 10
        outcomes[3] = Retry("no")
        assert [o for _, o in line.answered(first, outcomes)] == [HELD, HELD]

    def test_bytes_hold_for_groups_too(self) -> None:
        line = Grouped([entry(n, 60, group=str(n)) for n in range(3)], 10, 100)
        assert [indexes(line.take()) for _ in range(3)] == [[0], [1], [2]]


class TestErrors:
    @pytest.mark.parametrize(
        ("status", "code", "wanted"),
        [
            (400, "RequestThrottled", Verdict.AGAIN),
            (400, "Throttling", Verdict.AGAIN),
            (400, "KmsThrottled", Verdict.AGAIN),
            (429, "", Verdict.AGAIN),
            (500, "InternalError", Verdict.AGAIN),
            (503, "ServiceUnavailable", Verdict.AGAIN),
            (502, "", Verdict.AGAIN),
            (403, "ExpiredToken", Verdict.EXPIRED),
            (403, "InvalidClientTokenId", Verdict.EXPIRED),
            (403, "RequestExpired", Verdict.EXPIRED),
            (403, "UnrecognizedClient", Verdict.EXPIRED),
            (403, "SignatureDoesNotMatch", Verdict.MISCONFIGURED),
            (403, "RequestTimeTooSkewed", Verdict.MISCONFIGURED),
            (403, "AccessDenied", Verdict.MISCONFIGURED),
            (400, "AccessDenied", Verdict.MISCONFIGURED),
            (400, "QueueDoesNotExist", Verdict.MISCONFIGURED),
            (400, "KmsAccessDenied", Verdict.MISCONFIGURED),
            (403, "", Verdict.MISCONFIGURED),
            (404, "", Verdict.MISCONFIGURED),
            (301, "", Verdict.MISCONFIGURED),
            (413, "", Verdict.SPLIT),
            (400, "BatchRequestTooLong", Verdict.SPLIT),
            (400, "InvalidMessageContents", Verdict.SPLIT),
            (400, "SomethingNew", Verdict.REFUSED),
        ],
    )
    def test_a_whole_request(self, status: int, code: str, wanted: Verdict) -> None:
        assert verdict(status, code) is wanted

    @pytest.mark.parametrize(
        ("body", "header", "code"),
        [
            (b'{"__type":"com.amazonaws.sqs#QueueDoesNotExist"}', None, "QueueDoesNotExist"),
            (b'{"__type":"com.amazon.coral.service#AccessDeniedException"}', None, "AccessDenied"),
            (b"<html>", "AWS.SimpleQueueService.NonExistentQueue;Sender", "NonExistentQueue"),
            (b"", None, ""),
            (b"[1]", None, ""),
        ],
    )
    def test_the_code_is_found(self, body: bytes, header: str | None, code: str) -> None:
        assert refusal(body, header)[0] == code

    def test_what_was_signed_is_not_repeated(self) -> None:
        text = "The signature does not match.\n\nThe Canonical String was x-amz-security-token:S3CR"
        body = json.dumps({"__type": "SignatureDoesNotMatch", "message": text}).encode()
        assert refusal(body, None) == ("SignatureDoesNotMatch", "The signature does not match.")

    @pytest.mark.parametrize(
        ("code", "sender", "wanted"),
        [
            ("InvalidMessageContents", True, Permanent),
            ("AWS.SimpleQueueService.InvalidMessageContents", True, Permanent),
            ("InvalidParameterValue", True, Permanent),
            ("InvalidParameterValue", False, Retry),
            ("InternalError", False, Retry),
            ("RequestThrottled", True, Retry),
            ("AccessDenied", True, Misconfigured),
            ("", True, Retry),
        ],
    )
    def test_one_entry(self, code: str, sender: bool, wanted: type[Any]) -> None:
        assert isinstance(entry_outcome("SQS", code, "why", sender), wanted)


class TestWhere:
    @pytest.mark.parametrize(
        ("url", "region"),
        [
            ("https://sqs.eu-west-1.amazonaws.com/1/q", "eu-west-1"),
            ("https://sqs.cn-north-1.amazonaws.com.cn/1/q", "cn-north-1"),
            ("https://sqs-fips.us-gov-west-1.amazonaws.com/1/q", "us-gov-west-1"),
            ("https://sqs.eu-west-1.api.aws/1/q", "eu-west-1"),
            ("https://vpce-0a.sqs.us-east-2.vpce.amazonaws.com/1/q", "us-east-2"),
            ("https://eu-west-1.queue.amazonaws.com/1/q", "eu-west-1"),
            ("https://queue.amazonaws.com/1/q", "us-east-1"),
            ("http://127.0.0.1:4566/1/q", None),
        ],
    )
    def test_the_region_in_a_url(self, url: str, region: str | None) -> None:
        assert region_of(url) == region

    def test_the_oldest_hosts_are_replaced(self) -> None:
        wanted = "https://sqs.eu-west-1.amazonaws.com"
        assert origin("https://eu-west-1.queue.amazonaws.com/1/q", "eu-west-1") == wanted
        assert origin("http://h:1/1/q", "eu-west-1") == "http://h:1"

    @pytest.mark.parametrize(
        ("arn", "region"),
        [("arn:aws:sns:eu-west-1:1:t", "eu-west-1"), ("orders", None), ("arn:aws:sns::1:t", None)],
    )
    def test_the_region_in_an_arn(self, arn: str, region: str | None) -> None:
        assert region_in(arn) == region

    @pytest.mark.parametrize(
        ("service", "region", "host"),
        [
            ("events", "eu-west-1", "events.eu-west-1.amazonaws.com"),
            ("kinesis", "cn-north-1", "kinesis.cn-north-1.amazonaws.com.cn"),
            ("sns", "us-gov-west-1", "sns.us-gov-west-1.amazonaws.com"),
        ],
    )
    def test_the_endpoint_of_a_region(self, service: str, region: str, host: str) -> None:
        assert own_endpoint(Session(), service, region) == f"https://{host}"

    def test_a_region_that_is_none(self) -> None:
        with pytest.raises(ConfigurationError, match="moon-1"):
            Access("sns", region="moon-1", endpoint_url=None, credentials=None)

    def test_an_endpoint(self) -> None:
        assert Endpoint.of("https://h:443/x").url == "https://h/"
        assert Endpoint.of("http://[::1]:99").url == "http://[::1]:99/"

    @pytest.mark.parametrize(
        "wrong",
        [
            {"queue_url": "q"},
            {"queue_url": "ftp://h/1/q"},
            {"queue_url": "https://u:p@h/1/q"},
            {"queue_url": "https://h:99999/1/q"},
            {"queue_url": "https://h/"},
            {"threads": 0},
            {"delivery_timeout": 0},
            {"group_batch": 11},
        ],
        ids=str,
    )
    def test_what_cannot_work_is_said_at_once(self, wrong: dict[str, Any]) -> None:
        given: dict[str, Any] = {"queue_url": "https://h/1/q", "region": "eu-west-1", **wrong}
        with pytest.raises(ConfigurationError) as caught:
            SqsSink(**given)
        assert "u:p" not in str(caught.value)

    def test_a_missing_region_is_said(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in ("AWS_REGION", "AWS_DEFAULT_REGION"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
        with pytest.raises(ConfigurationError, match="region"):
            SqsSink(queue_url="http://127.0.0.1:1/1/q")


def test_a_request_is_ended_before_its_connection_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(Endpoint.of("http://127.0.0.1:9"), None)
    # The server has accepted it; the client has no socket to shut down yet.
    monkeypatch.setattr(http.client.HTTPConnection, "connect", lambda _: connection.abort())
    with pytest.raises(NotSent, match="given up"):
        connection.post({}, b"", time.monotonic() + 5)
