"""A process that takes webhooks in, and kills itself where it is told to.

python -m tests.ingest.killed_hooks '{"port": …, "dsn": …, "point": "written", "nth": 3}'
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from datetime import timedelta

from starlette.applications import Starlette

from riverbridge.bridge.intake import Intake, Receiver
from riverbridge.bridge.mapping import Mapper, Plan
from riverbridge.console.hook_protocol import HookProtocol
from riverbridge.console.hooks import Door, Hooks
from riverbridge.console.probes import Server
from riverbridge.sources.webhook import WebhookSource
from riverbridge.sources.webhook_schemes import Standard
from riverbridge.testing.crash import Trap
from tests.support.signed import WHSEC


def main() -> None:
    told = json.loads(sys.argv[1])
    trap = Trap(
        told.get("point", "received"),
        nth=told.get("nth", -1),
        action=lambda: os.kill(os.getpid(), signal.SIGKILL),
    )
    source = WebhookSource()
    receiver = Receiver(
        "shop",
        lambda: trap.around(source.open()),
        Intake(Mapper("shop", Plan(kind="shop", own_ids=True)), remember=timedelta(days=7)),
        connect=trap.connect(told["dsn"]),
    )
    hooks = Hooks({"shop": Door("shop", Standard([WHSEC]), source)}, max_body=1 << 20,
                  memory=64 << 20)  # fmt: skip
    app = Starlette(routes=hooks.routes())
    server = Server(app, host="127.0.0.1", port=told["port"], protocol=HookProtocol)
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=stop.set).start())
    serving = threading.Thread(target=server.run, args=(stop,))
    serving.start()
    receiver.run(stop)
    serving.join()


if __name__ == "__main__":
    main()
