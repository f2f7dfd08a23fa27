"""The settings of SNS, EventBridge and Kinesis sinks: what they refuse, need and open."""

from __future__ import annotations

import pytest

from riverbridge.settings import load
from riverbridge.sinks.eventbridge import EventBridgeSink
from riverbridge.sinks.kinesis import KinesisSink
from riverbridge.sinks.sns import SnsSink
from tests.unit.settings_cases import DSN, ROUTE, R, S, problems_of

BASE = {"DATABASE_URL": DSN}
UNORDERED = {R + "ORDERED": "false"}
KEYED = {R + "KEY": "{args.customer_id}"}
TOPIC = "arn:aws:sns:eu-west-1:123456789012:orders"
SNS = {**BASE, S + "TYPE": "sns", S + "TOPIC_ARN": TOPIC}
FIFO = {**SNS, S + "TOPIC_ARN": TOPIC + ".fifo"}
EVENTBRIDGE = {**BASE, S + "TYPE": "eventbridge", S + "REGION": "eu-west-1"}
KINESIS = {**BASE, S + "TYPE": "kinesis", S + "STREAM_NAME": "orders", S + "REGION": "eu-west-1"}
STREAM = "arn:aws-cn:kinesis:cn-north-1:123456789012:stream/orders"

REFUSED = [
    (SNS, S + "TOPIC_ARN", "orders", "is not a topic ARN"),
    (SNS, S + "TOPIC_ARN", "arn:aws:sqs:eu-west-1:123456789012:orders", "is not a topic ARN"),
    (SNS, S + "MAX_MESSAGE_SIZE", "2MiB", "outside of the limits, 1KiB to 1MiB"),
    (SNS, S + "ENDPOINT_URL", "http://sns.internal:4566", "unencrypted"),
    (
        {**FIFO, **ROUTE, **UNORDERED},
        R + "UNMATCHED",
        "leave",
        "and needs one as its message group",
    ),
    ({**FIFO, **ROUTE, **KEYED}, R + "UNMATCHED", "leave", "is a FIFO topic"),
    (EVENTBRIDGE, S + "EVENT_BUS", "a bus", "is not the name or the ARN of an event bus"),
    (EVENTBRIDGE, S + "SOURCE", "aws.shop", "those of AWS itself begin with `aws.`"),
    (EVENTBRIDGE, S + "ENVELOPE", "raw", "must be one of cloudevents"),
    (EVENTBRIDGE, S + "HEADERS", '{"a":"b"}', "have no headers"),
    (KINESIS, S + "STREAM_NAME", "orders/new", "is not a stream name"),
    (KINESIS, S + "STREAM_ARN", STREAM, "set either this or STREAM_ARN"),
    (KINESIS, S + "HEADERS", '{"X-Tenant":"b"}', "lower-case letters and digits"),
    (KINESIS, S + "HEADERS", '{"ce_id":"b"}', "no name that is its own"),
    ({**KINESIS, S + "ENVELOPE": "job"}, S + "HEADERS", '{"a":"b"}', "set ENVELOPE=cloudevents"),
    ({**KINESIS, **ROUTE, **KEYED}, R + "UNMATCHED", "leave", "is Kinesis and the route has a key"),
]


@pytest.mark.parametrize(("env", "name", "value", "text"), REFUSED)
def test_what_cannot_work_is_said(env: dict[str, str], name: str, value: str, text: str) -> None:
    (problem,) = problems_of({**env, name: value})
    assert text in problem


@pytest.mark.parametrize(
    ("env", "kind"),
    [
        (SNS, SnsSink),
        ({**FIFO, **ROUTE, **KEYED, **UNORDERED}, SnsSink),
        (EVENTBRIDGE, EventBridgeSink),
        (
            {**EVENTBRIDGE, S + "SOURCE": "com.example", S + "DETAIL_TYPE": "{kind}"},
            EventBridgeSink,
        ),
        (KINESIS, KinesisSink),
        ({**KINESIS, S + "HEADERS": '{"tenant":"t","ce_subject":"x"}'}, KinesisSink),
        ({**BASE, S + "TYPE": "kinesis", S + "STREAM_ARN": STREAM}, KinesisSink),
    ],
)
def test_what_works_is_opened_without_connecting(env: dict[str, str], kind: type) -> None:
    sink = load(env, None, None).sinks["events"].open("events")
    assert isinstance(sink, kind)
    sink.close()
