from __future__ import annotations

from collections.abc import Iterator

import pytest

from riverbridge.bench.ground import Ground
from riverbridge.bench.pgbench import find_pgbench
from tests.support.parts import part


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    with part("postgres"):
        ground = Ground()
        find_pgbench(ground.server.bin_dir)
    with ground:
        yield ground
