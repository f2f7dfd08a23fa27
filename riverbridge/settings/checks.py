"""What text must look like where River, Postgres or a server has a rule for it."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

# River's own expressions (contract 8.3); the queue's is written without its nested repetition,
# which takes exponential time and accepts the same names.
_QUEUE = re.compile(r"[a-z0-9]+(?:[_|\-][a-z0-9]+)*", re.ASCII)
_QUEUE_GLOB = re.compile(r"[a-z0-9_|\-*]+", re.ASCII)
_NAME = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+)*", re.ASCII)
_SERVER = re.compile(r"(?:\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.\-]+)(?::[0-9]{1,5})?", re.ASCII)
_HOST = re.compile(r"[A-Za-z0-9_.\-]+", re.ASCII)
# Addresses that take a port from others too; localhost is another spelling of some.
WIDE = frozenset({"0.0.0.0", "::", "localhost"})  # noqa: S104
_TOPIC = re.compile(r"[A-Za-z0-9._\-]+", re.ASCII)


def queue_name(text: str) -> None:
    """River's rule for queues (contract 8.3)."""
    if not _QUEUE.fullmatch(text):
        raise ValueError(
            "is no queue name: lower-case letters and digits, single '_', '-' or '|' between them"
        )


def queue_glob(text: str) -> None:
    """A queue's name, or a glob over them: `*` is any run of characters."""
    if "*" not in text:
        queue_name(text)
    elif not _QUEUE_GLOB.fullmatch(text):
        raise ValueError(
            "matches no queue: lower-case letters and digits, '_', '-' or '|', and '*' for any "
            "run of characters"
        )


def own_name(text: str) -> None:
    """The rule for the names users give to sinks, routes and sources."""
    if not _NAME.fullmatch(text):
        raise ValueError("is no name: lower-case letters and digits, single '_' between them")


def topic_name(text: str) -> None:
    """Kafka's rule for topics."""
    if not _TOPIC.fullmatch(text) or text in (".", ".."):
        raise ValueError("is no topic name: letters, digits, '.', '_' and '-'")


def servers(text: str) -> None:
    """Kafka's bootstrap servers."""
    if not all(_SERVER.fullmatch(server.strip()) for server in text.split(",")):
        raise ValueError("must be host:port, several separated by commas")


def host(text: str) -> None:
    """A name or an address to listen on."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        if not _HOST.fullmatch(text):
            raise ValueError("is neither a host name nor an IP address") from None


def url(text: str) -> None:
    """An http or https URL without user info."""
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        good = False
    if not good:
        raise ValueError("must be a URL that starts with https:// (or http://) and names a host")
    if "@" in parts.netloc:
        raise ValueError("must not hold a user or password; AWS credentials come from their chain")
    if re.search(r"\s", text):
        raise ValueError("must be a URL without spaces")


def is_loopback(name: str) -> bool:
    """Whether a host is this machine only. Names other than localhost are not looked up."""
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name.lower() == "localhost"
