"""What differs between the services whose batches are sent: how to ask, and what answers say."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar

import msgspec

from riverbridge.model.outcome import Delivered, Outcome, Permanent, Retry
from riverbridge.sinks.aws_batch import Entry, Line
from riverbridge.sinks.aws_errors import entry_outcome, refusal
from riverbridge.sinks.aws_http import Answer
from riverbridge.sinks.base import Message

DELIVERED = Delivered()


class NotRead(Exception):
    """An answer of 200 that the service's protocol does not have."""


class Api(ABC):
    """One batch operation of one service, for `riverbridge.sinks.aws_sink.AwsSink`.

    service: its name in errors. most: entries of a request. headers: what of the request's headers
    is the operation's own.
    """

    service: ClassVar[str]
    most: ClassVar[int]
    headers: ClassVar[Mapping[str, str]]

    @abstractmethod
    def limit(self, patience: float) -> int:
        """Bytes of a message, after at most `patience` seconds if it has to be asked for."""

    def close(self) -> threading.Thread | None:
        """End what `limit` asks just now: the thread that does so, if there is one."""
        return None

    @abstractmethod
    def prepare(self, index: int, message: Message, limit: int) -> Entry | Permanent:
        """The entry for `message`, or why it can never be one."""

    @abstractmethod
    def line(self, entries: Sequence[Entry], limit: int) -> Line:
        """In which order and company they go."""

    @abstractmethod
    def encode(self, entries: Sequence[Entry]) -> bytes:
        """The body of a request with these entries."""

    @abstractmethod
    def read(self, body: bytes, entries: Sequence[Entry]) -> list[Outcome]:
        """One outcome for each entry, from an answer of 200. Raises NotRead."""

    def refusal(self, answer: Answer) -> tuple[str, str]:
        """The bare code and the text of any other answer; both may be empty."""
        return refusal(answer.body, answer.query_error)


def json_headers(version: str, target: str) -> Mapping[str, str]:
    """The headers of an operation in AWS's JSON protocol of that version."""
    return {"Content-Type": f"application/x-amz-json-{version}", "X-Amz-Target": target}


class Placed(msgspec.Struct):
    """One entry's result in an answer that gives them in the order of the request."""

    error_code: str | None = msgspec.field(default=None, name="ErrorCode")
    error_message: str | None = msgspec.field(default=None, name="ErrorMessage")
    event_id: str | None = msgspec.field(default=None, name="EventId")
    sequence_number: str | None = msgspec.field(default=None, name="SequenceNumber")
    shard_id: str | None = msgspec.field(default=None, name="ShardId")

    @property
    def receipt(self) -> str | None:
        """Where it went; None if the answer does not say that it went anywhere."""
        if self.sequence_number and self.shard_id:
            return f"{self.shard_id}@{self.sequence_number}"
        return self.sequence_number or self.event_id or None


def by_place(
    service: str, results: Sequence[Placed], entries: Sequence[Entry], *, receipts: bool
) -> list[Outcome]:
    """One outcome for each entry. Raises NotRead if it cannot be told which result is whose."""
    if len(results) != len(entries):
        raise NotRead
    return [_placed(service, result, receipts) for result in results]


def _placed(service: str, result: Placed, receipts: bool) -> Outcome:
    if result.error_code:
        return entry_outcome(service, result.error_code, result.error_message)
    if (receipt := result.receipt) is not None:
        return Delivered(receipt) if receipts else DELIVERED
    return Retry(f"{service}'s answer says nothing of the message", ambiguous=True)
