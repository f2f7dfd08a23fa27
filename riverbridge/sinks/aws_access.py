"""Where a service is reached, and what its requests are signed with."""

from __future__ import annotations

import ssl
from typing import TypedDict

from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path
from botocore.session import Session

from riverbridge.errors import ConfigurationError
from riverbridge.sinks.aws_http import Connection, Endpoint
from riverbridge.sinks.aws_signer import Signer, SupportsFreezing


class Reach(TypedDict, total=False):
    """What `Access` is told of how a service is reached; None is as if it were not given.

    region: else the one in the destination's ARN, else the one of the AWS configuration.
    endpoint_url: else the service's own in that region. credentials: else boto3's normal chain,
    asked at every request and gone through again when AWS says they expired.
    """

    region: str | None
    endpoint_url: str | None
    credentials: SupportsFreezing | None


class Access:
    """An endpoint and a signer for it.

    service: as AWS's endpoints and signatures name it. destination: an ARN, or a name, which says
    nothing here.

    Raises ConfigurationError for values that cannot work; nothing is sent.
    """

    def __init__(
        self,
        service: str,
        destination: str | None = None,
        *,
        region: str | None = None,
        endpoint_url: str | None = None,
        credentials: SupportsFreezing | None = None,
    ) -> None:
        session = Session()
        try:
            region = region or region_in(destination) or session.get_config_variable("region")
            if not region:
                raise ConfigurationError(
                    "AWS: no region in the destination, the arguments or AWS_REGION: set REGION"
                )
            self._endpoint = Endpoint.of(endpoint_url or own_endpoint(session, service, region))
            self._context = _tls_context(session) if self._endpoint.secure else None
        except (BotoCoreError, OSError) as error:
            raise ConfigurationError(
                f"AWS: the AWS configuration cannot be used: {error}"
            ) from error
        self.signer = Signer(session, self._endpoint.url, region, service, credentials)

    def connection(self) -> Connection:
        """One that is not open yet."""
        return Connection(self._endpoint, self._context)


def region_in(name: str | None) -> str | None:
    """The region in an ARN; None for a plain name."""
    parts = (name or "").split(":")
    return parts[3] or None if parts[0] == "arn" and len(parts) > 5 else None


def own_endpoint(session: Session, service: str, region: str) -> str:
    """The regional endpoint, in the pattern that SNS, EventBridge and Kinesis all have."""
    partition = session.get_partition_for_region(region)
    suffixes = {
        one["id"]: one["outputs"]["dnsSuffix"]
        for one in session.get_data("partitions")["partitions"]
    }
    return f"https://{service}.{region}.{suffixes[partition]}"


def _tls_context(session: Session) -> ssl.SSLContext:
    """Certificates as boto3 checks them: the configured bundle, else its own."""
    bundle = session.get_config_variable("ca_bundle")
    context = ssl.create_default_context(cafile=bundle or get_cert_path(True))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context
