"""Bodies that lie elsewhere, of events that only refer to them: fetched from where it is allowed.

An event may name any place, so only places that an operator has named are asked: buckets of S3, and
paths of https servers, whose addresses are looked at as those of webhooks are. Redirects are not
followed.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Sequence
from http.client import OK
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.exceptions import BotoCoreError, ClientError

from riverbridge.errors import ConfigurationError
from riverbridge.model.text import said
from riverbridge.sinks.aws_errors import Verdict, bare, verdict
from riverbridge.sinks.claims import s3_client
from riverbridge.sinks.kept_connection import reason
from riverbridge.sinks.webhook_address import Forbidden, resolve
from riverbridge.sinks.webhook_http import tls_context
from riverbridge.sources.base import NotNow, NotToBeHad
from riverbridge.sources.places import Place

CONNECTIONS = 8
"""To S3, kept."""
CONNECT_TIMEOUT = 3.0
_PIECE = 1 << 16


class References:
    """Fetches bodies. Safe for threads.

    allowed: places as `Place.of` reads them. limit: bytes of a body. timeout: seconds for one.
    private: whether https servers may have private addresses. ca_file: authorities beside which
    none is trusted, as PEM; else the system's. region, endpoint_url: of S3, as boto3 has them.

    Raises ConfigurationError for values that cannot work.
    """

    def __init__(
        self,
        allowed: Sequence[str],
        *,
        limit: int,
        timeout: float,
        private: bool = False,
        ca_file: str | None = None,
        region: str | None = None,
        endpoint_url: str | None = None,
    ) -> None:
        try:
            self._places = [Place.of(text) for text in allowed]
        except ValueError as error:
            raise ConfigurationError(f"FETCH: a place {error}") from error
        self._limit, self._timeout, self._private = limit, timeout, private
        self._context = tls_context(ca_file)
        self._region, self._endpoint_url = region, endpoint_url
        self._lock = threading.Lock()
        self._s3: Any = None

    def get(self, uri: str) -> bytes:
        """The body at `uri`. Raises NotToBeHad and NotNow, whose texts do not repeat a query."""
        place, rest = self._placed(uri)
        if place.scheme == "s3":
            return self._object(place.host, rest)
        return self._download(place, rest)

    def _placed(self, uri: str) -> tuple[Place, str]:
        """The host of `uri` and what is asked of it, if that is allowed."""
        scheme, _, tail = uri.partition("://")
        if scheme == "s3":
            bucket, _, key = tail.partition("/")
            where, path, rest = ("s3", bucket, 0), key, key
        else:
            where, path, rest = _request(uri)
        for place in self._places:
            if place[:3] == where and path.startswith(place.path):
                return place, rest
        raise NotToBeHad(f"{_shown(uri)} is not among the places of FETCH__FROM")

    def _object(self, bucket: str, key: str) -> bytes:
        with self._lock:
            if self._s3 is None:  # takes a while to make, and many never need it
                self._s3 = s3_client(self._region, self._endpoint_url, self._timeout, CONNECTIONS)
        where = f"s3://{bucket}/{key}"
        try:
            answer = self._s3.get_object(Bucket=bucket, Key=key)
            with answer["Body"] as stream:
                self._check(where, answer["ContentLength"])
                return bytes(stream.read())
        except ClientError as error:
            raise _refused(where, error.response) from error
        except (BotoCoreError, OSError, http.client.HTTPException) as error:
            raise NotNow(f"S3 does not answer: {said(str(error))}") from error

    def _download(self, place: Place, target: str) -> bytes:
        where = f"https://{place.host}{target.partition('?')[0]}"
        deadline = time.monotonic() + self._timeout
        connection = _Checked(place, self._context, self._private, self._timeout)
        try:
            connection.request("GET", target, headers={"User-Agent": "riverbridge"})
            with connection.getresponse() as answer:
                return self._read(where, answer, deadline)
        except Forbidden as error:
            raise NotToBeHad(f"{where}: {error}") from error
        except (OSError, http.client.HTTPException, UnicodeError, ValueError) as error:
            raise NotNow(f"{where}: {reason(error)}") from error
        finally:
            connection.close()

    def _read(self, where: str, answer: http.client.HTTPResponse, deadline: float) -> bytes:
        if answer.status != OK:
            text = f"{where} answered {answer.status}"
            if answer.status in (408, 425, 429) or answer.status >= 500:
                raise NotNow(text)
            raise NotToBeHad(text)
        self._check(where, answer.length or 0)
        data = bytearray()
        while piece := answer.read1(_PIECE):
            data += piece
            self._check(where, len(data))
            if time.monotonic() > deadline:
                raise NotNow(f"{where} took longer than {self._timeout:g} s")
        if answer.length:
            raise NotNow(f"{where} ended in its midst")
        return bytes(data)

    def _check(self, where: str, size: int) -> None:
        if size > self._limit:
            raise NotToBeHad(f"{where} is larger than {self._limit} bytes; raise FETCH__LIMIT")


class _Checked(http.client.HTTPSConnection):
    """Connects to the very address that was looked at, as a name may have another the next time."""

    def __init__(
        self, place: Place, context: ssl.SSLContext, private: bool, timeout: float
    ) -> None:
        super().__init__(place.host, place.port, context=context, timeout=timeout)
        self._place, self._tls, self._private = place, context, private

    def connect(self) -> None:
        addresses = resolve(self._place.host, self._place.port, private=self._private)
        family, where = addresses[0]
        plain = socket.socket(family, socket.SOCK_STREAM)
        try:
            plain.settimeout(min(CONNECT_TIMEOUT, float(self.timeout or CONNECT_TIMEOUT)))
            plain.connect(where)
            self.sock = self._tls.wrap_socket(plain, server_hostname=self._place.host)
            self.sock.settimeout(self.timeout)
        except BaseException:
            plain.close()
            raise


def _request(uri: str) -> tuple[tuple[str, str, int], str, str]:
    """Where an https URI leads: the server, the path that is looked at, and the request's target.

    Raises NotToBeHad for what servers read in more than one way.
    """
    try:
        parts = urlsplit(uri)
        port = parts.port or 443
    except ValueError:
        raise NotToBeHad("the reference is not a URI") from None
    path = parts.path or "/"
    odd = not uri.isascii() or any(c <= " " or c in '\\"<>^`{|}' for c in uri)
    if parts.scheme != "https" or not parts.hostname or parts.username is not None or odd:
        raise NotToBeHad("the reference is neither an s3 nor a plain https URI")
    if any(step in (".", "..") for step in unquote(unquote(path)).replace("\\", "/").split("/")):
        raise NotToBeHad(f"{_shown(uri)} has a path that leads upwards")
    target = f"{path}?{parts.query}" if parts.query else path
    return ("https", parts.hostname, port), path, target


def _shown(uri: str) -> str:
    """A URI for people: without its query, in which a signature may be."""
    return repr(uri.partition("?")[0][:200])


def _refused(where: str, response: Any) -> NotToBeHad | NotNow:
    code = bare(response.get("Error", {}).get("Code", ""))
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 400)
    text = f"{where}: S3 answered {status} {code}"
    if code == "InvalidAccessKeyId" or verdict(status, code) in (Verdict.AGAIN, Verdict.EXPIRED):
        return NotNow(text)
    return NotToBeHad(text)
