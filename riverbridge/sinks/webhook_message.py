"""A message as an HTTP request."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from urllib.parse import quote, unquote, urlsplit

import msgspec

from riverbridge.errors import ConfigurationError
from riverbridge.model.outcome import Permanent
from riverbridge.sinks.base import Message

_VISIBLE = "".join(map(chr, range(0x21, 0x7F)))
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_SECRET = re.compile(r"auth|token|secret|key|pass|cookie|credential|signature", re.IGNORECASE)
_OURS = frozenset(
    {"accept-encoding", "connection", "content-length", "expect", "host", "keep-alive", "te"}
    | {"trailer", "transfer-encoding", "upgrade"}
    | {"webhook-id", "webhook-signature", "webhook-timestamp"}
)


class Origin(msgspec.Struct, frozen=True):
    """Where all requests of a sink go: scheme, host and port."""

    secure: bool
    host: str
    port: int

    @staticmethod
    def of(url: str) -> Origin:
        """Raises ConfigurationError for what is not an http or https URL with a plain host."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError:
            raise ConfigurationError("webhook: the URL has no host and port to read") from None
        if "@" in parts.netloc:
            raise ConfigurationError("webhook: a URL with a user or password is not accepted")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigurationError("webhook: the URL is not an http or https one with a host")
        if not parts.hostname.isascii():
            raise ConfigurationError("webhook: write the URL's host in ASCII (xn--…)")
        secure = parts.scheme == "https"
        return Origin(secure, parts.hostname, port or (443 if secure else 80))

    @property
    def authority(self) -> str:
        """The value of `Host`."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == (443 if self.secure else 80) else f"{host}:{self.port}"


class Request(msgspec.Struct, frozen=True):
    """What is sent, but for what is new in every attempt: `webhook-timestamp` and signature.

    index: of the message, or the first of several. head: what two requests to the same place have
    in common. masks: values of its headers that must not stand in an error, should the receiver
    repeat them. events: the requests that are sent in this one, where it is a batch.
    """

    index: int
    id: str
    head: str
    body: bytes
    masks: tuple[str, ...]
    events: tuple[Request, ...] = ()

    @property
    def indexes(self) -> Sequence[int]:
        """Of all messages that it sends."""
        return [event.index for event in self.events] or [self.index]

    def opening(self) -> str:
        """The head, with what is this request's own."""
        return f"{self.head}content-length: {len(self.body)}\r\nwebhook-id: {self.id}\r\n"


def prepare(index: int, message: Message, origin: Origin) -> Request | Permanent:
    """The request for `message`, or why it can never be one."""
    body = message.body
    if body is None:
        return Permanent("not sent: webhooks have no tombstones (messages without a body)")
    try:
        target = _target(message.destination, origin)
        # Among equal names the last one counts: the user's own comes after the envelope's.
        headers = {"content-type": "application/json", "user-agent": "riverbridge"}
        for name, value in message.headers:
            named, text = _header(name, value)
            headers[named] = text
    except ValueError as error:
        return Permanent(f"not sent: {error}")
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return Request(
        index,
        webhook_id(message.id),
        f"POST {target} HTTP/1.1\r\nHost: {origin.authority}\r\naccept-encoding: identity\r\n"
        f"{lines}",
        body,
        tuple(_masks(message.headers)),
    )


def webhook_id(event_id: str) -> str:
    """The event id, with what a signature's id cannot hold (a full stop) percent-encoded.

    Different ids stay different, and an id without such characters is itself.
    """
    return quote(event_id, _VISIBLE.replace("%", ""), errors="surrogatepass").replace(".", "%2E")


def reserved(name: str) -> bool:
    """Whether a header of this name is ours to set, or steers the connection."""
    return name.lower() in _OURS or name.lower().startswith("proxy-")


def header_problem(name: str) -> str | None:
    """Why no header can have this name; None if one can."""
    if not _TOKEN.match(name):
        return f"{name[:80]!a} is no name of an HTTP header"
    if reserved(name):
        return f"{name.lower()} is set by the sink itself; remove it"
    return None


def _header(name: str, value: str) -> tuple[str, str]:
    """CloudEvents' attributes as their HTTP binding has them; the others as they are."""
    if problem := header_problem(name):
        raise ValueError(f"the header {problem}")
    if _CONTROL.search(value):
        raise ValueError(f"the header {name} holds a control character")
    if name.startswith("ce_"):
        safe = _VISIBLE.replace('"', "").replace("%", "")
        return "ce-" + name[3:], quote(value, safe, errors="surrogatepass")
    return name.lower(), value.strip(" \t")


def _masks(headers: Iterable[tuple[str, str]]) -> Iterator[str]:
    """What a secret header holds, and its last word alone: `Bearer` is no secret."""
    for name, value in headers:
        if _SECRET.search(name):
            yield from (text for text in (value, value.rpartition(" ")[2]) if len(text) >= 4)


def _target(url: str, origin: Origin) -> str:
    """The request line's path and query."""
    if _CONTROL.search(url) or " " in url or "#" in url:
        raise ValueError("the URL holds a space, a control character or a fragment (#)")
    try:
        same = Origin.of(url) == origin
    except ConfigurationError:
        same = False
    if not same:
        raise ValueError(f"the URL does not lead to {origin.authority}, where this sink delivers")
    parts = urlsplit(url)
    if any(unquote(segment) in (".", "..") for segment in parts.path.split("/")):
        raise ValueError("the URL's path holds a segment '.' or '..', which leads elsewhere")
    target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return quote(target, _VISIBLE, errors="surrogatepass")
