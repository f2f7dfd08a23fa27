"""Who this process is on the database, and which of its kind died there."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import secrets
import socket
import time

from riverbridge.engine.keeper import SILENCE
from riverbridge.store.database import Connection
from riverbridge.store.processes import ProcessTable

log = logging.getLogger(__name__)

VERSION = importlib.metadata.version("riverbridge")


def client_id(name: str | None) -> str:
    """Unique for each process and never used again, as River asks of client ids; ≤ 100 bytes."""
    host = (name or socket.gethostname()).replace(".", "_")[:60]
    return f"riverbridge_{host}_{int(time.time()):x}_{secrets.token_hex(4)}"


def process_table(schema: str | None, client_id: str) -> ProcessTable:
    """The records of processes, this one's to be written as `client_id`."""
    return ProcessTable(
        schema,
        id=client_id,
        host=socket.gethostname(),
        pid=os.getpid(),
        version=VERSION,
    )


def crashed_before(connection: Connection, processes: ProcessTable, guarded: int) -> list[str]:
    """Records that a clean stop would have removed: their processes died, perhaps of a job."""
    found = [
        record.id
        for record in processes.crashed(connection, SILENCE)
        if record.silent or _gone(record.host, record.pid)
    ]
    if found:
        log.warning(
            "%d process(es) died without signing off; the first %d jobs of each queue and lane "
            "are leased before they are worked, so that one that kills is charged for it",
            len(found),
            guarded,
        )
    return found


def _gone(host: str, pid: int) -> bool:
    """Whether a process of this host is known to be dead. In a container our own pid comes back."""
    if host != socket.gethostname():
        return False
    if pid == os.getpid():
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False
