"""Signed requests to SQS over kept connections.

boto3 spends about a millisecond of Python on a call; this spends a quarter. What is security comes
from the parts: botocore signs and finds credentials, `ssl` checks certificates. Proxies of the
environment are not used, and redirects are answers like any other, never followed.
"""

from __future__ import annotations

import hashlib
import http.client
import re
import select
import socket
import ssl
import threading
import time
from typing import Protocol
from urllib.parse import urlsplit

import msgspec
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path
from botocore.session import Session

from riverbridge.errors import ConfigurationError

CONNECT_TIMEOUT = 3.0
MAX_IDLE = 15.0
"""Seconds; AWS's front ends drop idle connections, later than this."""
MAX_ANSWER = 4 * 1024 * 1024

_REGION_IN_HOST = (
    re.compile(r"(?:^|\.)sqs(?:-fips)?\.([a-z0-9-]+)\.(?:vpce\.)?(?:amazonaws\.com|api\.aws)"),
    re.compile(r"^([a-z]{2}(?:-[a-z]+)+-\d+)\.queue\.amazonaws\.com"),
)


class NotSent(Exception):
    """Nothing of the request was sent: no address, no connection, no TLS."""


class NotTrusted(NotSent):
    """The server's certificate is not one we trust."""


class Lost(Exception):
    """The request was sent, at least in part, and no whole answer came."""


class NoCredentials(Exception):
    """The credential chain gave nothing to sign with."""


class SupportsFreezing(Protocol):
    """What `botocore.credentials.Credentials` and its kinds can do."""

    def get_frozen_credentials(self) -> ReadOnlyCredentials: ...


class Answer(msgspec.Struct, frozen=True):
    """A whole HTTP answer."""

    status: int
    body: bytes
    query_error: str | None


class Endpoint(msgspec.Struct, frozen=True):
    """Where requests go. Made from an `http(s)://host[:port]` URL; a path is not used."""

    url: str
    secure: bool
    host: str
    port: int

    @staticmethod
    def of(url: str) -> Endpoint:
        """Raises ConfigurationError for what is not an http or https URL with a host."""
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.username is not None:
            raise ConfigurationError("SQS: a URL with a user or password in it is not accepted")
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise ConfigurationError(f"SQS: {url!r} is not an http or https URL with a host")
        secure = parts.scheme == "https"
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        at = f":{port}" if port not in (None, 443 if secure else 80) else ""
        return Endpoint(
            f"{parts.scheme}://{host}{at}/", secure, parts.hostname, port or (443 if secure else 80)
        )


def region_of(queue_url: str) -> str | None:
    """The region in an AWS queue URL's host, if it names one."""
    host = urlsplit(queue_url).hostname or ""
    for pattern in _REGION_IN_HOST:
        found = pattern.search(host)
        if found:
            return found.group(1)
    return "us-east-1" if host == "queue.amazonaws.com" else None


def origin(queue_url: str, region: str | None) -> str:
    """The URL requests for the queue go to. AWS's oldest hosts do not take the JSON protocol."""
    parts = urlsplit(queue_url)
    if region and (parts.hostname or "").endswith("queue.amazonaws.com"):
        return f"https://sqs.{region}.amazonaws.com"
    return f"{parts.scheme}://{parts.netloc}"


class Signer:
    """Headers for a request, signed with the credentials of this moment."""

    def __init__(
        self, session: Session, url: str, region: str, given: SupportsFreezing | None = None
    ) -> None:
        self._session = session
        self._url = url
        self._host = urlsplit(url).netloc
        self._region = region
        self._given = given
        self._found: SupportsFreezing | None = None
        self._lock = threading.Lock()

    def credentials(self) -> ReadOnlyCredentials:
        """Raises NoCredentials; may ask the chain (files, IMDS, STS), with botocore's limits."""
        try:
            source = self._given or self._found or self._find(None)
            return source.get_frozen_credentials()
        except (BotoCoreError, OSError, ValueError) as error:
            raise NoCredentials(f"no AWS credentials: {error}") from error

    def renew(self, used: ReadOnlyCredentials) -> None:
        """Go through the chain again, unless somebody has since `used` was read."""
        if self._given is None and self._found is not None:
            try:
                if self._found.get_frozen_credentials() == used:
                    self._find(self._found)
            except (BotoCoreError, OSError, ValueError, NoCredentials):
                return

    def _find(self, stale: SupportsFreezing | None) -> SupportsFreezing:
        with self._lock:
            if self._found is None or self._found is stale:
                resolver = self._session.get_component("credential_provider")
                self._found = resolver.load_credentials()
            if self._found is None:
                raise NoCredentials(
                    "no AWS credentials in the environment, the profile, the container's role "
                    "or the instance's"
                )
            return self._found

    def sign(self, target: str, body: bytes, using: ReadOnlyCredentials) -> dict[str, str]:
        """The signed headers. Raises NoCredentials for credentials with a line break in them."""
        request = AWSRequest(
            method="POST",
            url=self._url,
            headers={
                "Host": self._host,
                "Content-Type": "application/x-amz-json-1.0",
                "X-Amz-Target": target,
            },
            data=body,
        )
        _Auth(using, "sqs", self._region).add_auth(request)
        headers = dict(request.headers.items())
        if any("\n" in value or "\r" in value for value in headers.values()):
            raise NoCredentials("the AWS credentials hold a line break: remove it")
        return headers


