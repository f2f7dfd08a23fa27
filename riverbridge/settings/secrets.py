"""What may be shown of a value that holds a secret.

Connection strings are shown from an allow list of parameters, so that a parameter a later libpq
adds is hidden until someone decides otherwise.
"""

from __future__ import annotations

import re
from urllib.parse import quote

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict

MASK = "***"
SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
_PLAIN_PARAMETERS = frozenset(
    [
        "application_name",
        "channel_binding",
        "client_encoding",
        "connect_timeout",
        "gssencmode",
        "hostaddr",
        "keepalives",
        "keepalives_count",
        "keepalives_idle",
        "keepalives_interval",
        "load_balance_hosts",
        "sslmode",
        "sslrootcert",
        "target_session_attrs",
        "tcp_user_timeout",
    ]
)
_SECRET_NAME = re.compile(
    r"pass|secret|credential|token|\.pem\b|jaas|oauthbearer\.config|kinit|private"
    r"|authori[sz]ation|cookie|api.?key|signature",
    re.IGNORECASE,
)
_USER_INFO = re.compile(r"://[^/?#\s]*@")


def secret_name(name: str) -> bool:
    """Whether the value under a property or header of this name is to be hidden."""
    return bool(_SECRET_NAME.search(name))


def mask_pair(name: str, value: str) -> str:
    """`value`, or the mask if `name` says that it is a secret; user info in URLs is masked too."""
    return MASK if secret_name(name) else _USER_INFO.sub(f"://{MASK}@", value)


class Pairs(dict[str, str]):
    """Names and values whose repr hides the secret ones."""

    def __repr__(self) -> str:
        return repr(self.masked())

    def masked(self) -> dict[str, str]:
        """The pairs as they may be shown."""
        return {name: mask_pair(name, value) for name, value in self.items()}

    def secrets(self) -> list[str]:
        """The hidden values."""
        return [value for name, value in self.items() if value and secret_name(name)]


def check_dsn(text: str) -> None:
    """Raise ValueError, without a part of `text`, if libpq could not connect with it."""
    parts = _parse(text)
    if text.startswith(("postgresql://", "postgres://")) and (
        "@" in parts.get("host", "") or "@" in parts.get("dbname", "")
    ):
        raise ValueError(
            "holds an '@' outside of the user's part; "
            "percent-encode '@' (%40), ':' (%3A) and '/' (%2F) in the password"
        )
    if (mode := parts.get("sslmode")) is not None and mode not in SSL_MODES:
        raise ValueError(f"its sslmode is none of {', '.join(SSL_MODES)}")
    for port in filter(None, parts.get("port", "").split(",")):
        if not re.fullmatch(r"[0-9]{1,5}", port) or not 1 <= int(port) <= 65535:
            raise ValueError(
                "its port is not a number from 1 to 65535 "
                "(percent-encode '@', ':' and '/' in the password)"
            )


def mask_dsn(text: str) -> str:
    """`text` as a URI with its secrets masked; only the mask if it cannot be read safely."""
    try:
        check_dsn(text)
    except ValueError:
        return MASK
    parts = _parse(text)
    user = quote(parts.pop("user", ""), safe="")
    if "password" in parts:
        user += f":{MASK}"
        del parts["password"]
    hosts = parts.pop("host", parts.pop("hostaddr", "")).split(",")
    ports = parts.pop("port", "").split(",")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    at = ",".join(
        _host(host) + (f":{port}" if port else "") for host, port in zip(hosts, ports, strict=False)
    )
    database = quote(parts.pop("dbname", ""), safe="")
    rest = "&".join(
        f"{name}={quote(value, safe='') if name in _PLAIN_PARAMETERS else MASK}"
        for name, value in sorted(parts.items())
    )
    return (
        f"postgresql://{user}{'@' if user else ''}{at}"
        f"{'/' + database if database else ''}{'?' + rest if rest else ''}"
    )


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host else quote(host, safe="")


def _parse(text: str) -> dict[str, str]:
    try:
        return {name: str(value) for name, value in conninfo_to_dict(text).items()}
    except (ProgrammingError, UnicodeError):
        # libpq's own message may quote the text, and with it a password.
        raise ValueError(
            "is not a connection string libpq can read; "
            "write it as postgresql://user:password@host:5432/database"
        ) from None
