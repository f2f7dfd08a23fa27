"""How long something took or is ago, for people."""

from __future__ import annotations


def in_words(seconds: float) -> str:
    """At most two units: `840 ms`, `12 s`, `3 m 20 s`, `2 d 4 h`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    for unit, below, big, small in (
        ("m", "s", 60, 1),
        ("h", "m", 3600, 60),
        ("d", "h", 86400, 3600),
    ):
        if whole < {"m": 3600, "h": 86400, "d": 10**18}[unit] and whole >= big:
            rest = whole % big // small
            return f"{whole // big} {unit} {rest} {below}" if rest else f"{whole // big} {unit}"
    return f"{whole} s"
