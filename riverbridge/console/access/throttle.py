"""What guessing passwords costs: wrong logins are counted, in memory, and too many have to wait.

Counted are those of a name from an address, of an address with any name, and of a name from
anywhere. The last locks nobody out: a name that is guessed at from all over may still be tried from
any address that has not been wrong about it, once.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable

NAME = (10, 30.0)
ADDRESS = (50, 5.0)
NAME_ANYWHERE = (50, 10.0)
"""How many wrong logins are let pass, and after how many seconds there may be one more."""

KEPT = 10_000
"""Addresses, and names of them, that are remembered; those that were wrong last."""

_NAME_MAX = 255


class Throttle:
    """Any thread may call; nobody waits in it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._named = _Failures(*NAME, clock)
        self._addresses = _Failures(*ADDRESS, clock)
        self._names = _Failures(*NAME_ANYWHERE, clock)

    def wait(self, address: str, name: str) -> float:
        """Seconds before this address may try this name; 0 if it may now.

        It does not depend on whether there is such a name.
        """
        name = name[:_NAME_MAX]
        suspected = self._names.wait(name) > 0
        return max(
            self._addresses.wait(address),
            self._named.wait((address, name), 1 if suspected else None),
        )

    def failed(self, address: str, name: str) -> None:
        """It was wrong."""
        name = name[:_NAME_MAX]
        self._named.add((address, name))
        self._addresses.add(address)
        self._names.add(name)


class _Failures:
    """Failures by key, each forgotten after `every` seconds, one after the other."""

    def __init__(self, most: int, every: float, clock: Callable[[], float]) -> None:
        self._most = most
        self._every = every
        self._clock = clock
        self._forgotten: OrderedDict[Hashable, float] = OrderedDict()
        """When all of a key's failures are."""
        self._turn = threading.Lock()

    def wait(self, key: Hashable, most: int | None = None) -> float:
        """Seconds until there are fewer than `most`."""
        allowed = ((self._most if most is None else most) - 1) * self._every
        with self._turn:
            return max(0.0, self._forgotten.get(key, 0.0) - self._clock() - allowed)

    def add(self, key: Hashable) -> None:
        with self._turn:
            now = self._clock()
            self._forgotten[key] = max(now, self._forgotten.get(key, now)) + self._every
            self._forgotten.move_to_end(key)
            if len(self._forgotten) > KEPT:
                self._forgotten.popitem(last=False)
