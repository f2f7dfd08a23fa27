"""The process behind `SqsStub`: SQS's JSON protocol, answered from a can. Run with the port.

It checks nothing and keeps the last messages only; what it must do wrong comes in by /_stub.
"""

from __future__ import annotations

import hashlib
import itertools
import socket
import struct
import sys
import threading
import time
from collections import deque
from typing import Any

import msgspec

_decode, _encode = msgspec.json.decode, msgspec.json.encode
_ACCOUNT = "000000000000"


class Reset(Exception):
    """Drop the connection without an answer."""


class State:
    def __init__(self, port: int) -> None:
        self.port = port
        self.lock = threading.Lock()
        self.numbers = itertools.count(1)
        self.clear()

    def clear(self) -> None:
        self.faults: list[dict[str, Any]] = []
        self.received: deque[dict[str, Any]] = deque(maxlen=10_000)
        self.count = self.calls = 0

    def take_fault(self, action: str) -> dict[str, Any] | None:
        with self.lock:
            self.calls += 1
            for fault in self.faults:
                if fault["action"] == action:
                    if fault["times"] > 0:
                        fault["times"] -= 1
                        if not fault["times"]:
                            self.faults.remove(fault)
                    return fault
        return None

    def keep(self, url: str, entries: list[dict[str, Any]]) -> None:
        with self.lock:
            self.count += len(entries)
            self.received.extend({"QueueUrl": url, **entry} for entry in entries)


def attributes_md5(attributes: dict[str, dict[str, str]]) -> str:
    """As SQS computes MD5OfMessageAttributes, for string and number values."""
    data = b""
    for name in sorted(attributes):
        value = attributes[name]
        for part in (name.encode(), value["DataType"].encode()):
            data += struct.pack(">I", len(part)) + part
        text = value["StringValue"].encode()
        data += b"\x01" + struct.pack(">I", len(text)) + text
    return hashlib.md5(data).hexdigest()


def sent(state: State, entry: dict[str, Any], fifo: bool, wrong: bool) -> dict[str, Any]:
    body = entry["MessageBody"].encode()
    reply = {
        "MessageId": f"00000000-0000-0000-0000-{next(state.numbers):012d}",
        "MD5OfMessageBody": hashlib.md5(b"other" if wrong else body).hexdigest(),
    }
    if entry.get("MessageAttributes"):
        reply["MD5OfMessageAttributes"] = attributes_md5(entry["MessageAttributes"])
    if fifo:
        reply["SequenceNumber"] = f"{next(state.numbers):020d}"
    return reply


def send_batch(state: State, request: dict[str, Any], fault: dict[str, Any]) -> dict[str, Any]:
    url, entries = request["QueueUrl"], request["Entries"]
    kind, hit = fault.get("kind"), set(fault.get("entries") or range(len(entries)))
    fifo = url.endswith(".fifo")
    good, failed, kept = [], [], []
    for index, entry in enumerate(entries):
        if kind == "entries" and index in hit:
            details = {"Code": fault["code"], "SenderFault": fault["sender"], "Message": "stub"}
            failed.append({"Id": entry["Id"], **details})
            continue
        kept.append(entry)
        if kind == "missing" and index in hit:
            continue
        wrong = kind == "md5" and index in hit
        good.append({"Id": entry["Id"], **sent(state, entry, fifo, wrong)})
    state.keep(url, kept)
    if kind == "reset":
        raise Reset
    return {"Successful": good, "Failed": failed} if failed else {"Successful": good}


def queue_attributes(request: dict[str, Any]) -> dict[str, Any]:
    name = request["QueueUrl"].rsplit("/", 1)[-1]
    every = {
        "QueueArn": f"arn:aws:sqs:us-east-1:{_ACCOUNT}:{name}",
        "MaximumMessageSize": "1048576",
        "VisibilityTimeout": "30",
        "ApproximateNumberOfMessages": "0",
    }
    if name.endswith(".fifo"):
        every |= {"FifoQueue": "true", "ContentBasedDeduplication": "false"}
    wanted = request.get("AttributeNames", ["All"])
    return {"Attributes": {k: v for k, v in every.items() if "All" in wanted or k in wanted}}


def act(state: State, action: str, request: dict[str, Any], fault: dict[str, Any]) -> Any:
    if action == "SendMessageBatch":
        return send_batch(state, request, fault)
    if action == "SendMessage":
        answer = send_batch(state, {**request, "Entries": [{"Id": "0", **request}]}, fault)
        return answer["Successful"][0]
    if action == "GetQueueAttributes":
        return queue_attributes(request)
    if action == "GetQueueUrl":
        name = request["QueueName"]
        return {"QueueUrl": f"http://127.0.0.1:{state.port}/{_ACCOUNT}/{name}"}
    return None


def control(state: State, body: bytes) -> Any:
    command = _decode(body)
    with state.lock:
        if "fault" in command:
            state.faults.append(command["fault"])
        if command.get("clear"):
            state.clear()
        shown = {"count": state.count, "calls": state.calls, "faults": len(state.faults)}
        return {**shown, "received": list(state.received)} if command.get("received") else shown


def error(status: int, code: str, sender: bool) -> tuple[int, bytes, str]:
    body = _encode({"__type": f"com.amazonaws.sqs#{code}", "message": f"stub: {code}"})
    query = f"x-amzn-query-error: {code};{'Sender' if sender else 'Receiver'}\r\n"
    return status, body, query


def answer(state: State, path: str, target: str, body: bytes) -> tuple[int, bytes, str]:
    if path == "/_stub":
        return 200, _encode(control(state, body)), ""
    action = target.rpartition(".")[2]
    fault = state.take_fault(action) or {}
    time.sleep(fault.get("seconds", 0.0))
    if fault.get("kind") == "refuse":
        raise Reset
    if fault.get("kind") == "status":
        return error(fault["status"], fault["code"], fault["status"] < 500)
    if fault.get("kind") == "garbage":
        return 200, b"<html>not json</html>", ""
    reply = act(state, action, _decode(body), fault)
    if reply is None:
        return error(400, "UnsupportedOperation", True)
    return 200, _encode(reply), ""


def serve(state: State, connection: socket.socket) -> None:
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    data = b""
    try:
        while True:
            while (end := data.find(b"\r\n\r\n")) < 0:
                if not (chunk := connection.recv(262144)):
                    return
                data += chunk
            head, data = data[:end].decode("latin-1").split("\r\n"), data[end + 4 :]
            fields = {
                name.lower(): value.strip() for name, _, value in (s.partition(":") for s in head)
            }
            length = int(fields.get("content-length", "0"))
            while len(data) < length:
                if not (chunk := connection.recv(262144)):
                    return
                data += chunk
            body, data = data[:length], data[length:]
            path = head[0].split(" ")[1]
            status, reply, extra = answer(state, path, fields.get("x-amz-target", ""), body)
            connection.sendall(
                f"HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.0\r\n"
                f"content-length: {len(reply)}\r\n{extra}\r\n".encode()
                + reply
            )
    except Reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    except OSError:
        pass
    finally:
        connection.close()


def main() -> None:
    port = int(sys.argv[1])
    state = State(port)
    with socket.create_server(("127.0.0.1", port), backlog=128) as listener:
        while True:
            connection = listener.accept()[0]
            threading.Thread(target=serve, args=(state, connection), daemon=True).start()


if __name__ == "__main__":
    main()
