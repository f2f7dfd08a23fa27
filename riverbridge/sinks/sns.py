"""Messages to an SNS topic, standard or FIFO.

The same text and attributes as in SQS. On a FIFO topic the message's id deduplicates for five
minutes and its key is the group: within one call of `deliver` a message is sent only when SNS has
acknowledged the earlier ones of its group.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack
from urllib.parse import urlencode
from xml.etree.ElementTree import Element, ParseError, fromstring

from riverbridge.errors import ConfigurationError
from riverbridge.model.outcome import Delivered, Outcome, Permanent, Retry
from riverbridge.model.text import said
from riverbridge.sinks.aws_access import Access, Reach, region_in
from riverbridge.sinks.aws_api import DELIVERED, Api, NotRead
from riverbridge.sinks.aws_batch import Entry, Grouped, Line, Loose
from riverbridge.sinks.aws_errors import bare, entry_outcome
from riverbridge.sinks.aws_http import Answer
from riverbridge.sinks.aws_sink import AwsSink
from riverbridge.sinks.aws_text import Place, Text, data_type, text_of
from riverbridge.sinks.base import Message

MAX_ENTRIES = 10
MAX_BYTES = 262_144
"""Entries of one PublishBatch, and bytes of a message and of all of them together, unless the
topic's MaximumMessageSize is another (API reference of PublishBatch)."""


class SnsSink(AwsSink):
    """Delivers messages to one topic; see `AwsSink` for `delivery_timeout` and `threads`.

    topic_arn: FIFO if it ends with `.fifo`. max_message_size: the topic's MaximumMessageSize.
    receipts: give SNS's message ids in the outcomes. reach: see `Reach`.
    """

    def __init__(
        self,
        *,
        topic_arn: str,
        delivery_timeout: float = 10.0,
        threads: int = 8,
        max_message_size: int = MAX_BYTES,
        receipts: bool = False,
        **reach: Unpack[Reach],
    ) -> None:
        if region_in(topic_arn) is None:
            raise ConfigurationError(
                f"SNS: {topic_arn!r} is no topic ARN: arn:aws:sns:region:account:name"
            )
        access = Access("sns", topic_arn, **reach)
        api = PublishBatch(topic_arn, max_message_size, receipts=receipts)
        super().__init__(api, access, delivery_timeout=delivery_timeout, threads=threads)


class PublishBatch(Api):
    """SNS's batch operation, in AWS's query protocol: a form there, XML back."""

    service = "SNS"
    most = MAX_ENTRIES
    headers = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}  # noqa: RUF012

    def __init__(self, topic_arn: str, limit: int, *, receipts: bool = False) -> None:
        self._place = Place("SNS", "topic", topic_arn.endswith(".fifo"))
        self._limit = limit
        self._receipts = receipts
        self._head = urlencode(
            {"Action": "PublishBatch", "Version": "2010-03-31", "TopicArn": topic_arn}
        )

    def limit(self, patience: float) -> int:
        return self._limit

    def prepare(self, index: int, message: Message, limit: int) -> Entry | Permanent:
        text = text_of(message, self._place, limit)
        if isinstance(text, Permanent):
            return text
        return Entry(index, _form(index, text), text.size, text.group or "")

    def line(self, entries: Sequence[Entry], limit: int) -> Line:
        if self._place.fifo:
            return Grouped(entries, MAX_ENTRIES, limit)
        return Loose(entries, MAX_ENTRIES, limit)

    def encode(self, entries: Sequence[Entry]) -> bytes:
        pairs = [
            (f"PublishBatchRequestEntries.member.{number}.{name}", value)
            for number, entry in enumerate(entries, 1)
            for name, value in entry.wire
        ]
        return f"{self._head}&{urlencode(pairs)}".encode()

    def read(self, body: bytes, entries: Sequence[Entry]) -> list[Outcome]:
        """Each entry by its own result; what the answer does not name is unknown, so lost."""
        root = _xml(body)
        if root is None or not root.tag.endswith("PublishBatchResponse"):
            raise NotRead
        outcomes: dict[str, Outcome] = {}
        for one in root.iterfind("{*}PublishBatchResult/{*}Successful/{*}member"):
            sent = Delivered(_text(one, "MessageId") or None) if self._receipts else DELIVERED
            outcomes[_text(one, "Id")] = sent
        for one in root.iterfind("{*}PublishBatchResult/{*}Failed/{*}member"):
            outcomes[_text(one, "Id")] = entry_outcome(
                "SNS",
                _text(one, "Code"),
                _text(one, "Message"),
                _text(one, "SenderFault") == "true",
            )
        unknown = Retry("SNS's answer does not name the message", ambiguous=True)
        return [outcomes.get(str(entry.index), unknown) for entry in entries]

    def refusal(self, answer: Answer) -> tuple[str, str]:
        root = _xml(answer.body)
        error = None if root is None else root.find("{*}Error")
        if error is None:
            return super().refusal(answer)
        code, text = bare(_text(error, "Code")), said(_text(error, "Message"))
        # Of all the parameters this one is not the message's: another region's topic, for one.
        return ("NotFound" if code == "InvalidParameter" and "TopicArn" in text else code), text


def _form(index: int, text: Text) -> list[tuple[str, str]]:
    """One entry's names and values. Its Id is only unique within its request."""
    form = [("Id", str(index)), ("Message", text.body)]
    for number, (name, value) in enumerate(text.attributes.items(), 1):
        at = f"MessageAttributes.entry.{number}"
        form += (
            (f"{at}.Name", name),
            (f"{at}.Value.DataType", data_type(name)),
            (f"{at}.Value.StringValue", value),
        )
    if text.group is not None:
        form.append(("MessageGroupId", text.group))
    if text.deduplication is not None:
        form.append(("MessageDeduplicationId", text.deduplication))
    return form


def _xml(body: bytes) -> Element | None:
    """The document, if it is one. None with a DTD, which answers do not have and bombs need."""
    if b"<!" in body:
        return None
    try:
        return fromstring(body)  # noqa: S314 - without a DTD there is nothing to expand
    except ParseError:
        return None


def _text(element: Element, name: str) -> str:
    return (element.findtext(f"{{*}}{name}") or "").strip()
