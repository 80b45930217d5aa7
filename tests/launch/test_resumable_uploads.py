"""An upload whose connection or server is lost: what was acknowledged is there when the server is back"""

from __future__ import annotations

import signal
from pathlib import Path

import httpx2 as httpx

from app.api.resumable_uploads import PIECE_BYTES
from tests.launch.bare_api import Api, running
from tests.waiting import wait_for

LENGTH = 3 * PIECE_BYTES


def offset_of(api: Api, upload: str) -> int:
    answer = httpx.head(f"http://127.0.0.1:{api.port}/uploads/{upload}", timeout=30)
    return int(answer.headers["upload-offset"])


def test_what_came_before_a_cut_and_before_a_kill_stays(tmp_path: Path) -> None:
    with running(tmp_path) as api:
        made = httpx.post(
            f"http://127.0.0.1:{api.port}/uploads", headers={"Upload-Length": str(LENGTH)}, timeout=30
        )
        upload: str = made.json()["id"]
        path = tmp_path / "home" / "scratch" / f"pieces-{upload}"
        with api.connect() as connection:
            connection.sendall(_head(upload, 0, LENGTH) + b"a" * 1000)
            wait_for(lambda: path.is_dir() and any(path.iterdir()), 30, "the first bytes")
        wait_for(lambda: offset_of(api, upload) == 1000, 30, "what came before the cut")

        with api.connect() as connection:
            connection.sendall(_head(upload, 1000, LENGTH - 1000) + b"b" * (PIECE_BYTES + 1000))
            wait_for(lambda: offset_of(api, upload) > 1000, 30, "a piece that is safe")
            acknowledged = offset_of(api, upload)
            api.process.send_signal(signal.SIGKILL)
            api.process.wait()
    assert acknowledged >= 1000 + PIECE_BYTES
    with running(tmp_path) as api:
        assert offset_of(api, upload) == acknowledged


def _head(upload: str, offset: int, length: int) -> bytes:
    return (
        f"PATCH /uploads/{upload} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Content-Type: application/offset+octet-stream\r\n"
        f"Upload-Offset: {offset}\r\nContent-Length: {length}\r\n\r\n"
    ).encode()
