"""A receiver with AWS's extended client for SQS: prints the bodies it gets, a JSON object a line.

A program of its own, as the library replaces boto3's session in the process that imports it.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3
import sqs_extended_client

ACCESS = {
    "region_name": "us-east-1", "aws_access_key_id": "test", "aws_secret_access_key": "test",
}  # fmt: skip


def main(endpoint: str, queue: str, bucket: str, count: str) -> None:
    library: Any = sqs_extended_client
    reader = library.SQSExtendedClientSession(**ACCESS).client("sqs", endpoint_url=endpoint)
    make: Any = boto3.client
    reader.s3_client = make("s3", endpoint_url=endpoint, **ACCESS)
    reader.large_payload_support = bucket
    left = int(count)
    while left > 0:
        got = reader.receive_message(
            QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5, MessageAttributeNames=["All"]
        )
        messages = got.get("Messages")
        if not messages:
            sys.exit(f"{left} messages are missing")
        for message in messages:
            print(json.dumps({"body": message["Body"], "names": [*message["MessageAttributes"]]}))
        left -= len(messages)


if __name__ == "__main__":
    main(*sys.argv[1:])
