"""An S3 server of the tests' own on loopback (moto's), and a gate before it that can be shut."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from socket import SHUT_RDWR, create_connection, socket
from socketserver import BaseRequestHandler, ThreadingTCPServer
from typing import Any

import s3fs

from tests.ports import free_port
from tests.waiting import wait_for

KEYS = {"storage_access_key": "loupe", "storage_secret_key": "not-a-secret"}


@dataclass
class S3Server:
    """A server that anybody may use with any key."""

    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @cached_property
    def files(self) -> Any:
        """The server's files as they are, for looking and for damaging."""
        return s3fs.S3FileSystem(
            key="loupe",
            secret="not-a-secret",
            endpoint_url=self.url,
            config_kwargs={"s3": {"addressing_style": "path"}},
            client_kwargs={"region_name": "us-east-1"},
            use_listings_cache=False,
            skip_instance_cache=True,
        )

    def answers(self) -> bool:
        with contextlib.suppress(OSError), create_connection(("127.0.0.1", self.port), 1):
            return True
        return False

    def create_bucket(self) -> str:
        """A new empty bucket; returns its name."""
        name = f"loupe-{uuid.uuid4().hex}"
        self.files.call_s3("create_bucket", Bucket=name)
        return name


@contextlib.contextmanager
def run(folder: Path) -> Iterator[S3Server]:
    server = S3Server(free_port())
    with (folder / "s3.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(server.port)],
            stdout=log,
            stderr=log,
        )
    try:
        wait_for(server.answers, 60, f"the S3 API of {folder}/s3.log", alive=lambda: process.poll() is None)
        yield server
    finally:
        process.kill()
        process.wait()


class Gate:
    """A way to a server that can be shut: then nobody gets through, and who was through is cut off."""

    def __init__(self, port: int) -> None:
        self._to, self._open = port, set[socket]()
        self.port = free_port()
        self._server: ThreadingTCPServer | None = None
        self.open()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def open(self) -> None:
        gate = self

        class Handler(BaseRequestHandler):
            def handle(self) -> None:
                gate._pass_through(self.request)

        class Server(ThreadingTCPServer):
            allow_reuse_address = True
            daemon_threads = True

        self._server = Server(("127.0.0.1", self.port), Handler)
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def shut(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        for connection in list(self._open):
            with contextlib.suppress(OSError):
                connection.shutdown(SHUT_RDWR)

    def _pass_through(self, client: socket) -> None:
        with create_connection(("127.0.0.1", self._to)) as server:
            self._open |= {client, server}
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()
            self._open -= {client, server}


def _copy(source: socket, target: socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(SHUT_RDWR)
