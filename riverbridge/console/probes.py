"""Probes: is the process alive, does delivery work, what are the numbers. Names and numbers only.

`/readyz` goes by the progress of each loop, not by the process being there. It is for alerts and
for the standalone deployment: as a sidecar's readinessProbe it would take the application out of
service when a broker is down.
"""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Mapping
from typing import Protocol

import prometheus_client
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from riverbridge.errors import ConfigurationError

SHUTDOWN = 5
"""Seconds that requests may take to be answered at the end; streams would go on for ever."""


class Health(Protocol):
    """What the probes ask of the service."""

    version: str

    def checks(self) -> Mapping[str, str | None]:
        """Each check's name, and what is wrong with it or None."""
        ...

    def notes(self) -> Mapping[str, str]:
        """What is to be known and is not wrong, by a name that need not be a check's."""
        ...


def application(health: Health) -> Starlette:
    """The four probes as an ASGI application."""
    return Starlette(routes=probe_routes(health))


def probe_routes(health: Health) -> list[Route]:
    """The four probes. They ask nobody who they are, under whatever name they are reached."""

    def livez(_: Request) -> Response:
        return PlainTextResponse("ok\n")

    def readyz(request: Request) -> Response:
        checks = health.checks()
        ready = not any(checks.values())
        status = 200 if ready else 503
        if "verbose" not in request.query_params:
            return PlainTextResponse("ok\n" if ready else "not ready\n", status)
        notes = health.notes()
        lines = [
            f"[{'-' if wrong else '+'}] {name} {wrong or notes.get(name, 'ok')}\n"
            for name, wrong in checks.items()
        ]
        lines += [f"[+] {name} {note}\n" for name, note in notes.items() if name not in checks]
        return PlainTextResponse("".join(lines), status)

    def metrics(_: Request) -> Response:
        return Response(
            prometheus_client.generate_latest(), media_type=prometheus_client.CONTENT_TYPE_LATEST
        )

    def version(_: Request) -> Response:
        return JSONResponse({"version": health.version})

    return [
        Route("/livez", livez, methods=["GET"]),
        Route("/readyz", readyz, methods=["GET"]),
        Route("/metrics", metrics, methods=["GET"]),
        Route("/version", version, methods=["GET"]),
    ]


class Server:
    """Serves an application in a thread of its own.

    setting: the variable of its port, for errors. protocol: one that bounds connections by itself;
    by default there are 64 at most. Raises ConfigurationError if the address cannot be listened on.
    """

    def __init__(
        self,
        app: Starlette,
        *,
        host: str,
        port: int,
        setting: str = "RIVERBRIDGE_PROBES__PORT",
        protocol: type[asyncio.Protocol] | None = None,
    ) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
            # From now on, so that who is told the address can ask, and nobody else can have it.
            self._socket.listen(128)
        except OSError as error:
            self._socket.close()
            raise ConfigurationError(
                f"{setting}: cannot listen on {host}:{port} ({error.strerror}); "
                "free it or set another port, 0 for any"
            ) from error
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                server_header=False,
                lifespan="off",
                # Who asks is seen from the connection; what a header says of it anybody can write.
                proxy_headers=False,
                loop="asyncio",
                timeout_keep_alive=5,
                timeout_graceful_shutdown=SHUTDOWN,
                http=protocol or "auto",
                ws="none",
                limit_concurrency=None if protocol else 64,
            )
        )

    def run(self, stop: threading.Event) -> None:
        """For the supervisor: serve until `stop`."""

        def end() -> None:
            stop.wait()
            self._server.should_exit = True

        threading.Thread(target=end, name="http-stop", daemon=True).start()
        self._server.run(sockets=[self._socket])

    def close(self) -> None:
        """Give the address back, should `run` never have come to serve on it."""
        self._socket.close()
