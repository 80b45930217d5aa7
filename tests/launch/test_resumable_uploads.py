"""Where the connection, the server or the command is lost, an upload keeps what came, and the rest follows"""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import tarfile
from contextlib import ExitStack
from pathlib import Path

import httpx2 as httpx

from app.api.resumable_uploads import PIECE_BYTES
from tests.cutting import Way, way_to
from tests.launch.bare_api import Api, running
from tests.waiting import wait_for

LENGTH = 3 * PIECE_BYTES
SLACK_BYTES = 2**20
"""Heads, and what was on its way between two processes."""


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


def make_folder(folder: Path) -> Path:
    """Files of random bytes: the API looks into none."""
    for number in range(5):
        path = folder / f"class{number % 2}" / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.Random(number).randbytes(LENGTH // 5))
    return folder


def test_the_command_goes_on_after_the_server_was_killed_and_after_it_was_killed_itself(
    tmp_path: Path,
) -> None:
    folder = make_folder(tmp_path / "images")
    with ExitStack() as stack:
        api = stack.enter_context(running(tmp_path))
        way = stack.enter_context(way_to(api.port))
        httpx.post(f"http://127.0.0.1:{api.port}/products", json={"id": "p"})

        def restart() -> None:
            api.process.send_signal(signal.SIGKILL)
            api.process.wait()
            stack.enter_context(running(tmp_path, port=api.port))

        command = start(way, folder)
        way.cut_after(PIECE_BYTES + PIECE_BYTES // 2, restart)
        way.cut_after(3 * PIECE_BYTES, command.kill)
        first = command.communicate(timeout=120)[1]
        assert command.returncode == -signal.SIGKILL
        assert "Waiting until it can go on" in first
        assert "The server is back" in first
        (begun,) = httpx.get(f"http://127.0.0.1:{api.port}/uploads").json()["data"]
        assert begun["offset"] > 0

        before = way.sent
        command = start(way, folder)
        output, messages = command.communicate(timeout=120)
        assert command.returncode == 0, messages
        assert "An earlier run sent" in messages
        assert output.startswith("dst_")
        assert way.sent - before < begun["length"] - begun["offset"] + SLACK_BYTES
        (whole,) = (tmp_path / "home" / "scratch").glob("upload-*")
    with tarfile.open(whole) as tar:
        tar.extractall(tmp_path / "came", filter="data")
    for path in folder.rglob("*.jpg"):
        assert (tmp_path / "came" / path.relative_to(folder)).read_bytes() == path.read_bytes()


def start(way: Way, sent: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "app.cli", "dataset", "import", "p", str(sent), "--no-wait"),
            *("--server", f"http://127.0.0.1:{way.port}"),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
