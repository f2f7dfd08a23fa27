"""River UI's own pages, out of its Go module, in front of another API than its program's."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from starlette.responses import FileResponse, HTMLResponse
from starlette.types import Receive, Scope, Send

from riverbridge.errors import PartMissing
from tests.support.river_ui import SOURCE


def pages() -> Path:
    """Where the module has the built pages. Raises PartMissing."""
    go = shutil.which("go")
    if go is None:
        raise PartMissing("Go is not on the PATH: install 1.25+")
    command = [go, "list", "-m", "-f", "{{.Dir}}", "riverqueue.com/riverui"]
    done = subprocess.run(command, cwd=SOURCE, capture_output=True, text=True, timeout=60)
    found = Path(done.stdout.strip()) / "dist"
    if done.returncode or not (found / "index.html").exists():
        raise PartMissing("River UI's module is not here: run `go mod download` in its folder")
    return found


def front(api: Any) -> Any:
    """The pages at every path but those of `api`, an ASGI application below `/api`."""
    home = pages()
    index = _index(home)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        file = (home / path.lstrip("/")).resolve()
        if path.startswith("/api/"):
            await api(scope, receive, send)
        elif path != "/" and file.is_file() and home.resolve() in file.parents:
            await FileResponse(file)(scope, receive, send)
        else:
            await HTMLResponse(index)(scope, receive, send)

    return app


def _index(home: Path) -> str:
    """The page of all pages, filled in as River UI's program does."""
    main = json.loads((home / ".vite" / "manifest.json").read_text())["src/main.tsx"]
    text = (home / "index.html").read_text(encoding="utf-8")
    text = re.sub(r"\{\{- if \.Dev\}\}.*?\{\{- else \}\}", "", text, flags=re.DOTALL)
    text = text.replace("{{ marshal .Config }}", json.dumps({"apiUrl": "/api", "base": ""}))
    text = text.replace("{{ index $css 0}}", main["css"][0]).replace("{{ $js }}", main["file"])
    return re.sub(r"\{\{.*?\}\}", "", text)
