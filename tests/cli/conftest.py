"""Running the command in this process, and a small HTTP server to answer it."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from app.cli import main


@dataclass(frozen=True)
class Ended:
    """How a command ended, and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


Run = Callable[..., Ended]


@pytest.fixture
def loupe(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``loupe("product", "list")`` runs the command as the console script does."""

    def run(*arguments: object) -> Ended:
        monkeypatch.setattr(sys, "argv", ["loupe", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        written = capsys.readouterr()
        return Ended(int(ended.value.code or 0), written.out, written.err)

    return run


@dataclass
class Received:
    """A request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


Answer = tuple[int, str, bytes]


@dataclass
class Server:
    """A server of a few prepared answers; ``answer`` may be replaced. ``headers``: of every answer."""

    url: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    requests: list[Received] = field(default_factory=list)
    answer: Callable[[Received], Answer] = lambda _: (200, "application/json", b"{}")


def as_json(content: Any, status: int = 200) -> Answer:
    return status, "application/json", json.dumps(content).encode()


def as_problem(status: int, code: str, detail: str, **more: Any) -> Answer:
    problem = {
        "type": f"/problems/{code}",
        "status": status,
        "code": code,
        "detail": detail,
        "errors": [],
        **more,
    }
    return status, "application/problem+json", json.dumps(problem).encode()


@pytest.fixture
def server() -> Iterator[Server]:
    """A real HTTP server on this machine, answering what the test wants."""
    prepared = Server()

    class Handler(BaseHTTPRequestHandler):
        def _handle(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            request = Received(self.command, self.path, headers, body)
            prepared.requests.append(request)
            status, media_type, content = prepared.answer(request)
            if status == 0:  # hangs up
                return
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(content)))
            for name, value in prepared.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _handle

        def log_message(self, *_: object) -> None:
            """Nothing: the test looks at ``requests``."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        prepared.url = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield prepared
        running.shutdown()
        thread.join()
