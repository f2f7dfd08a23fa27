"""A TCP proxy on loopback that fails the way networks do, on command."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Literal, Self

Mode = Literal["pass", "refuse", "blackhole"]
THREADS = "proxy"
"""The name of its threads."""
_RESET = struct.pack("ii", 1, 0)  # SO_LINGER: close sends RST, not FIN


class Proxy:
    """Forwards connections to `host:target`; `port` is where clients connect.

    mode `pass` forwards; `refuse` refuses new connections and cuts those that are there;
    `blackhole` accepts and keeps connections, and moves no byte until the mode changes.
    """

    def __init__(self, target: int, host: str = "127.0.0.1") -> None:
        self._target = (host, target)
        self.delay = 0.0  # seconds before each chunk goes on
        self.connections = 0  # accepted since the start
        self._mode: Mode = "pass"
        self._changed = threading.Condition()
        self._pattern: tuple[bytes, bool] | None = None
        self._open: set[socket.socket] = set()
        self._closed = False
        self.cuts = 0  # connections cut because of the pattern
        self._listener: socket.socket | None = None
        self.port = 0
        self._listen()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def mode(self) -> Mode:
        return self._mode

    def set_mode(self, mode: Mode) -> None:
        """Change the mode; it holds for existing connections too."""
        with self._changed:
            self._mode = mode
            self._changed.notify_all()
        if mode == "refuse":
            self._close_listener()
            self.cut()
        elif self._listener is None:
            self._listen()

    def descriptors(self) -> set[int]:
        """Those of the connections it holds, which last until both sides have ended them."""
        with self._changed:
            return {one.fileno() for one in self._open}

    def cut(self) -> None:
        """Reset every connection now; new ones are served as the mode says."""
        with self._changed:
            doomed, self._open = self._open, set()
        for one in doomed:
            _reset(one)

    def cut_on(self, pattern: bytes, forward: bool = False) -> None:
        """Cut a connection, once, when `pattern` passes in either direction.

        forward: whether the bytes with the pattern still reach the other side. A COMMIT that is
        forwarded happens and its answer is lost; one that is not forwarded never happens.
        """
        with self._changed:
            self._pattern = (pattern, forward)

    def close(self) -> None:
        """Stop listening and cut everything."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        self._close_listener()
        self.cut()

    def _listen(self) -> None:
        listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), name=THREADS, daemon=True).start()

    def _close_listener(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)  # wakes accept; close alone would not
            listener.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client = listener.accept()[0]
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), name=THREADS, daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with self._changed:
            self._open.add(client)
        if not self._passing():
            return _reset(client)
        try:
            server = socket.create_connection(self._target, timeout=5)
        except OSError:
            return _reset(client)
        server.settimeout(None)
        with self._changed:
            known = client in self._open
            if known:
                self._open.add(server)
        if not known:  # cut while we connected
            return _reset(server)
        cut = threading.Event()
        back = threading.Thread(
            target=self._pump, args=(server, client, cut), name=THREADS, daemon=True
        )
        back.start()
        self._pump(client, server, cut)
        back.join()
        with self._changed:
            self._open -= {client, server}
        client.close()
        server.close()
        return None

    def _passing(self) -> bool:
        """Wait while the mode is blackhole; False once the proxy is closed or refuses."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._mode != "blackhole")
            return not self._closed and self._mode == "pass"

    def _pump(self, source: socket.socket, sink: socket.socket, cut: threading.Event) -> None:
        """cut: set for both ways before what is forwarded last, whose answer must not come."""
        tail = b""
        try:
            while chunk := source.recv(65536):
                if self.delay:
                    time.sleep(self.delay)
                if not self._passing() or cut.is_set():
                    break
                pattern, forward = self._take_pattern(tail + chunk)
                if pattern is not None:
                    cut.set()
                if pattern is None or forward:
                    sink.sendall(chunk)
                if pattern is not None:
                    _reset(source if forward else sink)
                    _reset(sink if forward else source)
                    return
                tail = (tail + chunk)[-256:]
        except OSError:
            pass
        # The other side learns of the end, and may still send.
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def _take_pattern(self, seen: bytes) -> tuple[bytes | None, bool]:
        with self._changed:
            if self._pattern is None or self._pattern[0] not in seen:
                return None, False
            pattern, forward = self._pattern
            self._pattern = None
            self.cuts += 1
            return pattern, forward


def _reset(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        # shutdown wakes a thread that reads from it; close alone would leave it there.
        one.shutdown(socket.SHUT_RD)
        one.close()
