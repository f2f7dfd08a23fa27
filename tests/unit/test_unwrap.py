"""Events out of the envelopes of AWS, out of batches, and out of where they only refer to."""

from __future__ import annotations

import base64
import gzip
import json
import logging
from collections.abc import Sequence
from typing import Any

import pytest

from riverbridge.bridge.kept import event_of, lying
from riverbridge.bridge.mapping import Mapped, Mapper, Plan
from riverbridge.bridge.unwrap import LARGEST
from riverbridge.sources.base import Event, Fetch, NotNow, NotToBeHad

SNS = {
    "Type": "Notification",
    "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324",
    "TopicArn": "arn:aws:sns:us-west-2:123456789012:MyTopic",
    "Subject": "My First Message",
    "Message": '{"n": 1}',
    "Timestamp": "2012-05-02T00:54:06.655Z",
    "SignatureVersion": "1",
    "MessageAttributes": {
        "plan": {"Type": "String", "Value": "pro"},
        "bin": {"Type": "Binary", "Value": "/w=="},
    },
}
EVENTBRIDGE = {
    "version": "0",
    "id": "6a7e8feb-b491-4cf7-a9f1-bf3703467718",
    "detail-type": "EC2 Instance State-change Notification",
    "source": "aws.ec2",
    "account": "111122223333",
    "time": "2017-12-22T18:43:48Z",
    "region": "us-west-1",
    "resources": ["arn:aws:ec2:us-west-1:123456789012:instance/i-1234567890abcdef0"],
    "detail": {"instance-id": "i-1234567890abcdef0", "n": 1.0e2},
}
TEST_EVENT = {
    "Service": "Amazon S3", "Event": "s3:TestEvent", "Time": "2014-10-13T15:57:02.089Z",
    "Bucket": "amzn-s3-demo-bucket", "RequestId": "5582815E1AEA5ADF", "HostId": "8cLeGAmw098X5cv4",
}  # fmt: skip


def record(key: str, sequencer: str, name: str = "ObjectCreated:Put") -> dict[str, Any]:
    return {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "us-west-2",
        "eventTime": "1970-01-01T00:00:00.000Z",
        "eventName": name,
        "responseElements": {"x-amz-request-id": "C3D13FE58DE4C810"},
        "s3": {
            "s3SchemaVersion": "1.0",
            "bucket": {"name": "box", "arn": "arn:aws:s3:::box"},
            "object": {"key": key, "size": 1024, "sequencer": sequencer},
        },
    }


def map_(
    body: object, plan: Plan, fetch: Fetch | None = None, id_: str = "m1", **headers: str
) -> Sequence[Mapped]:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = tuple((name.replace("_", "-"), text.encode()) for name, text in headers.items())
    return Mapper("events", plan, fetch).map(Event(id_, data, "queue", headers=given))


def args(mapped: Sequence[Mapped]) -> list[Any]:
    assert [one.reason for one in mapped] == [""] * len(mapped)
    return [json.loads(one.job.args) for one in mapped if one.job is not None]


def test_a_notification_of_sns_is_known_by_its_own_id() -> None:
    plan = Plan(kind="k1", unwrap=["sns"], tags=("{headers.plan}", "{id}"), queue="default")
    [one] = map_(SNS, plan)
    assert args([one]) == [{"n": 1}]
    assert one.job is not None
    assert one.job.tags == ("pro", SNS["MessageId"])
    # Delivered twice by SNS, to SQS these are two.
    [again] = map_(SNS, plan, id_="m2")
    assert again.digest == one.digest
    [plain] = map_(SNS, Plan(kind="k1"))
    assert args([plain]) == [SNS]
    [raw] = map_({"n": 2}, Plan(kind="k1", unwrap=["sns"]))
    assert args([raw]) == [{"n": 2}]


def test_what_sns_wants_an_operator_to_do_is_no_event() -> None:
    [one] = map_(SNS | {"Type": "SubscriptionConfirmation"}, Plan(kind="k1", unwrap=["sns"]))
    assert "SubscriptionConfirmation" in one.reason
    assert json.loads(one.event.body or b"")["Type"] == "SubscriptionConfirmation"


def test_an_event_of_eventbridge_has_its_attributes() -> None:
    plan = Plan(kind="k1", unwrap=["eventbridge"], metadata={"x": "{type}|{source}|{id}|{time}"})
    [one] = map_(EVENTBRIDGE, plan)
    # Its detail stays as it is written.
    assert one.job is not None
    assert one.job.args == '{"instance-id": "i-1234567890abcdef0", "n": 100.0}'
    assert json.loads(one.job.metadata)["x"] == (
        "EC2 Instance State-change Notification|aws.ec2|"
        "6a7e8feb-b491-4cf7-a9f1-bf3703467718|2017-12-22T18:43:48+00:00"
    )
    assert map_(EVENTBRIDGE, plan, id_="m2")[0].digest == one.digest


