"""Where the console listens, who may use it, and what it shows."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field, SecretStr

from riverbridge.console.access.hashes import PasswordHash, check_token_hash
from riverbridge.console.redaction import Rule as RedactionRule
from riverbridge.settings.parts import Boolean, Host, Part, Port
from riverbridge.settings.values import Choice, Dsn, Names, Secret, Text

RoleName = Literal["viewer", "operator", "admin"]
Colour = Literal["grey", "red", "orange", "amber", "green", "teal", "blue", "violet"]
COLOURS: tuple[Colour, ...] = (
    "grey", "red", "orange", "amber", "green", "teal", "blue", "violet",
)  # fmt: skip
MAIN = "main"
"""The name of DATABASE_URL's database, in the console's paths."""

_PREFIX = re.compile(r"(?:/[A-Za-z0-9._\-]+)+", re.ASCII)
_HEADER = re.compile(r"[A-Za-z0-9\-]+", re.ASCII)


def _prefix(text: str) -> None:
    if not _PREFIX.fullmatch(text) or "/." in text:
        raise ValueError("is no path: write it as /riverbridge, without a slash at the end")


def _network(text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError:
        raise ValueError("is neither an address nor a network such as 10.1.0.0/16") from None


def _header(text: str) -> None:
    if not _HEADER.fullmatch(text):
        raise ValueError("is no name of a header")


class PasswordRule(Secret):
    """The hash of a password."""

    kind = "hash (secret)"

    def parse(self, value: object) -> SecretStr:
        text = Text(512).parse(value)
        PasswordHash.parse(text)
        return SecretStr(text)


class TokenRule(Secret):
    """The hash of a token."""

    kind = "hash (secret)"

    def parse(self, value: object) -> SecretStr:
        text = Text(512).parse(value)
        check_token_hash(text)
        return SecretStr(text)


class User(Part):
    """Somebody who logs in to the console."""

    role: Annotated[RoleName, Choice("viewer", "operator", "admin")] = Field(
        "viewer",
        description="viewer sees; operator also retries, cancels and pauses; admin also deletes.",
    )
    password: Annotated[SecretStr | None, PasswordRule()] = Field(
        None,
        description="The hash of the password, from `riverbridge console --hash-password`.",
        examples=["scrypt:15:8:1:SALT:HASH"],
    )
    token: Annotated[SecretStr | None, TokenRule()] = Field(
        None,
        description="The hash of a bearer token, from `riverbridge console --new-token`.",
        examples=["sha256:HEX"],
    )
    next_token: Annotated[SecretStr | None, TokenRule()] = Field(
        None, description="The hash of another token that is good too, while it takes over."
    )


class HttpProxy(Part):
    """A proxy before the console that logs people in, by OIDC for example."""

    addresses: Annotated[tuple[str, ...], Names(Text(64, _network), "networks")] = Field(
        (), description="The proxy's own addresses; from others it is not believed.",
        examples=["10.1.0.0/16"],
    )  # fmt: skip
    secret: Annotated[SecretStr | None, Secret()] = Field(
        None,
        description="What the proxy sends in `X-Riverbridge-Proxy-Secret`: 24 characters or more.",
    )
    user_header: Annotated[str, Text(64, _header)] = Field(
        "X-Auth-Request-Email", description="The header with the user's name."
    )
    groups_header: Annotated[str, Text(64, _header)] = Field(
        "X-Auth-Request-Groups", description="The header with the user's groups, comma-separated."
    )
    viewers: Annotated[tuple[str, ...], Names(Text(255), "users")] = Field(
        (),
        description="Who may see: whole names, and groups with @ before them.",
        examples=["@staff"],
    )
    operators: Annotated[tuple[str, ...], Names(Text(255), "users")] = Field(
        (), description="Who may also retry, cancel and pause."
    )
    admins: Annotated[tuple[str, ...], Names(Text(255), "users")] = Field(
        (), description="Who may also delete."
    )

    @property
    def is_given(self) -> bool:
        """Whether there is anything of it."""
        return bool(self.addresses or self.secret or self.viewers or self.operators or self.admins)


class ConsoleDatabase(Part):
    """A further database that the console shows."""

    database_url: Annotated[SecretStr, Dsn()] = Field(
        description="The Postgres that holds its River tables.",
        examples=["postgresql://app@other/app"],
    )
    db_schema: Annotated[str | None, Text(46)] = Field(
        None,
        alias="schema",
        description="The schema of its River tables; by default the search path decides.",
    )
    label: Annotated[str | None, Text(64)] = Field(
        None, description="What it is called in the console; by default its name."
    )
    colour: Annotated[Colour, Choice(*COLOURS)] = Field(
        "grey", description="The colour of its label.", examples=["red"]
    )
    read_only: Boolean = Field(False, description="Nothing in it can be changed by the console.")


class Http(Part):
    """Where the console and its API listen."""

    console: Boolean = Field(
        True, description="Whether `riverbridge run` serves the console; false leaves the probes."
    )
    host: Host = Field(
        "127.0.0.1",
        description="Address of the console and API; other than loopback, it needs a login.",
    )
    port: Port = Field(8080, description="Port of the console and API; 0 takes a free one.")
    prefix: Annotated[str | None, Text(255, _prefix)] = Field(
        None, description="The path that a proxy passes on before the console's own.",
        examples=["/riverbridge"],
    )  # fmt: skip
    hosts: Annotated[tuple[str, ...], Names(Text(255), "hosts")] = Field(
        (),
        description="The names the console is served under, if it is not asked for by loopback's.",
        examples=["jobs.example.com"],
    )
    forwarded_by: Annotated[tuple[str, ...], Names(Text(64, _network), "networks")] = Field(
        (),
        description="Proxies whose `X-Forwarded-For` says who asks, where wrong logins are counted "
        "by address.",
        examples=["10.1.0.0/16"],
    )
    label: Annotated[str | None, Text(64)] = Field(
        None, description="What the database of DATABASE_URL is called in the console.",
        examples=["production"],
    )  # fmt: skip
    colour: Annotated[Colour, Choice(*COLOURS)] = Field(
        "grey", description="The colour of that label.", examples=["red"]
    )
    read_only: Boolean = Field(False, description="Nothing can be changed by the console.")
    redact: Annotated[tuple[str, ...], Names(Text(512, RedactionRule.check), "rules")] = Field(
        (),
        description="Values of args that the console does not show, as kind:path; `*` is any kind, "
        "key or element.",
        examples=["payment.*:card.number,*:password"],
    )
    users: Mapping[str, User] = {}
    proxy: HttpProxy = HttpProxy()  # type: ignore[call-arg]
    databases: Mapping[str, ConsoleDatabase] = {}

    @property
    def asks_for_login(self) -> bool:
        """Whether anybody is told from anybody."""
        return bool(self.users) or self.proxy.is_given
