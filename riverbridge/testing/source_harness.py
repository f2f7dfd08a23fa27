"""What the conformance suite for sources has to be told of a source and of the server behind it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from riverbridge.sources.base import Source


class SourceHarness(ABC):
    """Opens sources that read from one place, as successive processes would. Made for each test.

    dsn: a database of the test's own with River's tables and ours.
    remembers: whether the inbox is used, as it is wherever the position is not stored.
    """

    dsn: str
    remembers: bool = True

    @abstractmethod
    def open(self) -> Source:
        """The source, as a new process would open it after the last one ended or was killed."""

    @abstractmethod
    def send(self, bodies: Sequence[bytes]) -> None:
        """Let these events happen, in their order where the source has one; they are there on
        return."""

    def carries(self, body: bytes) -> bool:
        """Whether the server takes an event with such a body at all."""
        return True

    def send_again(self, bodies: Sequence[bytes]) -> bool:
        """Have the server deliver these events, which were sent and acknowledged, once more, as
        the same. False where the server cannot be made to."""
        return False
