"""Many senders at once: a connection each, all open before the first sends.

python -m tests.ingest.crowd PORT COUNT [BYTES]: prints how often each status came, until all
had 200.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from collections import Counter

from tests.support.signed import standard

HOST = "127.0.0.1"
AT_ONCE = 200
"""Connections that are being made at the same time."""


async def main(port: int, count: int, size: int) -> None:
    found: Counter[str] = Counter()
    making = asyncio.Semaphore(AT_ONCE)
    all_there = asyncio.Barrier(count)

    async def send(n: int) -> None:
        body = b'{"n": %d, "x": "%s"}' % (n, b"x" * size)
        first = True
        while True:
            try:
                async with making:
                    reader, writer = await asyncio.open_connection(HOST, port)
                if first:
                    first = False
                    await all_there.wait()
                status = await ask(reader, writer, body, n)
            except OSError:
                status = "none"
            found[status] += 1
            if status == "200":
                return
            await asyncio.sleep(0.5)

    await asyncio.gather(*(send(n) for n in range(count)))
    print(json.dumps({"answered": found["200"], "statuses": found}))


async def ask(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, body: bytes, n: int
) -> str:
    """The status of the n-th event's answer, or "none"."""
    head = "".join(f"{name}: {value}\r\n" for name, value in standard(body, f"m{n}").items())
    try:
        writer.write(
            b"POST /hooks/shop HTTP/1.1\r\nhost: a\r\nconnection: close\r\n"
            + f"content-length: {len(body)}\r\n{head}\r\n".encode()
            + body
        )
        line = await asyncio.wait_for(reader.readline(), 60)
        return line.split(b" ")[1].decode() if line else "none"
    finally:
        writer.close()


if __name__ == "__main__":
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port, count, *more = map(int, sys.argv[1:])
    asyncio.run(main(port, count, more[0] if more else 500))
