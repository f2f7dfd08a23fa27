"""Where bodies may be fetched from, as settings name it."""

from __future__ import annotations

from typing import NamedTuple
from urllib.parse import urlsplit


class Place(NamedTuple):
    """Where bodies may lie: a bucket (host) of S3 or an https server, and how paths begin."""

    scheme: str
    host: str
    port: int
    path: str

    @staticmethod
    def of(text: str) -> Place:
        """`s3://bucket/prefix` or `https://host[:port]/path/`. Raises ValueError."""
        parts = urlsplit(text)
        if parts.scheme not in ("s3", "https") or not parts.hostname:
            raise ValueError("is neither s3://bucket/prefix nor https://host/path/")
        if parts.query or parts.fragment or parts.username is not None:
            raise ValueError("has more than a host and a path")
        if parts.scheme == "s3":
            return Place("s3", parts.netloc, 0, parts.path.removeprefix("/"))
        if parts.path and not parts.path.endswith("/"):
            raise ValueError("has a path that does not end with /, and others begin with it")
        return Place("https", parts.hostname, parts.port or 443, parts.path or "/")
