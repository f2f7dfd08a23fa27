"""Bodies kept in S3 for messages that only refer to them (claim check)."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import quote

import boto3
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSLError,
    TokenRetrievalError,
)

from riverbridge.errors import ConfigurationError
from riverbridge.model.outcome import (
    Misconfigured,
    Outcome,
    Permanent,
    Retry,
    Snoozed,
    Unreachable,
)
from riverbridge.model.text import said
from riverbridge.sinks.aws_errors import Verdict, bare, verdict

AT_ONCE = 8
"""Uploads under way at once."""
SHARE = 0.75
"""Of a delivery's time, what the uploads may take; the messages need the rest."""
LONGEST_KEY = 1024
"""Bytes of an object's key (S3's API reference)."""

_NOT_OURS = (
    CredentialRetrievalError,
    NoCredentialsError,
    ParamValidationError,
    PartialCredentialsError,
    SSLError,
    TokenRetrievalError,
)
_BUCKET = frozenset(
    {"AuthorizationHeaderMalformed", "InvalidBucketName", "NoSuchBucket", "PermanentRedirect"}
)


def s3_client(
    region: str | None, endpoint_url: str | None, timeout: float, connections: int
) -> Any:
    """A client of S3 that tries nothing twice: its callers count their attempts.

    region, endpoint_url: else those of boto3's normal configuration, which also has the
    credentials. timeout: seconds without a byte. Raises ConfigurationError; nothing is sent.
    """
    config = Config(
        connect_timeout=min(3.0, timeout),
        read_timeout=timeout,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=connections,
        s3={"addressing_style": "path"} if endpoint_url else {},
    )
    try:
        return boto3.session.Session().client(
            "s3", region_name=region, endpoint_url=endpoint_url, config=config
        )
    except (BotoCoreError, ValueError) as error:
        raise ConfigurationError(f"S3: cannot be used as configured: {error}") from error


class Claims:
    """Objects in one bucket, under keys that begin with `prefix`.

    An object's key is made of the event's id, so that a retry overwrites what its first attempt
    left. Objects have the bucket's own encryption and no ACL: private, unless the bucket says
    otherwise. Nothing deletes them; that is for a lifecycle rule.

    region, endpoint_url: as for `s3_client`. kms_key: encrypt with this key of KMS instead of the
    bucket's own way. timeout: seconds one upload may take.

    Raises ConfigurationError for values that cannot work; nothing is sent.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        kms_key: str | None = None,
        timeout: float = 10.0,
    ) -> None:
        self.bucket = bucket
        self._prefix = prefix
        self._more: dict[str, str] = {}
        if kms_key is not None:
            self._more = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": kms_key}
        self._client = s3_client(region, endpoint_url, timeout, 2 * AT_ONCE)
        self._threads = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="claims")

    def key(self, id_: str) -> str:
        """The object's key for an event; different ids have different keys."""
        key = self._prefix + quote(id_, safe="-_:", errors="surrogatepass").replace(".", "%2E")
        if len(key) > LONGEST_KEY:
            raise ValueError(f"the id makes a key of {len(key)} bytes; S3 takes {LONGEST_KEY}")
        return key

    def keep(self, parts: Sequence[tuple[str, bytes]], deadline: float) -> list[str | Outcome]:
        """Store each body under its event's id: its key, or what becomes of the message.

        deadline: the time.monotonic by which the messages are to be delivered.
        """
        now = time.monotonic()
        try:
            out = [self._threads.submit(self._put, id_, body) for id_, body in parts]
        except RuntimeError:
            return [Unreachable("nothing stored: the sink was closed")] * len(parts)
        wait(out, max(0.0, SHARE * (deadline - now)))
        late: Outcome = Unreachable("S3 did not answer before the deadline")
        if any(one.done() and not one.cancelled() and isinstance(one.result(), str) for one in out):
            # It works, only not as fast as jobs come: their turn is in the next batch.
            late = Snoozed(0)
        return [_result(one, late) for one in out]

    def close(self) -> None:
        """Begin no more uploads; those under way end by themselves."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _put(self, id_: str, body: bytes) -> str | Outcome:
        try:
            key = self.key(id_)
            self._client.put_object(Bucket=self.bucket, Key=key, Body=body, **self._more)
        except ValueError as error:
            return Permanent(f"not stored in S3: {error}")
        except ClientError as error:
            return _refused(error)
        except _NOT_OURS as error:
            return Misconfigured(f"nothing stored in S3: {said(str(error))}")
        except BotoCoreError as error:
            return Unreachable(f"S3 does not answer: {said(str(error))}")
        return key


def _result(upload: Future[str | Outcome], late: Outcome) -> str | Outcome:
    if upload.cancel() or not upload.done():
        return late
    return upload.result()


def _refused(error: ClientError) -> Outcome:
    answer: Any = error.response
    code = bare(answer.get("Error", {}).get("Code", ""))
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    text = f"S3 refused to store the body: {status} {code}: "
    text += said(answer.get("Error", {}).get("Message"))
    if code == "EntityTooLarge":
        return Permanent(text)
    match verdict(status, code):
        case _ if code in _BUCKET:
            return Misconfigured(text)
        case Verdict.MISCONFIGURED | Verdict.EXPIRED:
            return Misconfigured(text)
        case Verdict.AGAIN:
            return Unreachable(text)
        case Verdict.SPLIT:
            return Permanent(text)
        case _:
            return Retry(text)
