"""Webhooks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr

from riverbridge.settings import checks
from riverbridge.settings.parts import Boolean
from riverbridge.settings.secrets import MASK
from riverbridge.settings.sinks.base import Found, SinkSettings, unencrypted
from riverbridge.settings.sinks.large import Way
from riverbridge.settings.values import Names, Rule, Text, Whole
from riverbridge.sinks.base import Sink
from riverbridge.sinks.webhook_message import header_problem
from riverbridge.sinks.webhook_sign import ASYMMETRIC, read_secret

_ORIGIN = re.compile(r"https?://[^/?#{}]+(?=[/?#]|\Z)", re.IGNORECASE)
_FIELD = re.compile(r"\{[^{}]*\}")


def _url(text: str) -> None:
    """An http or https URL; fields of the job only after the host."""
    origin = _ORIGIN.match(text)
    if origin is None:
        raise ValueError(
            "must start with https:// (or http://) and a host without fields of the job, which "
            "may stand only in the path and the query"
        )
    if "@" in origin.group():
        raise ValueError("must not hold a user or password; send a header, such as Authorization")
    rest = _FIELD.sub("x", text[origin.end() :])
    if re.search("[#{}]", rest):
        raise ValueError("must not hold a fragment (#) or a brace that is no field of the job")
    checks.url(origin.group() + rest)
    if not origin.group().isascii():
        raise ValueError("its host must be written in ASCII (xn--…)")


@dataclass(frozen=True)
class Secrets(Rule):
    """A list of signing secrets, as `Names`, each kept as a secret."""

    kind = "list (secret)"
    limits = "24 to 64 bytes each"

    def parse(self, value: object) -> tuple[SecretStr, ...]:
        items = Names(Text(256, _secret), "secrets").parse(value)
        return tuple(map(SecretStr, items))

    def show(self, value: Any) -> str:
        return ",".join(MASK for _ in value)


def _secret(text: str) -> None:
    read_secret(text)


class WebhookSink(SinkSettings):
    """Deliver to an HTTP endpoint, as Standard Webhooks and CloudEvents say how."""

    title: ClassVar[str] = "Webhook sinks"
    way: ClassVar[Way | None] = "bytes"

    type: Literal["webhook"] = Field(description="Selects this kind of sink.", examples=["webhook"])
    url: Annotated[str, Text(2048, _url, "template")] = Field(
        description="Where to; path and query may use the job, whose values are percent-encoded.",
        examples=["https://hooks.example.com/orders"],
    )
    secrets: Annotated[tuple[SecretStr, ...], Secrets()] = Field(
        (),
        description="What to sign with, all of them: `whsec_…` (HMAC-SHA256), or `whsk_…` "
        "(ed25519; needs `riverbridge[webhooks]`). Without, nothing is signed.",
        examples=["whsec_…"],
    )
    threads: Annotated[int, Whole(1, 256)] = Field(
        16, description="How many requests are under way at once."
    )
    batch_size: Annotated[int, Whole(1, 1000)] = Field(
        1,
        description="The most events in one request; from 2 on they go as CloudEvents batches, "
        "which need ENVELOPE=cloudevents-structured.",
    )
    allow_private: Boolean = Field(
        False, description="Deliver to private networks and this machine too."
    )
    ca_file: Annotated[str | None, Text(4096)] = Field(
        None,
        description="Certificate authorities to trust instead of the system's, a PEM file.",
        examples=["/etc/ssl/internal.pem"],
    )

    @property
    def destination(self) -> tuple[str, str]:
        return "url", self.url

    @property
    def escape(self) -> Callable[[str], str] | None:
        return lambda value: quote(value, safe="", errors="surrogatepass")

    def problems(self) -> Iterable[Found]:
        if self.batch_size > 1:
            if self.envelope != "cloudevents-structured":
                text = f"{self.envelope} cannot be sent in batches (BATCH_SIZE={self.batch_size})"
                yield "envelope", f"{text}; set cloudevents-structured, or unset BATCH_SIZE"
            if self.large.policy == "compress":
                text = f"compress does not go together with BATCH_SIZE={self.batch_size}"
                yield "large.policy", f"{text}; use claim-check, or unset one of them"
        for name in self.headers:
            if problem := header_problem(name):
                yield "headers", problem
        if not self.allow_private and checks.is_loopback(_host(self.url)):
            yield "url", "is on this machine, where webhooks go only with ALLOW_PRIVATE=true"
        asymmetric = any(s.get_secret_value().startswith(ASYMMETRIC) for s in self.secrets)
        if asymmetric and find_spec("cryptography") is None:
            yield "secrets", f"{ASYMMETRIC} needs riverbridge[webhooks], which is not installed"

    def insecurities(self) -> Iterable[Found]:
        return unencrypted("url", _origin(self.url))

    def open(self, name: str, receipts: bool = False) -> Sink:
        from riverbridge.sinks.webhook import WebhookSink as Webhook

        return Webhook(
            url=_origin(self.url),
            fixed="{" not in self.url,
            secrets=[secret.get_secret_value() for secret in self.secrets],
            delivery_timeout=self.delivery_timeout,
            threads=self.threads,
            allow_private=self.allow_private,
            ca_file=self.ca_file,
            batch_size=self.batch_size,
        )


def _origin(url: str) -> str:
    found = _ORIGIN.match(url)
    assert found  # `_url` has seen it
    return found.group()


def _host(url: str) -> str:
    return urlsplit(_origin(url)).hostname or ""
