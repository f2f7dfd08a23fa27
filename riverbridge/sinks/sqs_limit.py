"""How large a message the queue takes, as the queue says it."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping

import msgspec

from riverbridge.sinks.aws_api import json_headers
from riverbridge.sinks.aws_errors import refusal
from riverbridge.sinks.aws_http import Connection
from riverbridge.sinks.aws_signer import NoCredentials, Signer
from riverbridge.sinks.kept_connection import Lost, NotSent

log = logging.getLogger(__name__)

NAME = "MaximumMessageSize"
DEFAULT = 1_048_576
"""Bytes of a message, and of a batch, where the queue's own limit cannot be read."""
AGE = 3600.0
AGE_UNREAD = 60.0
PATIENCE = 2.0
TIMEOUT = 5.0


def sqs_headers(action: str) -> Mapping[str, str]:
    """The headers of an action; errors then come with the codes of the older protocol too."""
    return {**json_headers("1.0", f"AmazonSQS.{action}"), "x-amzn-query-mode": "true"}


_HEADERS = sqs_headers("GetQueueAttributes")


class _Request(msgspec.Struct, rename="pascal"):
    queue_url: str
    attribute_names: list[str]


class _Reply(msgspec.Struct, rename="pascal"):
    attributes: dict[str, str]


class _Refused(Exception):
    """SQS answered, but not with the limit."""


class QueueLimit:
    """The queue's MaximumMessageSize, read at first use and then hourly, beside the sending.

    Not with a boto3 client: to make one holds the interpreter for hundreds of milliseconds, and a
    delivery under way would miss its deadline.
    """

    def __init__(self, queue_url: str, signer: Signer, connection: Connection) -> None:
        self._queue_url = queue_url
        self._signer = signer
        self._connection = connection
        self._lock = threading.Lock()
        self._asking: threading.Thread | None = None
        self._closed = False
        self._asked = threading.Event()
        self._due = 0.0
        self._bytes = DEFAULT
        self._told = False

    def current(self, patience: float) -> int:
        """Bytes. The first callers wait `patience` seconds, at most two, for the answer."""
        with self._lock:
            if not self._asking and not self._closed and time.monotonic() >= self._due:
                self._asking = threading.Thread(target=self._refresh, name="sqs-limit", daemon=True)
                self._asking.start()
        if not self._asked.is_set():
            self._asked.wait(min(patience, PATIENCE))
        return self._bytes

    def close(self) -> threading.Thread | None:
        """End the waiting, and what is asked just now: the thread that does so, if there is one."""
        with self._lock:
            self._closed = True
        self._connection.abort()
        self._asked.set()
        return self._asking

    def _refresh(self) -> None:
        age = AGE
        try:
            self._bytes = self._ask()
            self._told = False
        except _Refused as error:
            self._tell(error)
        except (NoCredentials, NotSent, Lost) as error:
            age = AGE_UNREAD
            self._tell(error)
        finally:
            self._connection.close()
            with self._lock:
                self._due = time.monotonic() + age
                self._asking = None
            self._asked.set()

    def _tell(self, error: Exception) -> None:
        if not self._told and not self._closed:
            self._told = True
            log.warning(
                "SQS: %s of %s cannot be read (%s); %d bytes are taken for it. Allow "
                "sqs:GetQueueAttributes to have the queue's own limit checked.",
                NAME,
                self._queue_url,
                error,
                self._bytes,
            )

    def _ask(self) -> int:
        body = msgspec.json.encode(_Request(self._queue_url, [NAME]))
        headers = self._signer.sign(_HEADERS, body, self._signer.credentials())
        answer = self._connection.post(headers, body, time.monotonic() + TIMEOUT)
        if answer.status != 200:
            code, text = refusal(answer.body, answer.query_error)
            raise _Refused(f"{answer.status} {code} {text}".strip())
        try:
            return int(msgspec.json.decode(answer.body, type=_Reply).attributes[NAME])
        except (msgspec.MsgspecError, KeyError, ValueError) as error:
            raise _Refused("an answer without it") from error
