"""Signatures of Standard Webhooks 1.0.0: who receives can tell who sent, and when.

What is sent is signed here; `riverbridge.sources.webhook_schemes` verifies what comes.
"""

from __future__ import annotations

import binascii
import hmac
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence

from riverbridge.errors import ConfigurationError

SYMMETRIC, ASYMMETRIC, PUBLIC = "whsec_", "whsk_", "whpk_"
SHORTEST, LONGEST = 24, 64
"""Bytes of a symmetric secret, by the specification."""
SEED, PAIR = 32, 64
"""Bytes of an ed25519 key: its seed alone, or followed by the public key, which has 32 as well."""

Sign = Callable[[bytes], bytes]


class Signer:
    """Signs with every secret it has, so that a receiver may change to the next one in its time.

    secrets: `whsec_…` (HMAC-SHA256, version v1) or `whsk_…` (ed25519, version v1a, which needs
    `riverbridge[webhooks]`). Raises ConfigurationError, which repeats no part of them.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self._keys: list[tuple[str, Sign]] = []
        for number, secret in enumerate(secrets, 1):
            try:
                self._keys.append(_key(secret))
            except ValueError as error:
                raise ConfigurationError(f"webhook: secret {number}: {error}") from None

    def signatures(self, id_: str, timestamp: int, body: bytes) -> str:
        """The value of `webhook-signature`; empty without secrets.

        id_: must hold no full stop, as that is what separates the signed parts. timestamp: Unix
        seconds of the attempt.
        """
        content = signed_content(id_.encode("ascii"), b"%d" % timestamp, body)
        return " ".join(
            f"{version},{b64encode(sign(content)).decode()}" for version, sign in self._keys
        )


def signed_content(id_: bytes, timestamp: bytes, body: bytes) -> bytes:
    """What is signed: id, timestamp and body, as they are sent."""
    return b"%s.%s.%s" % (id_, timestamp, body)


def read_secret(secret: str, asymmetric: str = ASYMMETRIC) -> tuple[str, bytes]:
    """Its prefix and bytes. Raises ValueError, which repeats no part of it.

    asymmetric: who verifies has the key with the prefix PUBLIC instead.
    """
    prefix = next((p for p in (SYMMETRIC, asymmetric) if secret.startswith(p)), None)
    if prefix is None:
        raise ValueError(
            f"starts with neither {SYMMETRIC} (HMAC-SHA256) nor {asymmetric} (ed25519)"
        )
    try:
        raw = b64decode(secret.removeprefix(prefix), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(f"is not base64 after {prefix}") from None
    if prefix == SYMMETRIC and not SHORTEST <= len(raw) <= LONGEST:
        raise ValueError(f"has {len(raw)} bytes; {SYMMETRIC} takes {SHORTEST} to {LONGEST}")
    if prefix == PUBLIC and len(raw) != SEED:
        raise ValueError(f"has {len(raw)} bytes; {PUBLIC} takes {SEED}")
    if prefix == ASYMMETRIC and len(raw) not in (SEED, PAIR):
        raise ValueError(f"has {len(raw)} bytes; {ASYMMETRIC} takes {SEED}, or {PAIR} as a pair")
    return prefix, raw


def _key(secret: str) -> tuple[str, Sign]:
    prefix, raw = read_secret(secret)
    if prefix == SYMMETRIC:
        return "v1", lambda content: hmac.digest(raw, content, "sha256")
    try:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    except ImportError:
        raise ValueError(
            f"{ASYMMETRIC} needs riverbridge[webhooks], which is not installed"
        ) from None
    key = Ed25519PrivateKey.from_private_bytes(raw[:SEED])
    if len(raw) == PAIR and key.public_key().public_bytes_raw() != raw[SEED:]:
        raise ValueError("its two halves are no pair: a public key that is not the seed's")
    return "v1a", key.sign
