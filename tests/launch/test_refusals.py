"""A refusal arrives although nobody reads the body, and what is still sent costs little."""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from app.launch.http_protocol import LINGER_BYTES, LINGER_SECONDS
from tests.launch.bare_api import TRACE, Api, read_all, running, status_of

pytestmark = pytest.mark.integration

KEY, HOST = b"k" * 40, b"loupe.example"
BODY = LINGER_BYTES // 2
KERNELS_BYTES = 32 * 2**20
"""More than both kernels hold of what one side sent and the other has not read."""
CHUNK = b"10000\r\n%s\r\n" % (b" " * 2**16)


@dataclass(frozen=True)
class Refusal:
    status: int
    path: bytes = b"/products/x/datasets"
    host: bytes = HOST
    key: bytes = KEY
    media_type: bytes = b"application/zip"
    more: bytes = b""

    def head(self, length: bytes) -> bytes:
        lines = [
            b"POST %s HTTP/1.1" % self.path,
            b"Host: " + self.host,
            b"Authorization: Bearer " + self.key,
            b"Content-Type: " + self.media_type,
            self.more,
            length,
        ]
        return b"\r\n".join([*filter(None, lines), b"", b""])


REFUSALS = {
    "too large": Refusal(413, path=b"/predict", media_type=b"image/png"),
    "a foreign host": Refusal(403, host=b"evil.example"),
    "a foreign page": Refusal(403, more=b"Origin: https://evil.example"),
    "no key": Refusal(401, key=b"wrong"),
    "no such path": Refusal(404, path=b"/nowhere"),
    "another type": Refusal(415, media_type=b"text/plain"),
}


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    guarded = running(
        tmp_path_factory.mktemp("refusals"),
        API_KEY=KEY.decode(),
        ALLOWED_HOSTS=HOST.decode(),
        SLOW_SECONDS="20",
        MAX_PREDICT_BYTES=str(2**20),
        MAX_JSON_BYTES=str(2 * BODY),
    )
    with guarded as api:
        yield api
        assert TRACE not in api.log.read_text(encoding="utf-8")


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_who_sends_all_before_reading_reads_the_refusal(api: Api, refusal: Refusal) -> None:
    with api.connect() as connection:
        connection.sendall(refusal.head(b"Content-Length: %d" % BODY))
        time.sleep(0.2)
        connection.sendall(b" " * BODY)
        answer = read_all(connection)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert status_of(head) == refusal.status
    assert b"\r\nconnection: close" in head.lower()
    length = re.search(rb"content-length: (\d+)", head.lower())
    assert length is not None
    assert len(body) == int(length[1])


def test_who_reads_first_gets_it_at_once_and_is_not_waited_for_long(api: Api) -> None:
    with contextlib.ExitStack() as stack:
        connections = []
        for refusal in REFUSALS.values():
            connection = stack.enter_context(api.connect())
            began = time.monotonic()
            connection.sendall(refusal.head(b"Content-Length: %d" % BODY))
            assert status_of(connection.recv(2**16)) == refusal.status
            assert time.monotonic() - began < LINGER_SECONDS / 2
            connections.append(connection)
        time.sleep(LINGER_SECONDS + 2)
        for connection in connections:
            read_all(connection)
            with contextlib.suppress(ConnectionError):
                connection.sendall(b" ")
                time.sleep(0.2)  # until the kernel has said that nobody is there
                connection.sendall(b" ")
                pytest.fail("the connection is still open")


@pytest.mark.parametrize("refusal", REFUSALS.values(), ids=REFUSALS)
def test_a_refused_body_without_end_is_read_for_a_few_bytes(api: Api, refusal: Refusal) -> None:
    sent = 0
    with api.connect() as connection:
        connection.sendall(refusal.head(b"Transfer-Encoding: chunked"))
        with contextlib.suppress(ConnectionError):
            while sent < 16 * KERNELS_BYTES:
                connection.sendall(CHUNK)
                sent += len(CHUNK)
        assert status_of(read_all(connection)) == refusal.status
    assert sent < LINGER_BYTES + KERNELS_BYTES


def test_a_refusal_of_what_was_read_keeps_the_connection(api: Api) -> None:
    refused = REFUSALS["no key"].head(b"Content-Length: 2") + b"{}"
    last = REFUSALS["no key"].head(b"Connection: close\r\nContent-Length: 2") + b"{}"
    answer = api.ask(2 * refused + last)
    assert answer.count(b"HTTP/1.1 401") == 3
    assert answer.lower().count(b"connection: close") == 1
