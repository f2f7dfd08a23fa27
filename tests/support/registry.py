"""A schema registry on loopback, with the documented API of Confluent's that clients use."""

from __future__ import annotations

import base64
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self


class Registry:
    """Subjects with versions; ids are the same for equal schemas. `status` answers everything.

    user: `name:password`, which all requests must bring then.
    """

    def __init__(self, user: str | None = None) -> None:
        self.user = user
        self.status: int | None = None
        self.requests: list[str] = []
        self.schemas: list[dict[str, Any]] = []
        self.subjects: dict[str, list[int]] = {}
        registry = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._answer(None)

            def do_POST(self) -> None:
                self._answer(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

            def _answer(self, body: Any) -> None:
                registry.requests.append(f"{self.command} {self.path}")
                status, answer = registry.answer(self.path, self.headers["Authorization"], body)
                text = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/vnd.schemaregistry.v1+json")
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *args: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def register(self, subject: str, type: str, schema: str, serialized: str = "") -> int:
        """A new version of the subject; its schema's id. serialized: a Protobuf descriptor."""
        entry = {"schema": schema, "schemaType": type, "serialized": serialized}
        if entry not in self.schemas:
            self.schemas.append(entry)
        id_ = self.schemas.index(entry) + 1
        self.subjects.setdefault(subject, []).append(id_)
        return id_

    def answer(self, path: str, credentials: str | None, body: Any) -> tuple[int, Any]:
        path, _, query = path.partition("?")
        wanted = self.user and "Basic " + base64.b64encode(self.user.encode()).decode()
        if self.status is not None or (wanted and credentials != wanted):
            status = self.status or 401
            return status, {"error_code": status, "message": "as the test wants it"}
        serialized = "format=serialized" in query
        if found := re.fullmatch(r"/schemas/ids/(\d+)", path):
            return 200, self._schema(int(found[1]), serialized)
        found = re.fullmatch(r"/subjects/([^/]+)(/versions(?:/(latest|\d+))?)?", path)
        if found is None:
            return 404, {"error_code": 404, "message": "HTTP 404 Not Found"}
        subject, versions, version = found.groups()
        if body is not None and versions:
            return 200, {
                "id": self.register(subject, body.get("schemaType", "AVRO"), body["schema"])
            }
        if subject not in self.subjects:
            return 404, {"error_code": 40401, "message": f"Subject '{subject}' not found."}
        ids = self.subjects[subject]
        if body is not None:
            for number, id_ in enumerate(ids, 1):
                if json.loads(self.schemas[id_ - 1]["schema"]) == json.loads(body["schema"]):
                    return 200, self._version(subject, number, serialized)
            return 404, {"error_code": 40403, "message": "Schema not found"}
        number = len(ids) if version == "latest" else int(version)
        return 200, self._version(subject, number, serialized)

    def _version(self, subject: str, number: int, serialized: bool) -> dict[str, Any]:
        id_ = self.subjects[subject][number - 1]
        return {"subject": subject, "version": number, "id": id_} | self._schema(id_, serialized)

    def _schema(self, id_: int, serialized: bool) -> dict[str, Any]:
        entry = self.schemas[id_ - 1]
        text = entry["serialized"] if serialized and entry["serialized"] else entry["schema"]
        return {"schema": text, "schemaType": entry["schemaType"]}
