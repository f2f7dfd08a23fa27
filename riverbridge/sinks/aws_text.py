"""From a message to text with attributes, or to the reason why SQS or SNS could not take it.

Their rules for content (API reference of SendMessage and SendMessageBatch, of Publish and
PublishBatch; "message metadata" in SQS's developer guide) are checked here and not left to the
server: a bad entry would otherwise be found only after a round trip, and emulators do not check
all of them. SNS takes more than ten attributes, but drops such a message on its way to SQS.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec

from riverbridge.model.outcome import Permanent
from riverbridge.sinks.base import REPLAY, Message, headers_object

MAX_ATTRIBUTES = 10
OVERFLOW = "headers"
"""The attribute that carries, as one JSON object, the headers that could not be attributes."""

PAYLOAD_SIZE = "ExtendedPayloadSize"
"""The attribute by which AWS's extended clients know that the body is a reference."""

# Outside XML 1.0's characters.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# Letters, digits, `_`, `-` and inner single dots; no reserved prefix, however it is spelled.
_NAME = re.compile(r"(?!(?i:aws|amazon)\.)(?=.{1,256}\Z)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\Z")
# Group and deduplication ids: the visible characters of ASCII.
_ID = re.compile(r"[!-~]{1,128}\Z")


class Place(msgspec.Struct, frozen=True):
    """Where messages go, as far as rules and errors differ.

    service, noun: `SQS` and `queue`, as errors name them. fifo: the key is the group, the id
    deduplicates. fair: the key is the group, if there is one.
    """

    service: str
    noun: str
    fifo: bool
    fair: bool = False


class Text(msgspec.Struct, frozen=True):
    """A message as both services take it. `size` is what they count: body and attributes."""

    body: str
    attributes: dict[str, str]
    size: int
    group: str | None = None
    deduplication: str | None = None


def text_of(message: Message, place: Place, limit: int) -> Text | Permanent:
    """`message` in the form of `place`, or why it cannot have it. limit: bytes of a message."""
    try:
        body = _body(message.body)
        attributes, size = _attributes(message.headers)
        size += len(message.body or b"")
        if size > limit:
            raise _Refused(
                f"the message is {size} bytes with its attributes and the {place.noun} takes "
                f"{limit} (MaximumMessageSize): make the job's args smaller or send a reference"
            )
        group = deduplication = None
        if place.fifo or (place.fair and message.key is not None):
            group = _group(message.key, place)
        if place.fifo:
            deduplication = _deduplication(message, place)
    except _Refused as refused:
        return Permanent(f"not sent to {place.service}: {refused}")
    return Text(body, attributes, size, group, deduplication)


class _Refused(ValueError):
    """Why a message cannot be sent."""


def _body(body: bytes | None) -> str:
    if not body:
        what = "a tombstone (no body)" if body is None else "an empty body"
        raise _Refused(f"it has no messages with {what}")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _Refused(
            f"the body is not UTF-8 at byte {error.start}; only text is carried: use base64"
        ) from None
    _check(text, "the body")
    return text


def _check(text: str, where: str) -> None:
    bad = _ILLEGAL.search(text)
    if bad:
        raise _Refused(
            f"{where} holds U+{ord(bad.group()):04X} at character {bad.start()}; allowed are "
            "tab, LF, CR and the characters from U+0020 but U+D800-DFFF, U+FFFE and U+FFFF"
        )


def _attributes(
    headers: Iterable[tuple[str, str]],
) -> tuple[dict[str, str], int]:
    """Headers as attributes, and their size. Empty ones are left out, as AWS refuses them."""
    named: dict[str, str] = {}
    rest: list[tuple[str, str]] = []
    for name, value in headers:
        if not value:
            continue
        if name not in named and _NAME.match(name):
            named[name] = value
        else:
            rest.append((name, value))
    if rest or len(named) > MAX_ATTRIBUTES:
        _overflow(named, rest)
    size = 0
    for name, value in named.items():
        _check(value, f"the header {name!r}")
        size += len(name) + len("String") + len(value.encode())
    return named, size


def _overflow(named: dict[str, str], rest: list[tuple[str, str]]) -> None:
    """Keep nine in `named`, `ce_*` and `content-…` first; the others become one JSON object."""
    order = sorted(named, key=_rank)
    kept = set([name for name in order if name != OVERFLOW][: MAX_ATTRIBUTES - 1])
    rest[:0] = [(name, value) for name, value in named.items() if name not in kept]
    for name in [name for name in named if name not in kept]:
        del named[name]
    try:
        named[OVERFLOW] = msgspec.json.encode(headers_object(rest)).decode()
    except UnicodeEncodeError:
        raise _Refused("a header's name or value holds a lone surrogate") from None


def _rank(name: str) -> int:
    """What receivers need to read a message comes first."""
    return 0 if name == PAYLOAD_SIZE else 1 if name.startswith(("ce_", "content-")) else 2


def data_type(name: str) -> str:
    """The type of the attribute of that name."""
    return "Number" if name == PAYLOAD_SIZE else "String"


def _group(key: str | None, place: Place) -> str:
    if key is None:
        raise _Refused(f"a FIFO {place.noun} needs a group and the route gives no key: set its KEY")
    if not _ID.match(key):
        shown = key if len(key) <= 40 else key[:40] + "…"
        raise _Refused(
            f"the key {shown!r} ({len(key)} characters) cannot be a message group: 1 to 128 "
            "letters, digits and ASCII punctuation, no spaces"
        )
    return key


def _deduplication(message: Message, place: Place) -> str:
    if not message.id:
        raise _Refused(f"the message has no id, which a FIFO {place.noun} deduplicates by")
    # Without the number AWS would take a replay soon after the first delivery for a repeat.
    replay = next((value for name, value in message.headers if name == REPLAY and value), None)
    wanted = message.id if replay is None else f"{message.id};replay={replay}"
    if _ID.match(wanted):
        return wanted
    return hashlib.sha256(wanted.encode(errors="surrogatepass")).hexdigest()
