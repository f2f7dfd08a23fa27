"""Which addresses webhooks may go to: by default the public internet only (against SSRF).

What is judged is the address a name resolves to, whatever way it was written; and the connection
is made to that same address, as a name may resolve to another one a moment later.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import Any

Resolved = tuple[socket.AddressFamily, tuple[Any, ...]]
"""A family and what `connect` takes for it."""


def _networks(*texts: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(text) for text in texts)


# From IANA's registries of special-purpose addresses; the standard library's own lists differ from
# one patch release to the next.
_PRIVATE = _networks(
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "::1/128",
    "fc00::/7",
)
_NEVER = _networks(
    "0.0.0.0/8",
    "169.254.0.0/16",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
    "2001::/23",
    "2001:db8::/32",
    "2002::/16",
    "3fff::/20",
    # Metadata and agents of clouds, outside of link-local.
    "100.100.100.200/32",
    "168.63.129.16/32",
    "fd00:ec2::254/128",
)
_GLOBAL_6 = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


class Forbidden(Exception):
    """The host has an address that webhooks do not go to."""


def resolve(host: str, port: int, *, private: bool) -> list[Resolved]:
    """The addresses of `host`, all of them allowed; at least one.

    private: allow private networks and loopback too. Link-local, multicast and reserved addresses
    are never allowed. Raises Forbidden if one address is not: a name that has both kinds is as
    suspect as one that has only the wrong kind. Raises OSError or UnicodeError for names without
    an address. The system's resolver has its own time limits.
    """
    resolved: list[Resolved] = []
    for family, _, _, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        if why := objection(str(address[0]), private=private):
            raise Forbidden(f"{host} has the address {address[0]}, {why}")
        resolved.append((family, address))
    return resolved


def objection(text: str, *, private: bool) -> str | None:
    """Why a webhook does not go to this IP address; None if it may."""
    address = _real(ip_address(text))
    nearby = _in(_PRIVATE, address)
    outside = isinstance(address, IPv6Address) and address not in _GLOBAL_6 and not nearby
    if outside or _in(_NEVER, address):
        return "which is link-local, multicast or reserved, and never a webhook's"
    if nearby and not private:
        return "which is private or loopback; if that is meant, set ALLOW_PRIVATE=true"
    return None


def _in(networks: Iterable[IPv4Network | IPv6Network], address: IPv4Address | IPv6Address) -> bool:
    return any(address in network for network in networks)


def _real(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The IPv4 address behind an IPv6 one that only carries it."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address in _NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address
