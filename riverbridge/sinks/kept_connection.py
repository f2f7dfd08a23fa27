"""How a request over a kept connection fails, and what is known of the connection before."""

from __future__ import annotations

import select
import ssl
from typing import Protocol


class NotSent(Exception):
    """Nothing of the request was sent: no address, no connection, no TLS."""


class Refused(NotSent):
    """Nothing was sent, because it must not be: a forbidden address, a bad certificate."""


class Lost(Exception):
    """The request was sent, at least in part, and no whole answer came."""


class _HasFileno(Protocol):
    def fileno(self) -> int: ...


def readable(connection: _HasFileno) -> bool:
    """An idle connection with something to read is one the server has closed, or soon will."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))


_TOO_OLD = {"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "WRONG_SSL_VERSION"}


def no_tls(error: Exception) -> str | None:
    """Why there is no TLS with the server, if that takes somebody to mend; None for a connection
    that merely failed or ended."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if not isinstance(error, ssl.SSLError) or isinstance(
        error, ssl.SSLEOFError | ssl.SSLZeroReturnError
    ):
        return None
    if error.reason in _TOO_OLD:
        return f"it speaks no TLS of version 1.2 or later ({error.reason})"
    return f"no TLS with it: {error.reason}"


def reason(error: BaseException) -> str:
    """What went wrong, in a few words; never empty."""
    if isinstance(error, TimeoutError):
        return "timed out"
    return str(error) or type(error).__name__
