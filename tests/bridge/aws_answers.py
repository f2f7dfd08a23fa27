"""What SNS, EventBridge and Kinesis answer, for `AwsStub`: how each spells success and failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from riverbridge.sinks.aws_sink import AwsSink
from riverbridge.sinks.eventbridge import EventBridgeSink
from riverbridge.sinks.kinesis import KinesisSink
from riverbridge.sinks.sns import SnsSink
from tests.bridge.aws_server import Reply

ARN = "arn:aws:{}:us-east-1:000000000000:{}"


class Service(NamedTuple):
    """One kind of sink, the answers of its service, and which messages a request carries.

    reply: to a request, with the failures by place; the value is the entry's error code.
    refusal: of the whole request. bodies: of the messages in a request.
    """

    make: Callable[..., AwsSink]
    reply: Callable[[dict[str, Any], Mapping[int, str]], Reply]
    refusal: Callable[[int, str], Reply]
    bodies: Callable[[dict[str, Any]], list[str]]
    most: int = 10


def _forms(request: dict[str, Any], name: str) -> list[str]:
    at = "PublishBatchRequestEntries.member.{}.{}"
    found: list[str] = []
    while (value := request.get(at.format(len(found) + 1, name))) is not None:
        found.append(value)
    return found


def _published(request: dict[str, Any], failed: Mapping[int, str]) -> Reply:
    good = bad = ""
    for place, id_ in enumerate(_forms(request, "Id")):
        if place in failed:
            fault = str(not failed[place].startswith("Internal")).lower()
            bad += (
                f"<member><Id>{id_}</Id><Code>{failed[place]}</Code><Message>because</Message>"
                f"<SenderFault>{fault}</SenderFault></member>"
            )
        else:
            good += f"<member><Id>{id_}</Id><MessageId>m</MessageId></member>"
    return 200, (
        '<?xml version="1.0"?><PublishBatchResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/">'
        f"<PublishBatchResult><Failed>{bad}</Failed><Successful>{good}</Successful>"
        "</PublishBatchResult></PublishBatchResponse>"
    )


def _sns_refusal(status: int, code: str) -> Reply:
    return status, (
        '<ErrorResponse xmlns="http://sns.amazonaws.com/doc/2010-03-31/"><Error><Type>Sender</Type>'
        f"<Code>{code}</Code><Message>because</Message></Error></ErrorResponse>"
    )


def _placed(entries: str, counted: str, taken: str) -> Any:
    def reply(request: dict[str, Any], failed: Mapping[int, str]) -> Reply:
        results = [
            {"ErrorCode": failed[place], "ErrorMessage": "because"}
            if place in failed
            else {taken: "1"}
            for place in range(len(request[entries]))
        ]
        return 200, {counted: len(failed), entries: results}

    return reply


def _json_refusal(status: int, code: str) -> Reply:
    return status, {"__type": f"com.amazonaws.x#{code}", "message": "because"}


SERVICES = {
    "sns": Service(
        lambda **more: SnsSink(topic_arn=ARN.format("sns", "t"), **more),
        _published,
        _sns_refusal,
        lambda request: _forms(request, "Message"),
    ),
    "eventbridge": Service(
        lambda **more: EventBridgeSink(source="shop", **more),
        _placed("Entries", "FailedEntryCount", "EventId"),
        _json_refusal,
        lambda request: [entry["Detail"] for entry in request["Entries"]],
    ),
    "kinesis": Service(
        lambda **more: KinesisSink(stream_name="s", cloud_event=False, **more),
        _placed("Records", "FailedRecordCount", "SequenceNumber"),
        _json_refusal,
        lambda request: [entry["Data"] for entry in request["Records"]],
        500,
    ),
}
