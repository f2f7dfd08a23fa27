"""What is asked of an SQS queue that is read: for messages, to delete them, to hide them longer."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from http.client import OK

import msgspec

from riverbridge.model.text import said
from riverbridge.sinks.aws_access import Access
from riverbridge.sinks.aws_errors import Verdict, bare, refusal, verdict
from riverbridge.sinks.aws_http import Connection
from riverbridge.sinks.aws_signer import NoCredentials
from riverbridge.sinks.kept_connection import Lost, NotSent
from riverbridge.sinks.sqs_limit import sqs_headers

MOST = 10
"""Messages of one request."""
LARGEST = 32 << 20
"""Bytes of an answer: ten messages of 1 MiB, which JSON may make up to three times as long."""
PATIENCE = 10.0
"""Seconds for an answer, beside what SQS is asked to wait for messages."""

_ATTRIBUTES = (
    "ApproximateReceiveCount",
    "MessageDeduplicationId",
    "MessageGroupId",
    "SentTimestamp",
)
_WAITING = "ApproximateNumberOfMessages"


class Trouble(Exception):
    """SQS did not do what it was asked: it is away, or refuses. It is worth another try later."""


class Attribute(msgspec.Struct, frozen=True, rename="pascal"):
    """A message attribute; one of type Binary has its value in base64."""

    data_type: str = "String"
    string_value: str | None = None
    binary_value: str | None = None


class Received(msgspec.Struct, frozen=True, rename="pascal"):
    """A message as SQS gives it. attributes: its own, of which `_ATTRIBUTES` are asked for."""

    message_id: str
    receipt_handle: str
    body: str
    md5: str = msgspec.field(default="", name="MD5OfBody")
    attributes: dict[str, str] = {}
    message_attributes: dict[str, Attribute] = {}


class _Messages(msgspec.Struct, rename="pascal"):
    messages: list[Received] | None = None


class _Queue(msgspec.Struct):
    attributes: dict[str, str] = msgspec.field(default_factory=dict, name="Attributes")


class _Failed(msgspec.Struct, rename="pascal"):
    id: str
    code: str = ""
    message: str | None = None


class _Results(msgspec.Struct, rename="pascal"):
    failed: list[_Failed] | None = None


_encode = msgspec.json.Encoder().encode
_queue = msgspec.json.Decoder(_Queue).decode
_messages = msgspec.json.Decoder(_Messages).decode
_results = msgspec.json.Decoder(_Results).decode


class QueueCalls:
    """Requests about one queue, each over the connection it is given. Safe for threads."""

    def __init__(self, queue_url: str, access: Access) -> None:
        self._queue_url = queue_url
        self._signer = access.signer

    def receive(self, connection: Connection, *, wait: int, hidden: int) -> list[Received]:
        """Up to ten messages, which nobody else gets for `hidden` seconds; none if none came
        within `wait` seconds. Raises Trouble."""
        wanted = {
            "MaxNumberOfMessages": MOST,
            "WaitTimeSeconds": wait,
            "VisibilityTimeout": hidden,
            "MessageAttributeNames": ["All"],
            "MessageSystemAttributeNames": _ATTRIBUTES,
        }
        body = self._ask(connection, "ReceiveMessage", wanted, wait + PATIENCE)
        try:
            found = _messages(body).messages or []
        except msgspec.MsgspecError as error:
            raise Trouble("SQS answered 200 with something that is no answer") from error
        if any(one.md5 not in ("", _md5(one.body)) for one in found):
            # All come again: those behind it may be of its group, and are not to go before it.
            raise Trouble("a message was damaged on its way from SQS (MD5)")
        return found

    def delete(self, connection: Connection, handles: Sequence[str]) -> list[str | None]:
        """For each of up to ten messages why it was not deleted, or None. Raises Trouble."""
        entries = [{"Id": str(n), "ReceiptHandle": h} for n, h in enumerate(handles)]
        return self._change(connection, "DeleteMessageBatch", entries)

    def hide(
        self, connection: Connection, handles: Sequence[str], seconds: int
    ) -> list[str | None]:
        """Have nobody else get up to ten messages for so long from now; 0: at once.

        For each why not, or None. Raises Trouble.
        """
        entries = [
            {"Id": str(n), "ReceiptHandle": h, "VisibilityTimeout": seconds}
            for n, h in enumerate(handles)
        ]
        return self._change(connection, "ChangeMessageVisibilityBatch", entries)

    def waiting(self, connection: Connection) -> int | None:
        """About how many messages nobody holds, or None where the server does not say.

        Raises Trouble.
        """
        wanted: dict[str, object] = {"AttributeNames": [_WAITING]}
        body = self._ask(connection, "GetQueueAttributes", wanted, PATIENCE)
        try:
            return int(_queue(body).attributes[_WAITING])
        except (KeyError, ValueError, msgspec.MsgspecError):
            return None

    def _change(
        self, connection: Connection, action: str, entries: Sequence[object]
    ) -> list[str | None]:
        body = self._ask(connection, action, {"Entries": entries}, PATIENCE)
        try:
            failed = {one.id: bare(one.code) or "no code" for one in _results(body).failed or ()}
        except msgspec.MsgspecError as error:
            raise Trouble("SQS answered 200 with something that is no answer") from error
        return [failed.get(str(number)) for number in range(len(entries))]

    def _ask(
        self, connection: Connection, action: str, what: dict[str, object], seconds: float
    ) -> bytes:
        """The body of an answer of 200. Credentials that expired are renewed once."""
        request = _encode({"QueueUrl": self._queue_url, **what})
        deadline = time.monotonic() + seconds
        for again in (True, False):
            try:
                credentials = self._signer.credentials()
                headers = self._signer.sign(sqs_headers(action), request, credentials)
                answer = connection.post(headers, request, deadline, LARGEST)
            except NotSent as error:
                raise Trouble(f"no connection to SQS: {error}") from error
            except Lost as error:
                raise Trouble(f"no answer from SQS: {error}") from error
            except NoCredentials as error:
                raise Trouble(f"SQS: {error}") from error
            if answer.status == OK:
                return answer.body
            code, text = refusal(answer.body, answer.query_error)
            if again and verdict(answer.status, code) is Verdict.EXPIRED:
                self._signer.renew(credentials)
                continue
            break
        why = f"SQS answered {answer.status} {code}".rstrip()
        raise Trouble(f"{why}: {said(text)}" if text else why)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode("utf-8", "surrogatepass"), usedforsecurity=False).hexdigest()
