"""A way to a server that is cut where a test says: bytes pass until then, and later again."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

CHUNK_BYTES = 2**16


class Way:
    """Listens on ``port`` and passes all on to ``target``; what is cut is closed at both ends at once."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.sent = 0
        """Bytes that went to the server."""
        self._cuts: list[tuple[int, Callable[[], object]]] = []
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._is_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def cut_after(self, sent: int, then: Callable[[], object]) -> None:
        """Cuts all connections once ``sent`` bytes have passed; none is passed on until ``then`` returns."""
        self._cuts.append((sent, then))

    def close(self) -> None:
        self._listener.close()
        self._cut()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                try:
                    if self._is_cut:
                        raise ConnectionRefusedError
                    server = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    client.close()
                    continue
                self._open |= {client, server}
            threading.Thread(target=self._pass_on, args=(client, server), daemon=True).start()
            threading.Thread(target=self._pass_back, args=(server, client), daemon=True).start()

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := client.recv(CHUNK_BYTES):
                server.sendall(chunk)
                self._count(len(chunk))
        _end(client, server)

    def _pass_back(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while chunk := server.recv(CHUNK_BYTES):
                client.sendall(chunk)
        _end(client, server)

    def _count(self, more: int) -> None:
        with self._lock:
            self.sent += more
            if not self._cuts or self.sent < self._cuts[0][0]:
                return
            _, then = self._cuts.pop(0)
            self._is_cut = True
            self._cut()
        then()
        self._is_cut = False

    def _cut(self) -> None:
        _end(*self._open)
        self._open.clear()


def _end(*ends: socket.socket) -> None:
    for one in ends:
        with contextlib.suppress(OSError):
            one.shutdown(socket.SHUT_RDWR)
        one.close()


@contextlib.contextmanager
def way_to(target: int) -> Iterator[Way]:
    way = Way(target)
    try:
        yield way
    finally:
        way.close()
