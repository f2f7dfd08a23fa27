"""From a message to an entry of SendMessageBatch, or to the reason why SQS could not take it.

SQS's rules for content (API reference of SendMessage and SendMessageBatch, "message metadata" in
the developer guide) are checked here and not left to the server: a bad entry would otherwise be
found only after a round trip, and emulators do not check all of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

import msgspec

from riverbridge.model.outcome import Permanent
from riverbridge.sinks.base import Message, headers_object

MAX_ATTRIBUTES = 10
OVERFLOW = "headers"
"""The attribute that carries, as one JSON object, the headers that could not be attributes."""
REPLAY = "riverbridge-replay"
"""The header of a replayed message: its number joins the deduplication id, else SQS drops it."""

# Outside XML 1.0's characters.
_ILLEGAL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
# Letters, digits, `_`, `-` and inner single dots; no reserved prefix, however it is spelled.
_NAME = re.compile(r"(?!(?i:aws|amazon)\.)(?=.{1,256}\Z)[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)*\Z")
# Group and deduplication ids: the visible characters of ASCII.
_ID = re.compile(r"[!-~]{1,128}\Z")


class AttributeValue(msgspec.Struct, frozen=True, rename="pascal"):
    """A message attribute of type String."""

    string_value: str
    data_type: str = "String"


class WireEntry(msgspec.Struct, omit_defaults=True, rename="pascal"):
    """One entry as SQS spells it; `id` is only unique within its request."""

    id: str
    message_body: str
    message_attributes: dict[str, AttributeValue] | None = None
    message_group_id: str | None = None
    message_deduplication_id: str | None = None


class Entry(msgspec.Struct):
    """A message ready to be sent. `size` is what SQS counts: body and attributes, in bytes."""

    index: int
    wire: WireEntry
    body: bytes
    size: int

    @property
    def group(self) -> str:
        return self.wire.message_group_id or ""


def prepare(
    index: int, message: Message, *, fifo: bool, fair: bool, limit: int
) -> Entry | Permanent:
    """The entry for `message`, or why it can never be one.

    fifo: the queue is a FIFO queue: the key is the group, the id deduplicates.
    fair: send the key as the group on a standard queue too (fair queues).
    limit: the queue's MaximumMessageSize in bytes.
    """
    try:
        body = _body(message.body)
        attributes, size = _attributes(message.headers)
        size += len(message.body or b"")
        if size > limit:
            raise _Refused(
                f"the message is {size} bytes with its attributes and the queue takes {limit} "
                "(MaximumMessageSize): make the job's args smaller or send a reference"
            )
        wire = WireEntry(str(index), body, attributes)
        if fifo or (fair and message.key is not None):
            wire.message_group_id = _group(message.key)
        if fifo:
            wire.message_deduplication_id = _deduplication(message)
    except _Refused as refused:
        return Permanent(f"not sent to SQS: {refused}")
    return Entry(index, wire, message.body or b"", size)


class _Refused(ValueError):
    """Why a message cannot be an entry."""


def _body(body: bytes | None) -> str:
    if not body:
        what = "a tombstone (no body)" if body is None else "an empty body"
        raise _Refused(f"SQS has no messages with {what}")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise _Refused(
            f"the body is not UTF-8 at byte {error.start}; SQS carries only text: use base64"
        ) from None
    _check(text, "the body")
    return text


def _check(text: str, where: str) -> None:
    bad = _ILLEGAL.search(text)
    if bad:
        raise _Refused(
            f"{where} holds U+{ord(bad.group()):04X} at character {bad.start()}; SQS takes only "
            "tab, LF, CR and the characters from U+0020 but U+D800-DFFF, U+FFFE and U+FFFF"
        )


def _attributes(
    headers: Iterable[tuple[str, str]],
) -> tuple[dict[str, AttributeValue] | None, int]:
    """Headers as attributes, and their size. Empty ones are left out: SQS refuses them."""
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
    if not named:
        return None, 0
    size = 0
    for name, value in named.items():
        _check(value, f"the header {name!r}")
        size += len(name) + len("String") + len(value.encode())
    return {name: AttributeValue(value) for name, value in named.items()}, size


def _overflow(named: dict[str, str], rest: list[tuple[str, str]]) -> None:
    """Keep nine in `named`, `ce_*` and `content-type` first; the others become one JSON object."""
    order = sorted(named, key=lambda name: not (name.startswith("ce_") or name == "content-type"))
    kept = set([name for name in order if name != OVERFLOW][: MAX_ATTRIBUTES - 1])
    rest[:0] = [(name, value) for name, value in named.items() if name not in kept]
    for name in [name for name in named if name not in kept]:
        del named[name]
    try:
        named[OVERFLOW] = msgspec.json.encode(headers_object(rest)).decode()
    except UnicodeEncodeError:
        raise _Refused("a header's name or value holds a lone surrogate") from None


def _group(key: str | None) -> str:
    if key is None:
        raise _Refused("a FIFO queue needs a group and the route gives no key: set its KEY")
    if not _ID.match(key):
        shown = key if len(key) <= 40 else key[:40] + "…"
        raise _Refused(
            f"the key {shown!r} ({len(key)} characters) cannot be a message group: 1 to 128 "
            "letters, digits and ASCII punctuation, no spaces"
        )
    return key


def _deduplication(message: Message) -> str:
    if not message.id:
        raise _Refused("the message has no id, which a FIFO queue deduplicates by")
    replay = next((value for name, value in message.headers if name == REPLAY and value), None)
    wanted = message.id if replay is None else f"{message.id};replay={replay}"
    if _ID.match(wanted):
        return wanted
    return hashlib.sha256(wanted.encode(errors="surrogatepass")).hexdigest()
