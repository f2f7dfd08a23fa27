"""Certificates for servers on loopback, made with openssl."""

from __future__ import annotations

import ssl
import subprocess
import warnings
from pathlib import Path


class Authority:
    """A certificate authority that lives as long as its directory; `ca` is the file to trust."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self.ca, self._key = self._make("ca", "CA:TRUE")

    def issue(self, name: str, alternative: str, *, expired: bool = False) -> Path:
        """A PEM file with a new key and its certificate, as Kafka's PEM key store takes it.

        alternative: the subjectAltName, such as `IP:127.0.0.1` or `DNS:kafka.example`.
        expired: it ended a day ago.
        """
        signed = ("-CA", str(self.ca), "-CAkey", str(self._key))
        names = ["-addext", f"subjectAltName={alternative}"]
        if expired:
            # `req` makes none that has ended, and `x509` signs only what was signed by itself.
            names += ["-addext", "authorityKeyIdentifier=none"]
            certificate, key = self._make(name, "CA:FALSE", *names)
            of = ("-in", str(certificate), "-out", str(certificate))
            _openssl("x509", *of, *signed, "-days", "-1")
        else:
            certificate, key = self._make(name, "CA:FALSE", *signed, *names)
        both = self._directory / f"{name}.store.pem"
        both.write_text(key.read_text() + certificate.read_text())
        return both

    def context(
        self, name: str, alternative: str, *, expired: bool = False, old: bool = False
    ) -> ssl.SSLContext:
        """A server's, with such a certificate. old: it speaks TLS 1.0 and 1.1, and no other."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.issue(name, alternative, expired=expired))
        if old:
            context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
                context.minimum_version = ssl.TLSVersion.TLSv1
                context.maximum_version = ssl.TLSVersion.TLSv1_1
        return context

    def _make(self, name: str, constraint: str, *more: str) -> tuple[Path, Path]:
        certificate, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        _openssl(
            "req", "-x509", "-nodes", "-newkey", "ec", "-pkeyopt",
            "ec_paramgen_curve:prime256v1", "-days", "2", "-subj", f"/CN=riverbridge tests {name}",
            "-addext", f"basicConstraints=critical,{constraint}",
            "-keyout", str(key), "-out", str(certificate), *more,
        )  # fmt: skip
        return certificate, key


def _openssl(*arguments: str) -> None:
    command = ["openssl", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, f"openssl: {done.stderr}"