class _Auth(SigV4Auth):  # type: ignore[misc, unused-ignore]
    """For one request whose body is bytes.

    botocore prepares the whole request to hash its body, and gathers the headers twice.
    """

    _gathered: http.client.HTTPMessage | None = None

    def headers_to_sign(self, request: AWSRequest) -> http.client.HTTPMessage:
        if self._gathered is None:
            self._gathered = super().headers_to_sign(request)
        return self._gathered

    def payload(self, request: AWSRequest) -> str:
        return hashlib.sha256(request.data or b"").hexdigest()


def tls_context(session: Session) -> ssl.SSLContext:
    """Certificates as boto3 checks them: the configured bundle, else its own."""
    bundle = session.get_config_variable("ca_bundle")
    context = ssl.create_default_context(cafile=bundle or get_cert_path(True))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class Connection:
    """One kept connection, for one thread; only `abort` may be called by another."""

    def __init__(self, endpoint: Endpoint, context: ssl.SSLContext | None) -> None:
        self._http: http.client.HTTPConnection
        if context is not None:
            self._http = http.client.HTTPSConnection(endpoint.host, endpoint.port, context=context)
        else:
            self._http = http.client.HTTPConnection(endpoint.host, endpoint.port)
        self._used = 0.0

    def post(self, headers: dict[str, str], body: bytes, deadline: float) -> Answer:
        """The answer, whatever its status. Raises NotSent or Lost."""
        self._open(deadline)
        try:
            self._http.send(_head(headers, len(body)) + body)
            response = http.client.HTTPResponse(self._http.sock, method="POST")
            response.begin()
            # Without a number, read() tells an answer that was cut short from a whole one.
            short = response.length is not None and response.length <= MAX_ANSWER
            data = response.read() if short else response.read(MAX_ANSWER + 1)
            if response.will_close:
                self._http.close()
            if len(data) > MAX_ANSWER:
                raise http.client.HTTPException(f"an answer of more than {MAX_ANSWER} bytes")
        except (OSError, http.client.HTTPException, ValueError) as error:
            self._http.close()
            raise Lost(_reason(error)) from error
        self._used = time.monotonic()
        return Answer(response.status, data, response.headers.get("x-amzn-query-error"))

    def _open(self, deadline: float) -> None:
        now = time.monotonic()
        left = max(deadline - now, 0.001)
        sock = self._http.sock
        if sock is not None and (now - self._used > MAX_IDLE or _readable(sock)):
            self._http.close()
        if self._http.sock is None:
            self._http.timeout = min(left, CONNECT_TIMEOUT)
            try:
                self._http.connect()
            except ssl.SSLCertVerificationError as error:
                self._http.close()
                raise NotTrusted(f"the certificate is not trusted: {error.reason}") from error
            except (OSError, UnicodeError) as error:
                self._http.close()
                raise NotSent(_reason(error)) from error
            left = max(deadline - time.monotonic(), 0.001)
        self._http.sock.settimeout(left)

    def abort(self) -> None:
        """End a request in another thread: its `post` raises Lost soon."""
        sock = self._http.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                return

    def close(self) -> None:
        self._http.close()


def _head(headers: dict[str, str], length: int) -> bytes:
    """The request's head; sent in one piece with the body, as each piece is a system call."""
    lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
    return (
        "POST / HTTP/1.1\r\nUser-Agent: riverbridge\r\nAccept-Encoding: identity\r\n"
        f"x-amzn-query-mode: true\r\n{''.join(lines)}Content-Length: {length}\r\n\r\n"
    ).encode("latin-1")


def _readable(sock: socket.socket) -> bool:
    """An idle connection with something to read is one the server has closed, or soon will."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__
