"""Whom a request comes from, behind proxies too."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from starlette.requests import Request

_PORT = re.compile(r"\[(?P<six>[0-9A-Fa-f:.]+)\](?::[0-9]+)?|(?P<four>[0-9.]+):[0-9]+", re.ASCII)

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def address_of(request: Request, forwarded_by: Sequence[Network]) -> str:
    """Whom a request comes from, as far as it can be known; of IPv6, the network of 64 bits.

    forwarded_by: proxies that are believed what they say in X-Forwarded-For. From its end back, the
    first address that is none of theirs counts: what is before it, anybody can have written.
    """
    peer = request.client.host if request.client else ""
    address = _address(peer)
    said = ",".join(request.headers.getlist("x-forwarded-for")).split(",")
    while address is not None and said and any(address in network for network in forwarded_by):
        further = _address(said.pop())
        if further is None:
            break
        address = further
    if address is None:
        return peer
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def within(request: Request, networks: Sequence[Network]) -> bool:
    """Whether the connection comes from one of them."""
    address = _address(request.client.host if request.client else "")
    return address is not None and any(address in network for network in networks)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    text = text.strip()
    if found := _PORT.fullmatch(text):
        text = found["six"] or found["four"]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address
