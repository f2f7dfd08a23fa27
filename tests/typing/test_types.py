"""Users' programs are checked by mypy as strictly as it can: right ones pass, wrong ones do not."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
IGNORE = re.compile(r"  # type: ignore\[([\w-]+)\]$", re.MULTILINE)


def test_right_uses_pass_and_each_wrong_one_is_found(tmp_path: Path) -> None:
    text = (HERE / "wrong.py").read_text(encoding="utf-8")
    (tmp_path / "wrong.py").write_text(IGNORE.sub("", text), encoding="utf-8")
    marked = [
        (number, found[1])
        for number, line in enumerate(text.splitlines(), 1)
        if (found := IGNORE.search(line))
    ]
    assert len(marked) >= 5
    files = [str(HERE / "right.py"), str(tmp_path / "wrong.py")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-pretty", *files],
        cwd=ROOT, capture_output=True, text=True, timeout=110,
    )  # fmt: skip
    errors = re.findall(r"^(.*?):(\d+): error: .*\[([\w-]+)\]$", done.stdout, re.MULTILINE)
    assert [(int(line), code) for _, line, code in errors] == marked, done.stdout + done.stderr
    assert {Path(file).name for file, _, _ in errors} == {"wrong.py"}
