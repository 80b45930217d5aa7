"""A refusal arrives although nobody reads the body, and what is still sent costs little."""

from __future__ import annotations

import re
import socket
import time

import httpx2 as httpx
import pytest

from app.api.refusals import LINGER_SECONDS
from tests.conftest import Service

pytestmark = pytest.mark.integration

BODY = 2**25
REFUSALS = {
    "too large": (b"127.0.0.1", b"application/json", 413),
    "a foreign host": (b"evil.example", b"multipart/form-data; boundary=b", 403),
}


def send_head(service: Service, refusal: str) -> socket.socket:
    address = httpx.URL(service.url)
    host, media_type, _ = REFUSALS[refusal]
    connection = socket.create_connection((address.host, address.port), timeout=30)
    connection.sendall(
        b"POST /products/x/datasets HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
        % (host, media_type, BODY)
    )
    return connection


@pytest.mark.parametrize("refusal", REFUSALS)
def test_who_sends_all_before_reading_reads_the_refusal(service: Service, refusal: str) -> None:
    with send_head(service, refusal) as connection:
        connection.sendall(b"x" * BODY)
        answer = b"".join(iter(lambda: connection.recv(2**16), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % REFUSALS[refusal][2])
    length = re.search(rb"content-length: (\d+)", head.lower())
    assert length is not None
    assert len(body) == int(length[1])


@pytest.mark.parametrize("refusal", REFUSALS)
def test_who_reads_first_gets_it_at_once_and_is_not_waited_for_long(service: Service, refusal: str) -> None:
    with send_head(service, refusal) as connection:
        began = time.monotonic()
        assert connection.recv(2**16).startswith(b"HTTP/1.1 %d " % REFUSALS[refusal][2])
        assert time.monotonic() - began < LINGER_SECONDS / 2
        while connection.recv(2**16):
            pass
        assert time.monotonic() - began < LINGER_SECONDS + 5
