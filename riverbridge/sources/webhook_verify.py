"""Whether a request comes from who has the secret, over the bytes of its body as they came.

Why one is refused is for our log alone: who sent it is told only that it was.
"""

from __future__ import annotations

import hmac
import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Literal, Protocol

import msgspec

Algorithm = Literal["sha256", "sha512"]
Encoding = Literal["hex", "base64"]

TOLERANCE = 300.0
"""Seconds that a timestamp may be off, either way; what Standard Webhooks' libraries take."""
MOST_SIGNATURES = 16
"""Signatures of one request that are looked at: a sender has one for each secret in use."""

_TIMESTAMP = re.compile(r"[0-9]{1,12}", re.ASCII)
_ID = re.compile(r"[!-~]{1,255}", re.ASCII)
_SIGNED = re.compile(r"\{(body|timestamp|id)\}")


class Refusal(Exception):
    """A request that nobody with the secret has made like this; the message says why."""


class Verified(msgspec.Struct, frozen=True):
    """What a request is that verifies.

    id: of what it tells about, the same each time it is sent. greeting: it only asks whether
    somebody is there, and this is what it wants to hear; None is an event.
    """

    id: str
    greeting: str | None = None


class Headers:
    """The headers of a request, by names in lower case."""

    def __init__(self, raw: Iterable[tuple[bytes, bytes]]) -> None:
        self.raw = tuple(raw)

    def one(self, name: str) -> str:
        """The value of a header that must be there just once, in ASCII. Raises Refusal."""
        wanted = name.encode()
        values = [value for found, value in self.raw if found == wanted]
        if len(values) != 1:
            raise Refusal(f"{name} is there {len(values)} times, not once")
        try:
            return values[0].decode("ascii")
        except UnicodeDecodeError:
            raise Refusal(f"{name} is not ASCII") from None

    def first(self, name: str) -> bytes:
        """The first value under a name, or nothing."""
        wanted = name.encode()
        return next((value for found, value in self.raw if found == wanted), b"")


class Verifier(Protocol):
    """Verifies the requests of one source."""

    def verify(self, headers: Headers, body: bytes, now: float) -> Verified:
        """What the request is. Raises Refusal. now: Unix seconds."""
        ...


Recognise = Callable[[Headers, bytes], Verified]
"""What a request is, once its signature is known to be good."""


def check_time(text: str, now: float, tolerance: float) -> None:
    """Raise Refusal unless `text` is an instant in Unix seconds, about now."""
    if not _TIMESTAMP.fullmatch(text):
        raise Refusal("its timestamp is not in Unix seconds")
    if abs(off := int(text) - int(now)) > tolerance:
        raise Refusal(f"its timestamp is {off:+d} s off; {tolerance:g} s are tolerated")


def check_match(expected: Sequence[bytes], given: Sequence[bytes]) -> None:
    """Raise Refusal unless one of the given signatures is expected, in a time that tells nothing
    of how much of one was right."""
    found = False
    for signature in given[:MOST_SIGNATURES]:
        for wanted in expected:
            found |= hmac.compare_digest(wanted, signature)
    if not found:
        raise Refusal("its signature is of none of the source's secrets")


def checked_id(text: str) -> str:
    """An id as senders have them. Raises Refusal."""
    if not _ID.fullmatch(text):
        raise Refusal("its id is not 1 to 255 printable characters")
    return text


def by_header(name: str) -> Recognise:
    """Events whose ids are in a header."""
    return lambda headers, _: Verified(checked_id(headers.one(name)))


def by_digest(_: Headers, body: bytes) -> Verified:
    """Events without ids of their own: the same body is the same event."""
    return Verified(f"sha256:{sha256(body).hexdigest()}")


@dataclass(frozen=True, repr=False)
class Hmac:
    """One signature in a header: what most senders have made up for themselves.

    header, timestamp_header, id_header: names in lower case. prefix: what stands before the
    signature there. signed: what is signed, with `{body}`, and `{timestamp}` and `{id}` where their
    headers are given. recognise: by default the event's id is that of the header, or the digest of
    its body. Raises ValueError for a `signed` that cannot work.
    """

    secrets: Sequence[bytes]
    header: str
    algorithm: Algorithm = "sha256"
    encoding: Encoding = "hex"
    prefix: str = ""
    signed: str = "{body}"
    timestamp_header: str | None = None
    id_header: str | None = None
    recognise: Recognise | None = None
    tolerance: float = TOLERANCE

    def __post_init__(self) -> None:
        check_signed(self.signed, timed=bool(self.timestamp_header), named=bool(self.id_header))

    def verify(self, headers: Headers, body: bytes, now: float) -> Verified:
        parts = {"body": body}
        if self.timestamp_header is not None:
            timestamp = headers.one(self.timestamp_header)
            check_time(timestamp, now, self.tolerance)
            parts["timestamp"] = timestamp.encode()
        if self.id_header is not None:
            parts["id"] = checked_id(headers.one(self.id_header)).encode()
        given = headers.one(self.header)
        if not given.startswith(self.prefix):
            raise Refusal(f"{self.header} does not begin with {self.prefix}")
        given = given.removeprefix(self.prefix)
        text = given.lower() if self.encoding == "hex" else given
        content = b"".join(
            parts[piece] if number % 2 else piece.encode()
            for number, piece in enumerate(_SIGNED.split(self.signed))
        )
        check_match(self.expected(content), [text.encode()])
        recognise = self.recognise
        if recognise is None:
            recognise = by_header(self.id_header) if self.id_header else by_digest
        return recognise(headers, body)

    def expected(self, content: bytes) -> list[bytes]:
        """The signature that each secret makes."""
        made = (hmac.digest(secret, content, self.algorithm) for secret in self.secrets)
        if self.encoding == "hex":
            return [digest.hex().encode() for digest in made]
        return [b64encode(digest) for digest in made]


def check_signed(signed: str, *, timed: bool, named: bool) -> None:
    """Raise ValueError unless `signed` can say what is signed.

    timed, named: whether a header with the timestamp is known, and one with the id.
    """
    pieces = _SIGNED.split(signed)
    if any(mark in piece for piece in pieces[::2] for mark in "{}"):
        raise ValueError("knows {body}, {timestamp} and {id} only, and no other brace")
    fields = pieces[1::2]
    if fields.count("body") != 1:
        raise ValueError("must have {body} once: what is not signed may be anybody's")
    if timed != ("timestamp" in fields):
        raise ValueError(
            "has {timestamp}, but no TIMESTAMP_HEADER is set" if not timed else
            "has no {timestamp}: one that is not signed proves nothing; unset TIMESTAMP_HEADER"
        )  # fmt: skip
    if "id" in fields and not named:
        raise ValueError("has {id}, but no ID_HEADER is set")
