"""What the Python client tries again, and what it does not: behind a proxy that fails on purpose"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from loupe import Loupe, RefusedError, UnreachableError
from loupe.errors import LoupeError
from loupe.http_requests import Address
from loupe.pictures import open_images
from tests.ports import free_port

PRODUCT = {
    "id": "screws",
    "name": "screws",
    "default_network": None,
    "champion": None,
    "created_at": "2026-01-01T00:00:00Z",
}


class Proxy(ThreadingHTTPServer):
    """Answers each request with the next of ``answers``: a status, or "cut" to close the connection."""

    answers: list[int | str]
    requests: list[tuple[str, str, str | None, bytes]]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy

    def answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        key = self.headers.get("Idempotency-Key")
        self.server.requests.append((self.command, self.path, key, body))
        status = self.server.answers.pop(0) if self.server.answers else 200
        if isinstance(status, str):
            self.close_connection = True
            self.connection.close()
            return
        content = PRODUCT if status < 400 else {"detail": "Later.", "code": "busy", "status": status}
        text = json.dumps(content).encode()
        self.send_response(status)
        if status == 429:
            self.send_header("Retry-After", "1")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_PUT = do_DELETE = answer

    def log_message(self, *_: object) -> None:
        """Nothing: what was asked is in ``requests``."""


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    server = Proxy(("127.0.0.1", 0), Handler)
    server.answers, server.requests = [], []
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def loupe(proxy: Proxy) -> Iterator[Loupe]:
    with Loupe(f"http://127.0.0.1:{proxy.server_address[1]}", patience=20) as connected:
        yield connected


@pytest.mark.parametrize("failure", [429, 502, 503, 504, "cut"])
def test_a_server_that_is_away_is_asked_again(loupe: Loupe, proxy: Proxy, failure: int | str) -> None:
    proxy.answers = [failure]
    assert loupe.products.get("screws").id == "screws"
    assert len(proxy.requests) == 2


def test_a_creation_is_repeated_with_the_same_key_so_that_it_happens_once(loupe: Loupe, proxy: Proxy) -> None:
    proxy.answers = ["cut", 503]
    loupe.products.create("screws")
    keys = {key for _, _, key, _ in proxy.requests}
    assert len(proxy.requests) == 3
    assert len(keys) == 1
    assert None not in keys
    assert len({body for _, _, _, body in proxy.requests}) == 1
    loupe.products.create("screws")
    assert proxy.requests[-1][2] not in keys


def test_what_would_do_harm_twice_is_asked_once_where_the_answer_is_lost(loupe: Loupe, proxy: Proxy) -> None:
    proxy.answers = ["cut"]
    with pytest.raises(UnreachableError):
        loupe.products.roll_back("screws")
    assert len(proxy.requests) == 1
    # A refusal says that nothing was done.
    proxy.answers = [503]
    loupe.products.roll_back("screws")
    assert len(proxy.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 413, 422, 500])
def test_what_was_refused_is_not_asked_again(loupe: Loupe, proxy: Proxy, status: int) -> None:
    proxy.answers = [status]
    with pytest.raises(RefusedError) as raised:
        loupe.products.get("screws")
    assert raised.value.status == status
    assert len(proxy.requests) == 1


def test_patience_ends(proxy: Proxy) -> None:
    proxy.answers = [503] * 50
    impatient = Loupe(f"http://127.0.0.1:{proxy.server_address[1]}", patience=0.2)
    with impatient, pytest.raises(RefusedError):
        impatient.products.get("screws")
    assert len(proxy.requests) < 5


def test_nobody_at_the_address_is_said() -> None:
    nobody = Loupe(f"http://127.0.0.1:{free_port()}", patience=0)
    with nobody, pytest.raises(UnreachableError, match="loupe up"):
        nobody.products.list()


@pytest.mark.parametrize(
    "server", ["ftp://x", "http://", "http://x?y=1", "http://x#y", "x:port", "http://[::1", "http://\udce4"]
)
def test_what_is_no_address_is_refused_at_once(server: str) -> None:
    with pytest.raises(LoupeError, match="no address"):
        Loupe(server)


def test_the_environment_names_server_and_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOUPE_SERVER", "loupe.example:9000/prefix/")
    monkeypatch.setenv("LOUPE_API_KEY", " s3cret\n")
    address = Address.of(None, None, 0)
    assert address.url == "http://loupe.example:9000/prefix"
    assert address.headers["Authorization"] == "Bearer s3cret"


def test_a_key_that_is_no_line_of_text_is_refused() -> None:
    with pytest.raises(LoupeError, match="control characters"):
        Loupe(api_key="a\nb")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.0.2", "[::1]"])
def test_a_proxy_for_the_outside_is_not_asked_for_this_machine(host: str) -> None:
    assert Address.of(f"http://{host}:8000", None, 0).options()["trust_env"] is False
    assert Address.of("http://loupe.example", None, 0).options()["trust_env"] is True


@pytest.mark.parametrize("label", ["", ".", "..", "a/b"])
def test_a_label_that_would_leave_its_folder_is_refused(label: str) -> None:
    *_, content = open_images([(b"x", label)])
    with pytest.raises(LoupeError, match="cannot be a label"):
        list(content())
