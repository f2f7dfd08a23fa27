"""What makes a request AWS's: credentials, found and signed with by botocore."""

from __future__ import annotations

import hashlib
import http.client
import threading
from collections.abc import Mapping
from typing import Protocol
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from botocore.exceptions import BotoCoreError
from botocore.session import Session


class NoCredentials(Exception):
    """The credential chain gave nothing to sign with."""


class SupportsFreezing(Protocol):
    """What `botocore.credentials.Credentials` and its kinds can do."""

    def get_frozen_credentials(self) -> ReadOnlyCredentials: ...


class Signer:
    """Headers for a request, signed with the credentials of this moment."""

    def __init__(
        self,
        session: Session,
        url: str,
        region: str,
        service: str,
        given: SupportsFreezing | None = None,
    ) -> None:
        """service: the name that signatures are for, as `sqs` or `events`."""
        self._session = session
        self._url = url
        self._host = urlsplit(url).netloc
        self._region = region
        self._service = service
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

    def sign(
        self, headers: Mapping[str, str], body: bytes, using: ReadOnlyCredentials
    ) -> dict[str, str]:
        """`headers`, signed. Raises NoCredentials for credentials with a line break in them."""
        request = AWSRequest(
            method="POST",
            url=self._url,
            headers={"Host": self._host, **headers},
            data=body,
        )
        _Auth(using, self._service, self._region).add_auth(request)
        signed = dict(request.headers.items())
        if any("\n" in value or "\r" in value for value in signed.values()):
            raise NoCredentials("the AWS credentials hold a line break: remove it")
        return signed


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
