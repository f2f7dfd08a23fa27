"""Requests as senders sign them, made by their documented recipes and not by our code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping

JSON = {"content-type": "application/json"}
WHSEC = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
SECRET = "a secret of more than 24 bytes"


def standard(
    body: bytes, id_: str, *, secret: str = WHSEC, at: int | None = None
) -> dict[str, str]:
    """Standard Webhooks 1.0.0, v1."""
    at = int(time.time()) if at is None else at
    key = base64.b64decode(secret.removeprefix("whsec_"))
    digest = hmac.new(key, f"{id_}.{at}.".encode() + body, hashlib.sha256).digest()
    return JSON | {
        "webhook-id": id_,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(digest).decode()}",
    }


def github(body: bytes, id_: str, *, secret: str = SECRET, event: str = "push") -> dict[str, str]:
    """docs.github.com, Validating webhook deliveries."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return JSON | {
        "x-github-event": event,
        "x-github-delivery": id_,
        "x-hub-signature-256": f"sha256={digest}",
    }


def stripe(body: bytes, *, secret: str = SECRET, at: int | None = None) -> dict[str, str]:
    """docs.stripe.com/webhooks, Verify webhook signatures manually."""
    at = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return JSON | {"stripe-signature": f"t={at},v1={digest}"}


def slack(body: bytes, *, secret: str = SECRET, at: int | None = None) -> dict[str, str]:
    """api.slack.com/authentication/verifying-requests-from-slack."""
    at = int(time.time()) if at is None else at
    digest = hmac.new(secret.encode(), f"v0:{at}:".encode() + body, hashlib.sha256).hexdigest()
    return JSON | {"x-slack-request-timestamp": str(at), "x-slack-signature": f"v0={digest}"}


def shopify(body: bytes, id_: str, *, secret: str = SECRET) -> dict[str, str]:
    """shopify.dev/docs/apps/build/webhooks/verify-deliveries."""
    digest = hmac.new(secret.encode(), body, hashlib.sha256).digest()
    return JSON | {
        "x-shopify-webhook-id": id_,
        "x-shopify-hmac-sha256": base64.b64encode(digest).decode(),
    }


def raw(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    """Headers as a server has them."""
    return [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]


def number(n: int) -> bytes:
    """The body of the n-th event."""
    return json.dumps({"n": n}).encode()
