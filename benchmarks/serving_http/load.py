"""The load: N connections kept open, each of which sends its next image as soon as it has its answer.

Written on plain sockets, with requests that were put together before the clock starts, since the load shares
the cores with the server that it measures. It costs 0.15 core-milliseconds a request of 110 kB, of the 11
that the cheapest server takes. `wrk` with a script in Lua costs 0.19, and would have to be installed.
"""

from __future__ import annotations

import itertools
import json
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import psutil

_BOUNDARY = "loupe-benchmark-7d1f0c"
_HEAD_END = b"\r\n\r\n"
_RECEIVE_BYTES = 65536
_SEND_BUFFER_BYTES = 2**22
CLOSED = 0
"""In place of the status of an answer that does not come."""


@dataclass(frozen=True)
class Load:
    """What one measurement saw. ``failed``: answers other than 200, and connections that were closed.

    ``machine_cpu_seconds``: of all that ran on the machine meanwhile, server and load included.
    """

    seconds: float
    milliseconds: list[float]
    failed: int
    client_cpu_seconds: float
    server_cpu_seconds: float
    machine_cpu_seconds: float


@dataclass(frozen=True)
class Answer:
    status: int
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def build_requests(images: Sequence[bytes], port: int, path: str, headers: dict[str, str]) -> list[bytes]:
    """A request for each image: a form with the image as its part ``file``."""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    requests = []
    for number, image in enumerate(images):
        body = b"".join(
            (
                f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; '
                f'filename="{number}.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'.encode(),
                image,
                f"\r\n--{_BOUNDARY}--\r\n".encode(),
            )
        )
        head = (
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n{lines}"
            f"Content-Type: multipart/form-data; boundary={_BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        requests.append(head.encode() + body)
    return requests


def ask(port: int, request: bytes, seconds: float = 60.0) -> Answer:
    """One request on a connection of its own. Raises OSError."""
    with socket.create_connection(("127.0.0.1", port), timeout=seconds) as connection:
        connection.sendall(request)
        received = b""
        while True:
            if (answer := _parse(received)) is not None:
                return answer
            received += _receive(connection)


def run_load(
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int,
    warm_seconds: float,
    seconds: float,
    server_cpu: Callable[[], float],
) -> Load:
    """What is answered in the ``seconds`` after ``warm_seconds`` counts, whenever it was asked."""
    with closing(_Clients(port, connections, requests)) as clients:
        clients.run(warm_seconds)
        before = (server_cpu(), busy_seconds(), time.process_time())
        began = time.perf_counter()
        outcomes = clients.run(seconds)
        elapsed = time.perf_counter() - began
        after = (server_cpu(), busy_seconds(), time.process_time())
    server, machine, client = (late - early for early, late in zip(before, after, strict=True))
    return Load(
        elapsed,
        [milliseconds for status, milliseconds in outcomes if status == 200],
        sum(status != 200 for status, _ in outcomes),
        client,
        server,
        machine,
    )


def busy_seconds() -> float:
    """CPU time that the whole machine spent on anything so far, what its host took from it included."""
    times = psutil.cpu_times()
    return float(sum(times[:8]) - times.idle - times.iowait)


class _Clients:
    """Connections that are always waiting for an answer, each to the next image of all."""

    def __init__(self, port: int, connections: int, requests: Sequence[bytes]) -> None:
        self._port = port
        self._turn = itertools.cycle(requests)
        self._poll = select.epoll()
        self._clients: dict[int, _Client] = {}
        for _ in range(connections):
            self._connect()

    def run(self, seconds: float) -> list[tuple[int, float]]:
        """Status and milliseconds of each answer; 0 for a connection that was closed."""
        outcomes = []
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            for descriptor, event in self._poll.poll(left):
                client = self._clients[descriptor]
                if event & select.EPOLLOUT:
                    client.send_rest(self._poll)
                if event & ~select.EPOLLOUT and (status := client.receive()) is not None:
                    outcomes.append((status, (time.perf_counter() - client.asked) * 1000))
                    if status == CLOSED:
                        self._clients.pop(descriptor).close()
                        self._connect()
                    else:
                        client.send(next(self._turn), self._poll)
        return outcomes

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self._poll.close()

    def _connect(self) -> None:
        client = _Client(self._port)
        self._clients[client.descriptor] = client
        self._poll.register(client.descriptor, select.EPOLLIN)
        client.send(next(self._turn), self._poll)


class _Client:
    """One connection with one request under way."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
        self._socket.setblocking(False)
        self.descriptor = self._socket.fileno()
        self.asked = 0.0
        self._unsent = memoryview(b"")
        self._received = b""
        self._waits_to_send = False

    def send(self, request: bytes, poll: select.epoll) -> None:
        self.asked = time.perf_counter()
        self._unsent = memoryview(request)
        self._received = b""
        self.send_rest(poll)

    def send_rest(self, poll: select.epoll) -> None:
        # A server that closed is no error yet: receive() reports it.
        with suppress(OSError):
            while self._unsent:
                self._unsent = self._unsent[self._socket.send(self._unsent) :]
        if (waits := bool(self._unsent)) != self._waits_to_send:
            self._waits_to_send = waits
            poll.modify(self.descriptor, select.EPOLLIN | (select.EPOLLOUT if waits else 0))

    def receive(self) -> int | None:
        """The status of the answer once it is whole; CLOSED."""
        try:
            self._received += _receive(self._socket)
        except BlockingIOError:
            return None
        except OSError:
            return CLOSED
        answer = _parse(self._received)
        return None if answer is None else answer.status

    def close(self) -> None:
        self._socket.close()


def _receive(connection: socket.socket) -> bytes:
    data = connection.recv(_RECEIVE_BYTES)
    if not data:
        raise ConnectionResetError("the server closed the connection")
    return data


def _parse(received: bytes) -> Answer | None:
    head, found, body = received.partition(_HEAD_END)
    if not found:
        return None
    first, *lines = head.split(b"\r\n")
    for name, value in _headers(lines):
        if name == b"content-length":
            return Answer(int(first.split()[1]), body) if len(body) >= int(value) else None
    raise ValueError(f"an answer without a length: {head!r}")


def _headers(lines: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
    for line in lines:
        name, _, value = line.partition(b":")
        yield name.lower(), value
