"""Webhooks that come in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field, SecretStr

from riverbridge.settings.parts import MINUTE
from riverbridge.settings.secrets import MASK
from riverbridge.settings.sinks.base import Found
from riverbridge.settings.sources.base import SourceSettings
from riverbridge.settings.values import Choice, Names, Rule, Seconds, Text, Whole
from riverbridge.sinks.webhook_sign import PUBLIC, SHORTEST, read_secret
from riverbridge.sources.webhook import WebhookSource as Webhooks
from riverbridge.sources.webhook_verify import (
    TOLERANCE,
    Algorithm,
    Encoding,
    Hmac,
    Verifier,
    check_signed,
)

Scheme = Literal["standard", "github", "stripe", "slack", "shopify", "hmac", "none"]

_OF_HMAC = (
    "signature_header", "algorithm", "encoding", "prefix", "signed", "timestamp_header"
)  # fmt: skip
"""The fields that say how a sender signs which is none of those known by name."""
_UNTIMED = ("github", "shopify")
"""Schemes without a timestamp."""


def _header(text: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9!#$%&'*+.^_`|~\-]+", text, re.ASCII):
        raise ValueError("is no name of a header")


@dataclass(frozen=True)
class Secrets(Rule):
    """A list of secrets, as `Names`, each kept as a secret."""

    kind = "list (secret)"
    limits = f"at least {SHORTEST} bytes each"

    def parse(self, value: object) -> tuple[SecretStr, ...]:
        items = Names(Text(1024, _long_enough), "secrets").parse(value)
        return tuple(map(SecretStr, items))

    def show(self, value: Any) -> str:
        return ",".join(MASK for _ in value)


def _long_enough(text: str) -> None:
    if (size := len(text.encode())) < SHORTEST:
        raise ValueError(f"has {size} bytes; a secret needs at least {SHORTEST}")


Header = Annotated[str | None, Text(255, _header)]


class WebhookSource(SourceSettings):
    """Turn requests to `/hooks/<name>` into jobs."""

    title: ClassVar[str] = "Webhook sources"
    listens: ClassVar[bool] = True
    own_ids: ClassVar[bool] = True

    type: Literal["webhook"] = Field(
        description="Selects this kind of source.", examples=["webhook"]
    )
    verify: Annotated[Scheme, Choice(*get_args(Scheme))] = Field(
        description="How the sender signs: as Standard Webhooks say, as one of those known by "
        "name, or by an HMAC in a header. `none` takes anything, on loopback only.",
        examples=["standard"],
    )
    secrets: Annotated[tuple[SecretStr, ...], Secrets()] = Field(
        (),
        description="What the sender signs with; while it changes, the old and the new. For "
        "`standard` `whsec_…`, or the public key `whpk_…` (needs `riverbridge[webhooks]`).",
        examples=["whsec_…"],
    )
    tolerance: Annotated[float, Seconds(1, 10 * MINUTE)] = Field(
        TOLERANCE,
        description="How far a signed timestamp may be off, into the past and the future.",
    )
    rate: Annotated[int | None, Whole(1, 1_000_000)] = Field(
        None,
        description="The most requests that verify, a second; more are answered with 429. By "
        "default there is no limit.",
        examples=["100"],
    )
    signature_header: Header = Field(
        None, description="For `hmac`: the header with the signature.", examples=["X-Signature"]
    )
    algorithm: Annotated[Algorithm, Choice(*get_args(Algorithm))] = Field(
        "sha256", description="For `hmac`: its hash."
    )
    encoding: Annotated[Encoding, Choice(*get_args(Encoding))] = Field(
        "hex", description="For `hmac`: how the signature is written."
    )
    prefix: Annotated[str | None, Text(64)] = Field(
        None, description="For `hmac`: what stands before the signature.", examples=["sha256="]
    )
    signed: Annotated[str, Text(255)] = Field(
        "{body}",
        description="For `hmac`: what is signed, of `{body}`, `{timestamp}` and `{id}`.",
        examples=["{timestamp}.{body}"],
    )
    timestamp_header: Header = Field(
        None,
        description="For `hmac`: the header with the signed timestamp, in Unix seconds.",
        examples=["X-Timestamp"],
    )
    id_header: Header = Field(
        None,
        description="For `hmac` and `none`: the header with the event's id; by default an event is "
        "known again by the digest of its body.",
        examples=["X-Event-Id"],
    )

    @property
    def wants_loopback(self) -> str | None:
        if self.verify != "none":
            return None
        return "verifies nothing (VERIFY=none); listen on 127.0.0.1, or have it verify"

    def problems(self) -> Iterable[Found]:
        yield from self._misplaced()
        if (self.verify == "none") != (not self.secrets):
            yield (
                "secrets",
                (
                    "not set, and it is required: what the sender signs with"
                    if not self.secrets
                    else "has no effect with VERIFY=none"
                ),
            )
        elif self.verify == "standard":
            yield from self._standard()
        if self.verify == "hmac":
            if self.signature_header is None:
                yield "signature_header", "not set, and VERIFY=hmac requires it"
            try:
                check_signed(
                    self.signed,
                    timed=self.timestamp_header is not None,
                    named=self.id_header is not None,
                )
            except ValueError as error:
                yield "signed", str(error)

    def _misplaced(self) -> Iterable[Found]:
        """What is set and has no effect."""
        fields = [] if self.verify == "hmac" else list(_OF_HMAC)
        if self.verify not in ("hmac", "none"):
            fields.append("id_header")
        untimed = self.verify == "hmac" and self.timestamp_header is None
        if untimed or self.verify in (*_UNTIMED, "none"):
            fields.append("tolerance")
        for name in fields:
            if getattr(self, name) != type(self).model_fields[name].default:
                yield (
                    name,
                    f"has no effect with VERIFY={self.verify}"
                    + (" and no TIMESTAMP_HEADER" if untimed and name == "tolerance" else ""),
                )

    def _standard(self) -> Iterable[Found]:
        for number, secret in enumerate(self.secrets, 1):
            try:
                prefix, _ = read_secret(secret.get_secret_value(), PUBLIC)
            except ValueError as error:
                yield "secrets", f"item {number} of the list: {error}"
                continue
            if prefix == PUBLIC and find_spec("cryptography") is None:
                yield "secrets", f"{PUBLIC} needs riverbridge[webhooks], which is not installed"

    def open(self, name: str) -> Webhooks:
        return Webhooks()

    def verifier(self) -> Verifier:
        """What verifies its requests."""
        from riverbridge.sources import webhook_schemes as schemes

        secrets = [secret.get_secret_value() for secret in self.secrets]
        raw = [secret.encode() for secret in secrets]
        match self.verify:
            case "standard":
                return schemes.Standard(secrets, self.tolerance)
            case "github":
                return schemes.github(raw)
            case "stripe":
                return schemes.Stripe(raw, self.tolerance)
            case "slack":
                return schemes.slack(raw, self.tolerance)
            case "shopify":
                return schemes.shopify(raw)
            case "hmac":
                return self._hmac(raw)
            case "none":
                return schemes.Unsigned(_lower(self.id_header))

    def _hmac(self, secrets: list[bytes]) -> Verifier:
        assert self.signature_header is not None  # `problems` has seen it
        return Hmac(
            secrets,
            self.signature_header.lower(),
            algorithm=self.algorithm,
            encoding=self.encoding,
            prefix=self.prefix or "",
            signed=self.signed,
            timestamp_header=_lower(self.timestamp_header),
            id_header=_lower(self.id_header),
            tolerance=self.tolerance,
        )


def _lower(text: str | None) -> str | None:
    return None if text is None else text.lower()
