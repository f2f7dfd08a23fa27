"""What AWS says when it refuses, and what each word means for the messages.

A refusal comes on two levels: an HTTP answer for the whole request, and failed entries inside a
200. Codes are compared without the `AWS.SimpleQueueService.` prefix and `Exception` suffix that
older spellings carry.
"""

from __future__ import annotations

from enum import Enum, auto
from http.client import FORBIDDEN, NOT_FOUND, REQUEST_ENTITY_TOO_LARGE, UNAUTHORIZED

import msgspec

from riverbridge.model.outcome import Misconfigured, Outcome, Permanent, Retry
from riverbridge.model.text import said


class Verdict(Enum):
    """What to do about a request that was refused as a whole."""

    AGAIN = auto()
    """Throttled or broken for now: the same request, after a pause."""
    EXPIRED = auto()
    """The credentials may be old: once more with fresh ones, then a matter of configuration."""
    MISCONFIGURED = auto()
    SPLIT = auto()
    """Something in it is wrong: one by one, to find out which."""
    REFUSED = auto()
    """Anything else: an attempt is spent."""


THROTTLED = frozenset(
    {
        "BandwidthLimitExceeded",
        "KMS.Throttling",
        "KMSThrottling",
        "KmsThrottled",
        "LimitExceeded",
        "PriorRequestNotComplete",
        "ProvisionedThroughputExceeded",
        "RequestLimitExceeded",
        "RequestThrottled",
        "SlowDown",
        "Throttled",
        "Throttling",
        "TooManyRequests",
    }
)
BROKEN = frozenset(
    {"Internal", "InternalError", "InternalFailure", "InternalServerError", "RequestTimeout"}
    | {"ServiceUnavailable"}
)
EXPIRED = frozenset(
    {"ExpiredToken", "InvalidClientTokenId", "RequestExpired", "UnrecognizedClient"}
)
MISCONFIGURED = frozenset(
    {
        "AccessDenied",
        "AuthFailure",
        "AuthorizationError",
        "IncompleteSignature",
        "InvalidAccessKeyId",
        "InvalidAccountId",
        "InvalidAddress",
        "InvalidSecurity",
        "InvalidSignature",
        "KMS.AccessDenied",
        "KMS.Disabled",
        "KMS.InvalidKeyUsage",
        "KMS.InvalidState",
        "KMS.NotFound",
        "KMS.OptInRequired",
        "KMSAccessDenied",
        "KMSDisabled",
        "KMSInvalidState",
        "KMSNotFound",
        "KMSOptInRequired",
        "KmsAccessDenied",
        "KmsDisabled",
        "KmsInvalidKeyUsage",
        "KmsInvalidState",
        "KmsNotFound",
        "KmsOptInRequired",
        "MissingAuthenticationToken",
        "NonExistentQueue",
        "NotAuthorized",
        "NotAuthorizedForDetailType",
        "NotAuthorizedForSource",
        "NotFound",
        "OptInRequired",
        "QueueDeletedRecently",
        "QueueDoesNotExist",
        "RequestTimeTooSkewed",
        "ResourceNotFound",
        "SignatureDoesNotMatch",
        "UnsupportedOperation",
    }
)
INVALID = frozenset(
    {
        "BatchRequestTooLong",
        "InvalidArgument",
        "InvalidAttributeName",
        "InvalidAttributeValue",
        "InvalidMessageContents",
        "InvalidParameter",
        "InvalidParameterCombination",
        "InvalidParameterValue",
        "MalformedDetail",
        "MessageTooLong",
        "MissingParameter",
        "ParameterValueInvalid",
        "RedactionFailure",
        "Serialization",
        "ValidationError",
        "Validation",
    }
)


class _Refusal(msgspec.Struct):
    kind: str = msgspec.field(default="", name="__type")
    message: str | None = None
    other: str | None = msgspec.field(default=None, name="Message")


_decode = msgspec.json.Decoder(_Refusal, strict=False).decode


def bare(code: str) -> str:
    """The code without namespace, prefix and suffix."""
    code = code.rpartition("#")[2].partition(";")[0].strip()
    return code.removeprefix("AWS.SimpleQueueService.").removesuffix("Exception")


def refusal(body: bytes, query_error: str | None) -> tuple[str, str]:
    """The bare code and the text of a refused request; both may be empty."""
    try:
        answer = _decode(body)
    except msgspec.MsgspecError:
        answer = _Refusal()
    return bare(answer.kind or query_error or ""), said(answer.message or answer.other)


def verdict(status: int, code: str) -> Verdict:
    """What to do about a request refused with `status` and the bare `code`."""
    if code in EXPIRED:
        return Verdict.EXPIRED
    if code in MISCONFIGURED:
        return Verdict.MISCONFIGURED
    if code in INVALID or status == REQUEST_ENTITY_TOO_LARGE:
        return Verdict.SPLIT
    if code in THROTTLED or code in BROKEN or status >= 500 or status in (408, 429):
        return Verdict.AGAIN
    if status in (UNAUTHORIZED, FORBIDDEN, NOT_FOUND) or 300 <= status < 400:
        return Verdict.MISCONFIGURED
    return Verdict.REFUSED


def entry_outcome(
    service: str, code: str, message: str | None, sender_fault: bool = True
) -> Outcome:
    """What became of one failed entry of an answer; not all services say whose fault it is."""
    code = bare(code)
    text = f"{service} refused the message: {code or 'no code'}"
    if message:
        text += f": {said(message)}"
    if code in MISCONFIGURED or code in EXPIRED:
        return Misconfigured(text)
    if sender_fault and code in INVALID:
        return Permanent(text)
    return Retry(text)
