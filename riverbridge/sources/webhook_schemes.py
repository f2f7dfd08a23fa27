"""How well-known senders sign: Standard Webhooks, GitHub, Stripe, Slack and Shopify."""

from __future__ import annotations

import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from riverbridge.sinks.webhook_sign import PUBLIC, SYMMETRIC, read_secret, signed_content
from riverbridge.sources.webhook_verify import (
    MOST_SIGNATURES,
    TOLERANCE,
    Headers,
    Hmac,
    Refusal,
    Verified,
    Verifier,
    by_digest,
    by_header,
    check_match,
    check_time,
    checked_id,
)

Check = Callable[[bytes, bytes], bool]
"""Whether a signature (in base64) is one of a content."""


class Standard:
    """Standard Webhooks 1.0.0. secrets: `whsec_…` verify signatures v1, `whpk_…` v1a; the latter
    need `riverbridge[webhooks]`. Raises ValueError, which repeats no part of them."""

    def __init__(self, secrets: Sequence[str], tolerance: float = TOLERANCE) -> None:
        self._checks = [_check(*read_secret(secret, PUBLIC)) for secret in secrets]
        self._tolerance = tolerance

    def verify(self, headers: Headers, body: bytes, now: float) -> Verified:
        id_ = checked_id(headers.one("webhook-id"))
        if "." in id_:
            raise Refusal("webhook-id has a full stop, which is what separates the signed parts")
        timestamp = headers.one("webhook-timestamp")
        check_time(timestamp, now, self._tolerance)
        content = signed_content(id_.encode(), timestamp.encode(), body)
        given = [
            signature.partition(",")
            for signature in headers.one("webhook-signature").split(" ")[:MOST_SIGNATURES]
        ]
        found = False
        for version, check in self._checks:
            for name, _, signature in given:
                if name == version:
                    found |= check(signature.encode(), content)
        if not found:
            raise Refusal("webhook-signature is of none of the source's secrets")
        return Verified(id_)


def _check(prefix: str, raw: bytes) -> tuple[str, Check]:
    if prefix == SYMMETRIC:

        def same(signature: bytes, content: bytes) -> bool:
            wanted = b64encode(hmac.digest(raw, content, "sha256"))
            return hmac.compare_digest(wanted, signature)

        return "v1", same
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ImportError:
        raise ValueError(f"{PUBLIC} needs riverbridge[webhooks], which is not installed") from None
    key = Ed25519PublicKey.from_public_bytes(raw)

    def signed(signature: bytes, content: bytes) -> bool:
        try:
            key.verify(b64decode(signature, validate=True), content)
        except (ValueError, InvalidSignature):
            return False
        return True

    return "v1a", signed


class _Said(msgspec.Struct):
    """What bodies say of themselves, where they do."""

    id: object = None
    event_id: object = None
    type: object = None
    challenge: object = None


_said = msgspec.json.Decoder(_Said)


def _read(body: bytes) -> _Said:
    try:
        return _said.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _Said()


def _known_by(value: object, headers: Headers, body: bytes) -> Verified:
    """By an id in the body, or its digest where it has none that can be one."""
    if isinstance(value, str):
        with suppress(Refusal):
            return Verified(checked_id(value))
    return by_digest(headers, body)


class Stripe:
    """`Stripe-Signature`. Events are known by the `id` in their body, which stays the same where
    Stripe sends one again, with another timestamp and signature."""

    def __init__(self, secrets: Sequence[bytes], tolerance: float = TOLERANCE) -> None:
        self._hmac = Hmac(secrets, "stripe-signature")
        self._tolerance = tolerance

    def verify(self, headers: Headers, body: bytes, now: float) -> Verified:
        pairs = [item.partition("=") for item in headers.one("stripe-signature").split(",")]
        timestamps = [value for name, _, value in pairs if name == "t"]
        if len(timestamps) != 1:
            raise Refusal(f"stripe-signature has {len(timestamps)} timestamps, not one")
        check_time(timestamps[0], now, self._tolerance)
        given = [value.encode() for name, _, value in pairs if name == "v1"]
        check_match(self._hmac.expected(b"%s.%s" % (timestamps[0].encode(), body)), given)
        return _known_by(_read(body).id, headers, body)


def github(secrets: Sequence[bytes]) -> Verifier:
    """GitHub, with SHA-256 only. Its `ping` asks whether somebody is there."""
    known = by_header("x-github-delivery")

    def recognise(headers: Headers, body: bytes) -> Verified:
        found = known(headers, body)
        if headers.first("x-github-event") == b"ping":
            return Verified(found.id, "pong")
        return found

    return Hmac(secrets, "x-hub-signature-256", prefix="sha256=", recognise=recognise)


def slack(secrets: Sequence[bytes], tolerance: float = TOLERANCE) -> Verifier:
    """Slack's Events API, and what else it signs. It asks whether somebody is there with
    `url_verification`, and wants its challenge back."""

    def recognise(headers: Headers, body: bytes) -> Verified:
        said = _read(body)
        if said.type == "url_verification" and isinstance(said.challenge, str):
            return Verified("url_verification", said.challenge)
        return _known_by(said.event_id, headers, body)

    return Hmac(
        secrets,
        "x-slack-signature",
        prefix="v0=",
        signed="v0:{timestamp}:{body}",
        timestamp_header="x-slack-request-timestamp",
        recognise=recognise,
        tolerance=tolerance,
    )


def shopify(secrets: Sequence[bytes]) -> Verifier:
    """Shopify."""
    known = by_header("x-shopify-webhook-id")
    return Hmac(secrets, "x-shopify-hmac-sha256", encoding="base64", recognise=known)


class Unsigned:
    """Nothing is verified: for senders on this machine. id_header: as of `Hmac`."""

    def __init__(self, id_header: str | None = None) -> None:
        self._recognise = by_header(id_header) if id_header else by_digest

    def verify(self, headers: Headers, body: bytes, now: float) -> Verified:
        return self._recognise(headers, body)
