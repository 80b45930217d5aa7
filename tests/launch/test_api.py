"""The server under the API: which it is, and what it does with requests that have no end."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest

from app.launch.http_protocol import LINGER_BYTES
from app.launch.refusals import MAX_HEAD_BYTES
from tests.conftest import Service

pytestmark = pytest.mark.integration

BLOCK = b"x" * 2**16


@pytest.fixture
def connection(service: Service) -> socket.socket:
    address = httpx.URL(service.url)
    return socket.create_connection((address.host, address.port), timeout=30)


def send_without_end(connection: socket.socket, start: bytes) -> int:
    """Sends ``start`` and then blocks until the server has had enough; the bytes that it took."""
    sent = 0
    with connection, contextlib.suppress(ConnectionError):
        connection.sendall(start)
        while sent < 2 * LINGER_BYTES:
            connection.sendall(BLOCK)
            sent += len(BLOCK)
    return sent


def test_it_runs_on_uvloop_and_httptools(service: Service) -> None:
    children = psutil.Process(service.process.pid).children(recursive=True)
    [api] = [child for child in children if "app.launch.api" in child.cmdline()]
    loaded = {Path(place.path).parent.name for place in api.memory_maps()}
    assert {"uvloop", "parser"} <= loaded


@pytest.mark.parametrize(
    "start",
    [
        b"GET /healthz",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ",
        b"POST /predict HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Trailer: ",
    ],
    ids=["address", "header", "trailer"],
)
def test_a_head_without_end_is_cut_off(connection: socket.socket, start: bytes) -> None:
    # What the kernel holds on both sides comes on top of what the server read.
    assert send_without_end(connection, start) < LINGER_BYTES + 2**24


def test_a_head_that_is_too_long_is_told_so(connection: socket.socket) -> None:
    with connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * MAX_HEAD_BYTES)
        assert b"431 Request Header Fields Too Large" in connection.recv(2**16)


def test_a_body_that_is_longer_than_a_head_may_be_is_read(service: Service) -> None:
    with service.client() as client:
        answer = client.post(
            "/products", content=(BLOCK for _ in range(4)), headers={"content-type": "application/json"}
        )
        assert answer.status_code == 422, answer.text
        assert client.get("/healthz", headers={"X-Long": "x" * (MAX_HEAD_BYTES - 2**10)}).is_success
