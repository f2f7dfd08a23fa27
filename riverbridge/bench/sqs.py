"""How fast the SQS sink is, beside boto3 one call after another, against the same canned answers.

The answering server is another process on loopback and does next to nothing, so the figures are
the sender's own cost. No emulator and no stub says how fast AWS is.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3
from botocore.config import Config
from botocore.credentials import Credentials

from riverbridge.model.outcome import Delivered
from riverbridge.sinks.base import Message
from riverbridge.sinks.sqs import SqsSink

BODY = b'{"pad":"' + b"x" * 250 + b'"}'
REGION = "eu-west-1"
_KEYS = ("bench", "bench")


class _Canned(asyncio.Protocol):
    """Accepts whatever it is sent, with the MD5 of the one body the bench sends."""

    _MD5 = hashlib.md5(BODY, usedforsecurity=False).hexdigest()
    _IDS = re.compile(rb'"Id": ?"(\w+)"')
    _LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)

    def __init__(self) -> None:
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, body = self._got.partition(b"\r\n\r\n")
        length = self._LENGTH.search(head)
        if not end or length is None or len(body) < int(length.group(1)):
            return
        self._got = b""
        answer: dict[str, Any] = {"Attributes": {"MaximumMessageSize": "1048576"}}
        if b"SendMessageBatch" in head:
            accepted = [
                {"Id": found.decode(), "MessageId": "m", "MD5OfMessageBody": self._MD5}
                for found in self._IDS.findall(body)
            ]
            answer = {"Successful": accepted}
        reply = json.dumps(answer).encode()
        self._transport.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.0\r\n"
            b"x-amzn-requestid: bench\r\ncontent-length: %d\r\n\r\n%b" % (len(reply), reply)
        )


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(_Canned, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


@contextmanager
def stub() -> Iterator[str]:
    """The URL of an answering process, which ends with the block or with this process."""
    command = [sys.executable, "-m", "riverbridge.bench.sqs", "stub"]
    with subprocess.Popen(  # noqa: S603 - this module, by this interpreter
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        try:
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.communicate(timeout=10)


def _ours(sink: SqsSink, messages: int, batch: int = 1000) -> float:
    """Messages a second through `deliver`, in the lane's batches."""
    begun = time.perf_counter()
    for first in range(0, messages, batch):
        some = [Message(id=str(n), body=BODY) for n in range(first, min(first + batch, messages))]
        for outcome in sink.deliver(some, time.monotonic() + 10):
            if not isinstance(outcome, Delivered):
                raise RuntimeError(f"the stub did not take a message: {outcome}")
    return messages / (time.perf_counter() - begun)


def _boto3(client: Any, queue_url: str, messages: int) -> float:
    """Messages a second with one thread calling send_message_batch."""
    text = BODY.decode()
    begun = time.perf_counter()
    for first in range(0, messages, 10):
        entries = [
            {"Id": str(n), "MessageBody": text} for n in range(first, min(first + 10, messages))
        ]
        if client.send_message_batch(QueueUrl=queue_url, Entries=entries).get("Failed"):
            raise RuntimeError("the stub did not take a message")
    return messages / (time.perf_counter() - begun)


def main(rounds: int = 5, messages: int = 10_000, threads: int = 8) -> dict[str, Any]:
    """Rates in messages a second, medians of `rounds` in which both take turns."""
    ours: list[float] = []
    theirs: list[float] = []
    with stub() as url:
        queue_url = f"{url}/000000000000/bench"
        client = boto3.Session(*_KEYS, region_name=REGION).client(
            "sqs", endpoint_url=url, config=Config(proxies={})
        )
        sink = SqsSink(
            queue_url=queue_url, region=REGION, threads=threads, credentials=Credentials(*_KEYS)
        )
        try:
            _ours(sink, 100)
            _boto3(client, queue_url, 100)
            for _ in range(rounds):
                ours.append(_ours(sink, messages))
                theirs.append(_boto3(client, queue_url, messages))
        finally:
            sink.close()
            client.close()
    mine, other = statistics.median(ours), statistics.median(theirs)
    return {
        "what": "SendMessageBatch of 10, 260-byte bodies, against a canned-reply stub",
        "rounds": rounds,
        "messages": messages,
        "threads": threads,
        "riverbridge_per_s": round(mine),
        "boto3_per_s": round(other),
        "ratio": round(mine / other, 2),
        "riverbridge_rounds": [round(rate) for rate in ours],
        "boto3_rounds": [round(rate) for rate in theirs],
    }


if __name__ == "__main__":
    if sys.argv[1:] == ["stub"]:
        asyncio.run(_serve())
    else:
        print(json.dumps(main(), indent=2))
