"""Java programs that tests stand beside riverbridge: their jars, fetched once with Maven."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from riverbridge.embedded.cache import cache_home
from riverbridge.errors import PartMissing


def fetched(name: str, version: str, pom: Path, *, unpack: bool = False) -> Path:
    """The directory with the jars that `pom` names, fetched on first use.

    name, version: for people. unpack: what it names is an archive with them. Raises PartMissing
    without Java, or where the jars are not there and Maven cannot get them.
    """
    if shutil.which("java") is None:
        raise PartMissing(f"{name} needs Java 17. To get it: apt-get install default-jre")
    cache = cache_home()
    digest = hashlib.sha256(pom.read_bytes()).hexdigest()[:8]
    jars = cache / f"{name.split()[-1].lower()}-{version}-{digest}"
    if jars.exists():
        return jars
    if shutil.which("mvn") is None:
        raise PartMissing(f"{name}'s jars come by Maven. To get it: apt-get install maven")
    print(f"riverbridge tests: fetching {name} {version}", file=sys.stderr)
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="making-", dir=cache) as scratch:
        made = Path(scratch) / "jars"
        goal = "unpack-dependencies" if unpack else "copy-dependencies"
        command = [
            "mvn", "-q", "-B", "-f", str(pom), f"dependency:{goal}",
            f"-DoutputDirectory={made}", "-DincludeScope=runtime",
        ]  # fmt: skip
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode != 0 or not any(made.glob("*.jar")):
            raise PartMissing(f"Maven did not get {name}'s jars: {done.stdout[-1500:]}")
        try:
            made.rename(jars)
        except OSError:
            if not jars.exists():  # else another process was faster
                raise
    return jars


def java(jars: Path, main: str, *arguments: str) -> list[str]:
    """The command that runs a class, or a file of Java source, with these jars."""
    return [
        "java", "-Xms128m", "-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1",
        "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{jars}/*", main, *arguments,
    ]  # fmt: skip
