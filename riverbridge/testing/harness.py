"""What the conformance suite for sinks has to be told of a sink and of the server behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, NamedTuple, NoReturn

from riverbridge.sinks.base import Sink
from riverbridge.testing.proxy import Proxy

Capability = Literal[
    "order",
    "keys",
    "repeated headers",
    "any bytes",
    "tombstones",
    "size limit",
    "destinations",
    "credentials",
    "outage",
    "silence",
]
"""What not every sink and every server has.

order: one call's messages of one key arrive in their order.
keys: receivers see the key.
repeated headers: a name may come twice, and a value may be empty.
any bytes: bodies that are no UTF-8 text, or none at all.
tombstones: a message without a body is told from one with an empty body.
size limit: something is too large; `too_large` says what.
destinations: one can be missing; `misdirected` opens a sink to it.
credentials: the server checks them; `open_with_wrong_secret`.
outage, silence: the server can be gone, and can be mute; `cut`, `hang`, `mend`.
"""


class Received(NamedTuple):
    """A message as a receiver sees it. id: what it deduplicates by."""

    id: str
    body: bytes | None
    key: str | None
    headers: tuple[tuple[str, str], ...]


class SinkHarness(ABC):
    """Opens sinks to one server, and says what that server got. Made anew for each test.

    The server is the real one, or as near to it as can be had; what nobody has received yet is
    not received.
    """

    lacks: ClassVar[Mapping[Capability, str]] = {}
    """The capabilities that this sink or this server is without, each with the reason."""

    deduplicates: ClassVar[bool] = False
    """Whether a message that is sent again is dropped by the server."""

    destination: str = ""
    """Of all messages, where the sink has several: it is there, and nobody else writes to it."""

    secrets: Sequence[str] = ()
    """What no log line, outcome or repr may hold: the right password, and the wrong one."""

    proxy: Proxy | None = None
    """What stands between sink and server, if outages are made by it."""

    @abstractmethod
    def open(self, delivery_timeout: float) -> Sink:
        """A sink to the server. delivery_timeout: seconds, as users set it."""

    @abstractmethod
    def received(self) -> Sequence[Received]:
        """All that came since the harness was made, oldest first. Asked again until it is enough,
        so it need not wait for anything."""

    def open_with_wrong_secret(self, delivery_timeout: float) -> Sink:
        """A sink whose credentials the server refuses."""
        self._missing("open_with_wrong_secret", "credentials")

    def misdirected(self, delivery_timeout: float) -> tuple[Sink, str]:
        """A sink, and the destination of its messages, of which one is not there."""
        self._missing("misdirected", "destinations")

    def too_large(self) -> bytes:
        """The smallest body that is refused for good, whatever it comes with."""
        self._missing("too_large", "size limit")

    def cut(self) -> None:
        """Make the server unreachable: connections end, and new ones are refused."""
        self._through("cut", "outage").set_mode("refuse")

    def hang(self) -> None:
        """Let the server take connections and bytes, and answer nothing any more."""
        self._through("hang", "silence").set_mode("blackhole")

    def mend(self) -> None:
        """End what `cut` or `hang` began; harmless if neither did."""
        if self.proxy is not None:
            self.proxy.set_mode("pass")

    def _through(self, method: str, capability: Capability) -> Proxy:
        if self.proxy is None:
            self._missing(method, capability)
        return self.proxy

    def _missing(self, method: str, capability: Capability) -> NoReturn:
        raise NotImplementedError(
            f"{type(self).__name__}: write {method}(), or say in `lacks` why there is no "
            f"{capability!r}"
        )
