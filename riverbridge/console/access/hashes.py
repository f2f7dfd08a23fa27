"""Passwords and tokens, of which only hashes are kept.

A password is hashed by scrypt, which costs whoever guesses. A token is 32 random bytes that nobody
guesses, so one round of SHA-256 is enough, and each request can afford it.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import NamedTuple

COST, BLOCK, LANES = 15, 8, 1
"""scrypt: 2**15 rounds in 32 MiB, about a tenth of a second."""

_COST_MOST = 18
_MEMORY = 512 << 20
PASSWORD_MOST = 1024
TOKEN_PREFIX = "rb_"  # noqa: S105 - what tokens begin with, so that scanners find leaked ones


class PasswordHash(NamedTuple):
    """As in `scrypt:15:8:1:SALT:HASH`."""

    cost: int
    block: int
    lanes: int
    salt: bytes
    digest: bytes

    @classmethod
    def parse(cls, text: str) -> PasswordHash:
        """Raises ValueError, without a part of `text`."""
        parts = text.split(":")
        problem = (
            "is no hash of a password: make one with `riverbridge console --hash-password` "
            "(scrypt:15:8:1:SALT:HASH)"
        )
        if len(parts) != 6 or parts[0] != "scrypt":
            raise ValueError(problem)
        try:
            cost, block, lanes = (int(part) for part in parts[1:4])
            salt, digest = _bytes(parts[4]), _bytes(parts[5])
        except ValueError:
            raise ValueError(problem) from None
        if not (14 <= cost <= _COST_MOST and 8 <= block <= 32 and 1 <= lanes <= 4):
            raise ValueError(f"{problem}; the cost is from 14 to {_COST_MOST}")
        if len(salt) < 8 or len(digest) < 16:
            raise ValueError(problem)
        return cls(cost, block, lanes, salt, digest)

    @classmethod
    def of(cls, password: str) -> PasswordHash:
        """A new hash with a salt of its own."""
        made = cls(COST, BLOCK, LANES, secrets.token_bytes(16), b"")
        return made._replace(digest=made._derived(password, 32))

    def __str__(self) -> str:
        texts = [base64.urlsafe_b64encode(part).decode() for part in (self.salt, self.digest)]
        return ":".join(["scrypt", str(self.cost), str(self.block), str(self.lanes), *texts])

    def matches(self, password: str) -> bool:
        """Whether this is the password; takes the same time for every wrong one."""
        return hmac.compare_digest(self._derived(password, len(self.digest)), self.digest)

    def _derived(self, password: str, length: int) -> bytes:
        return hashlib.scrypt(
            password.encode("utf-8", "surrogatepass")[:PASSWORD_MOST],
            salt=self.salt,
            n=1 << self.cost,
            r=self.block,
            p=self.lanes,
            maxmem=_MEMORY,
            dklen=length,
        )


def new_token() -> str:
    """A token to hand out."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What the settings keep of a token."""
    return f"sha256:{hashlib.sha256(token.encode('utf-8', 'surrogatepass')).hexdigest()}"


def check_token_hash(text: str) -> None:
    """Raises ValueError, without a part of `text`."""
    kind, _, digest = text.partition(":")
    try:
        good = kind == "sha256" and len(bytes.fromhex(digest)) == 32
    except ValueError:
        good = False
    if not good:
        raise ValueError(
            "is no hash of a token: make one with `riverbridge console --new-token` (sha256:HEX)"
        )


def _bytes(text: str) -> bytes:
    return base64.b64decode(text.encode("ascii"), altchars=b"-_", validate=True)
