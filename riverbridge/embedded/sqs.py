"""SQS, SNS, EventBridge, Kinesis and S3 on loopback: ministack, in an environment of its own.

It needs one exact botocore, so it cannot be installed next to riverbridge.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Mapping
from functools import cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING

import boto3

from riverbridge.embedded.cache import cache_home
from riverbridge.embedded.process import LOOPBACK, ChildProcess, plain_environment
from riverbridge.embedded.server import Throwaway
from riverbridge.errors import PartMissing

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient

REGION = "us-east-1"
_LOCK = "ministack.txt"
_HOW = (
    "To get it: python -m venv ENV; ENV/bin/pip install ministack; "
    "then set RIVERBRIDGE_MINISTACK_BIN to ENV/bin/ministack"
)


def find_ministack() -> list[str]:
    """The command that starts ministack.

    Looked for in this order: RIVERBRIDGE_MINISTACK_BIN, PATH, and an environment in the user's
    cache directory, which is made on first use (46 MB from the package index, a few seconds).
    Raises PartMissing if none is there and none can be made.
    """
    given = os.environ.get("RIVERBRIDGE_MINISTACK_BIN")
    if given:
        if not os.access(given, os.X_OK):
            raise PartMissing(f"RIVERBRIDGE_MINISTACK_BIN: {given} is not a program. {_HOW}")
        return [given]
    on_path = shutil.which("ministack")
    if on_path:
        return [on_path]
    return [str(_own_environment() / "bin" / "python"), "-m", "ministack"]


def _lock_text() -> str:
    return files(__package__).joinpath(_LOCK).read_text(encoding="utf-8")


@cache
def locked_version() -> str:
    """The version of ministack that find_ministack installs."""
    match = re.search(r"^ministack==(\S+)", _lock_text(), re.MULTILINE)
    if match is None:
        raise PartMissing(f"riverbridge/embedded/{_LOCK} does not name ministack")
    return match[1]


def _own_environment() -> Path:
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    home = cache_home() / f"ministack-{locked_version()}-py{python}"
    if (home / "bin" / "python").exists():
        return home
    print(f"riverbridge: installing ministack {locked_version()} (SQS) in {home}", file=sys.stderr)
    try:
        home.parent.mkdir(parents=True, exist_ok=True)
        # Made aside and renamed: several processes may do this at once, and one cut short leaves
        # nothing that looks complete. Scripts hold the old path, hence `python -m` above.
        with tempfile.TemporaryDirectory(prefix="making-", dir=home.parent) as scratch:
            made = Path(scratch) / "env"
            _install(made)
            try:
                made.rename(home)
            except OSError:
                if not (home / "bin" / "python").exists():
                    raise
    except OSError as error:
        raise PartMissing(
            f"ministack (SQS) cannot be installed in {home}: {error}. {_HOW}"
        ) from error
    return home


def _install(environment: Path) -> None:
    with as_file(files(__package__).joinpath(_LOCK)) as lock:
        pip: list[str | Path] = [
            environment / "bin" / "python",
            "-m",
            "pip",
            "--disable-pip-version-check",
        ]
        commands: tuple[list[str | Path], ...] = (
            [sys.executable, "-m", "venv", environment],
            [*pip, "install", "--quiet", "--no-deps", "--require-hashes", "-r", lock],
        )
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, timeout=600)
            if done.returncode != 0:
                end = (done.stderr or done.stdout).strip()[-1000:]
                raise PartMissing(f"ministack (SQS) cannot be installed: {end}\n{_HOW}")


class SqsServer(Throwaway):
    """An SQS server: `with SqsServer() as server: server.client().list_queues()`.

    The port, once taken, stays over restarts; queues and messages do not.
    Raises PartMissing if ministack cannot be had, ServerFailed if it does not come up.
    """

    flavour = "ministack"
    noun = "SQS server"
    prefix = "riverbridge-sqs-"
    patience = 30.0

    def __init__(self, *, port: int = 0) -> None:
        self._command = find_ministack()
        self.version = locked_version()
        super().__init__(port)
        self._client: SQSClient | None = None

    @property
    def endpoint_url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def _launch(self, directory: Path, within: float) -> None:
        environment = plain_environment(
            HOME=str(directory), TMPDIR=str(directory), S3_DATA_DIR=str(directory / "s3"),
            BIND_HOST=LOOPBACK, MINISTACK_HOST=LOOPBACK, GATEWAY_PORT=str(self.port),
            MINISTACK_REGION=REGION, SERVICES="sqs,sns,events,kinesis,s3", LOG_LEVEL="WARNING",
        )  # fmt: skip
        child = ChildProcess(
            self._command, log=directory / "sqs.log", cwd=directory, env=environment,
            scratch=[directory],
        )  # fmt: skip
        child.start(self._is_healthy, within)
        self._child = child

    def _is_healthy(self) -> bool:
        try:
            return self._control("health", "GET") == 200
        except OSError:
            return False

    def _control(self, what: str, method: str) -> int:
        request = urllib.request.Request(  # noqa: S310 - the address is ours
            f"{self.endpoint_url}/_ministack/{what}", method=method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=5) as reply:
            return int(reply.status)

    def stop(self) -> None:
        """End it, with all its queues."""
        client, self._client = self._client, None
        if client is not None:
            client.close()
        super().stop()

    def reset(self) -> None:
        """Delete every queue and message."""
        self._running()
        self._control("reset", "POST")

    def client(self) -> SQSClient:
        """A boto3 client for this server; the same one on each call, closed by stop."""
        self._running()
        if self._client is None:
            self._client = boto3.client(
                "sqs", endpoint_url=self.endpoint_url, region_name=REGION,
                aws_access_key_id="test", aws_secret_access_key="test",  # noqa: S106
            )  # fmt: skip
        return self._client

    def create_queue(
        self, name: str, fifo: bool = False, attributes: Mapping[str, str] | None = None
    ) -> str:
        """Create queue `name` and return its URL; the name of a FIFO queue gets `.fifo`."""
        wanted = dict(attributes or {})
        if fifo:
            wanted["FifoQueue"] = "true"
            name = name if name.endswith(".fifo") else f"{name}.fifo"
        created = self.client().create_queue(QueueName=name, Attributes=wanted)  # type: ignore[arg-type]
        return created["QueueUrl"]