def test_each_record_of_s3_is_an_event() -> None:
    plan = Plan(kind="{type}", unwrap=["sns", "s3"], metadata={"x": "{subject}"})
    records = {"Records": [record("a+b%C3%A9.txt", "01"), record("c", "02")]}
    for body in (records, SNS | {"Message": json.dumps(records)}):
        found = map_(body, plan)
        assert [one["s3"]["object"]["key"] for one in args(found)] == ["a+b%C3%A9.txt", "c"]
        assert [one.job.kind for one in found if one.job] == (
            ["com.amazonaws.s3.ObjectCreated:Put"] * 2
        )
        assert [json.loads(one.job.metadata)["x"] for one in found if one.job] == ["a bé.txt", "c"]
    again = map_({"Records": [record("c", "02"), record("c", "03")]}, plan, id_="m2")
    assert again[0].digest == found[1].digest
    assert again[1].digest != found[1].digest


def test_the_test_event_of_s3_is_passed_over_and_said(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    [one] = map_(TEST_EVENT, Plan(kind="k1", unwrap=["s3"]))
    assert (one.job, one.reason) == (None, "")
    assert "passed over the s3:TestEvent of the bucket amzn-s3-demo-bucket" in caplog.text


def cloud(id_: str, **more: object) -> dict[str, object]:
    return {"specversion": "1.0", "id": id_, "source": "shop", "type": "t"} | more


def test_each_event_of_a_batch_is_known_by_its_own_id() -> None:
    batch = [cloud("1", data={"n": 1}), cloud("2", data={"n": 2}), cloud("3", data_base64="e30=")]
    found = map_(batch, Plan(kind="k1"), content_type="application/cloudevents-batch+json")
    assert args(found) == [{"n": 1}, {"n": 2}, {}]
    [alone] = map_(batch[1], Plan(kind="k1"), content_type="application/cloudevents+json")
    assert alone.digest == found[1].digest
    [none] = map_([], Plan(kind="k1"), content_type="application/cloudevents-batch+json")
    assert (none.job, none.reason) == (None, "")
    [bad] = map_(batch[0], Plan(kind="k1"), content_type="application/cloudevents-batch+json")
    assert "a batch of CloudEvents: is no JSON array" in bad.reason


def test_a_header_that_nobody_signed_makes_no_other_jobs_of_a_body() -> None:
    plan = Plan(kind="k1", own_ids=True)
    batch = [cloud("1", data={"n": 1}), cloud("2", data={"n": 2})]
    [once] = map_(batch, plan, content_type="application/json")
    [again] = map_(batch, plan, content_type="application/cloudevents-batch+json")
    assert once.digest == again.digest
    split = Plan(kind="k1", own_ids=True, split=True)
    [one, two] = map_(batch, split, content_type="application/json")
    same = map_(batch, split, content_type="application/cloudevents-batch+json")
    assert [each.digest for each in same] == [one.digest, two.digest]


def test_what_is_wrong_with_one_of_a_batch_costs_the_others_nothing() -> None:
    batch = [cloud("1", data={"n": 1}), {"id": "x"}, cloud("3", data={"n": 3})]
    found = map_(batch, Plan(kind="k1"), content_type="application/cloudevents-batch+json")
    assert [bool(one.job) for one in found] == [True, False, True]
    assert "without source" in found[1].reason
    assert json.loads(found[1].event.body or b"") == {"id": "x"}
    # Out of the quarantine it is read as what it was.
    kept = event_of(lying("events", found[1].event, found[1].reason))
    [again] = Mapper("events", Plan(kind="k1")).map(kept)
    assert again.reason == found[1].reason
    assert again.digest == found[1].digest


def test_each_element_of_an_array_is_an_event_where_it_is_said() -> None:
    plan = Plan(kind="k1", split=True)
    found = map_(b' [{"n": 1}, 2, {"n": 1}]', plan)
    assert args(found) == [{"n": 1}, {"value": 2}, {"n": 1}]
    assert len({one.digest for one in found}) == 3
    assert args(map_(b"[1]", Plan(kind="k1"))) == [{"value": [1]}]
    assert args(map_({"n": 1}, plan)) == [{"n": 1}]
    binary = {"ce_specversion": "1.0", "ce_id": "7", "ce_source": "s", "ce_type": "t"}
    event = Event("m", b"[1, 2]", headers=tuple((k, v.encode()) for k, v in binary.items()))
    parts = Mapper("events", plan).map(event)
    assert len({one.digest for one in parts}) == 2
    structured = map_(cloud("7", data=[1, 2]), plan, content_type="application/cloudevents+json")
    assert len({one.digest for one in structured}) == 2
    assert args(structured) == [{"value": 1}, {"value": 2}]
    [much] = map_(json.dumps([1] * 10_001).encode(), plan)
    assert "10001 events; the limit is 10000" in much.reason


def test_an_event_becomes_a_job_of_each_kind() -> None:
    found = map_({"n": 1, "k": "b1"}, Plan(kind=("a1", "{body.k}")))
    assert [one.job.kind for one in found if one.job] == ["a1", "b1"]
    assert args(found) == [{"n": 1, "k": "b1"}] * 2
    assert len({one.digest for one in found}) == 2
    # A kind that is added later makes no second job of the first.
    [alone] = map_({"n": 1, "k": "b1"}, Plan(kind="a1"))
    assert alone.digest == found[0].digest
    [neither] = map_({"n": 1}, Plan(kind=("a1", "{body.k}")))
    assert "body.k" in neither.reason


POINTER = [
    "software.amazon.payloadoffloading.PayloadS3Pointer",
    {"s3BucketName": "box", "s3Key": "some/key%2E"},
]


class Store:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def get(self, uri: str) -> bytes:
        self.asked.append(uri)
        if "gone" in uri:
            raise NotToBeHad(f"{uri}: 404")
        if "later" in uri:
            raise NotNow("nobody answers")
        return b'{"n": 1}'


def test_bodies_that_lie_elsewhere_are_fetched() -> None:
    store, plan = Store(), Plan(kind="k1", unwrap=["sns"])
    [one] = map_(POINTER, plan, store.get, ExtendedPayloadSize="9")
    assert args([one]) == [{"n": 1}]
    assert store.asked == ["s3://box/some/key%2E"]
    assert json.loads(one.event.body or b"") == POINTER
    wrapped = SNS | {
        "Message": json.dumps(POINTER),
        "MessageAttributes": {"SQSLargePayloadSize": {"Type": "Number", "Value": "9"}},
    }
    assert args(map_(wrapped, plan, store.get)) == [{"n": 1}]
    [not_set] = map_(POINTER, plan, ExtendedPayloadSize="9")
    assert "set FETCH__FROM" in not_set.reason
    [odd] = map_({"n": 1}, plan, store.get, ExtendedPayloadSize="9")
    assert "no reference to S3" in odd.reason


def test_the_data_of_a_cloud_event_are_fetched_where_it_only_refers_to_them() -> None:
    def binary(uri: str, body: bytes = b"") -> Event:
        headers = {
            "specversion": "1.0", "id": "1", "source": "s", "type": "t", "dataref": uri,
        }  # fmt: skip
        return Event("m", body, headers=tuple((f"ce_{k}", v.encode()) for k, v in headers.items()))

    store = Store()
    mapper = Mapper("events", Plan(kind="k1"), store.get)
    assert args(mapper.map(binary("s3://box/a"))) == [{"n": 1}]
    assert args(mapper.map(binary("s3://box/a", b'{"n": 2}'))) == [{"n": 2}]
    [gone] = mapper.map(binary("s3://box/gone"))
    assert gone.reason == "the event's data is not to be had: s3://box/gone: 404"
    with pytest.raises(NotNow):
        mapper.map(binary("s3://box/later"))
    structured = map_(
        cloud("1", dataref="s3://box/a"),
        Plan(kind="k1"),
        store.get,
        content_type="application/cloudevents+json",
    )
    assert args(structured) == [{"n": 1}]
    [no] = Mapper("events", Plan(kind="k1")).map(binary("s3://box/a"))
    assert "set FETCH__FROM" in no.reason


def test_a_source_may_refuse_an_event() -> None:
    [one] = Mapper("events", Plan(kind="k1")).map(Event("1", b"{}", refused="seen too often"))
    assert (one.job, one.reason) == (None, "seen too often")
    [again] = Mapper("events", Plan(kind="k1")).map(event_of(lying("events", one.event, "")))
    assert again.job is not None


def test_attributes_of_http_have_what_is_not_ascii_as_urls_do() -> None:
    headers = {
        "ce-specversion": "1.0", "ce-id": "1", "ce-source": "s", "ce-type": "t",
        "ce-subject": "Euro%20%E2%82%AC%20%F0%9F%98%80",
    }  # fmt: skip
    event = Event("m", b"{}", headers=tuple((k, v.encode()) for k, v in headers.items()))
    [one] = Mapper("events", Plan(kind="k1", metadata={"x": "{subject}"})).map(event)
    assert one.job is not None
    assert json.loads(one.job.metadata)["x"] == "Euro € 😀"


def test_a_compressed_body_is_inflated_as_far_as_is_sound() -> None:
    packed = gzip.compress(b'{"n": 1}')
    assert args(map_(packed, Plan(kind="k1"), content_encoding="gzip")) == [{"n": 1}]
    text = base64.b64encode(packed)
    assert args(
        map_(text, Plan(kind="k1"), content_encoding="gzip", content_transfer_encoding="base64")
    ) == [{"n": 1}]
    bomb = gzip.compress(b" " * (LARGEST + 1))
    for body, why in (
        (bomb, "more than 67108864 bytes"),
        (packed[:-4], "cut off"),
        (b"{}", "is not gzip"),
    ):
        [one] = map_(body, Plan(kind="k1"), content_encoding="gzip")
        assert why in one.reason
        assert one.event.body == body
