"""What a receiver can say later about the last batch it was given: which of its jobs arrived.

Kept beside the delivered messages, in the same transaction of the receiver's, as a number and a
text: the number is the batch's, the text a bitmap of the places of its jobs.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable

import msgspec


class Evidence(msgspec.Struct, frozen=True):
    """The last batch that arrived: its number, 0 if there was none, and the places of the jobs."""

    number: int = 0
    places: frozenset[int] = frozenset()


def to_text(places: Iterable[int]) -> str:
    """The bitmap: 10,000 places, the largest batch, are 1668 characters of base64."""
    bits = bytearray()
    for place in places:
        if place >= 8 * len(bits):
            bits.extend(bytes(place // 8 + 1 - len(bits)))
        bits[place // 8] |= 1 << place % 8
    return base64.b64encode(bits).decode()


def from_text(text: str) -> frozenset[int]:
    """The places of a bitmap. Raises ValueError for a text that is none."""
    try:
        bits = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError(f"no bitmap: {text[:40]!a}") from error
    return frozenset(
        8 * index + bit for index, byte in enumerate(bits) for bit in range(8) if byte >> bit & 1
    )
