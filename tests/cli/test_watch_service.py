"""``loupe watch`` against a real API and its real model: killed, and with the API away."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2 as httpx
import pytest

from tests.cli.watching import files_below, read_rows, watching
from tests.conftest import Trained
from tests.pictures import COLOURS, make_picture
from tests.ports import free_port
from tests.waiting import wait_for

pytestmark = [pytest.mark.integration]
PER_COLOUR = 8


@contextlib.contextmanager
def _api(home: Path, port: int) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "app.launch.api"],
        env={**os.environ, "LOUPE_HOME": str(home), "LOUPE_PORT": str(port)},
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"

    def is_up() -> bool:
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{url}/healthz", timeout=2).status_code == 200
        return False

    try:
        wait_for(is_up, 60, "the API", alive=lambda: process.poll() is None)
        yield url
    finally:
        process.kill()
        process.wait()


def test_images_are_sorted_by_what_is_on_them_through_kills_and_an_api_that_goes_and_returns(
    trained: Trained, tmp_path: Path
) -> None:
    folder, moved, rows = tmp_path / "in", tmp_path / "sorted", tmp_path / "rows.jsonl"
    folder.mkdir()
    home = trained.client.app.state.context.settings.home  # type: ignore[attr-defined]
    port = free_port()
    options = (
        "--product",
        trained.product,
        "--settle",
        0.2,
        "--every",
        0.1,
        "--out",
        rows,
        "--move-to",
        moved,
    )
    images = {
        f"{colour}-{number}.png": make_picture(colour, 100 + number)
        for number in range(PER_COLOUR)
        for colour in COLOURS
    }
    arriving = iter(images.items())

    def bring(count: int) -> None:
        for _ in range(count):
            name, content = next(arriving)
            (folder / name).write_bytes(content)

    with _api(home, port) as url:
        bring(8)
        (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff")
        with watching(url, folder, *options) as process:
            wait_for(rows.exists, 30, "the first row", alive=lambda: process.poll() is None)
            process.kill()
        bring(8)
        with watching(url, folder, *options) as process:
            wait_for(lambda: len(files_below(moved)) == 16, 30, "16 images in their folders")
            process.kill()
    bring(4)
    with watching(url, folder, *options) as process:
        time.sleep(1)
        with _api(home, port):
            wait_for(lambda: len(files_below(moved)) == 20, 60, "20 images in their folders")
            bring(4)
            wait_for(lambda: len(files_below(moved)) == 24, 30, "all images in their folders")
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)

    assert process.returncode == 0
    assert said.count("Waiting until it can go on.") == 1
    written = read_rows(rows)
    assert sorted(row["name"] for row in written) == sorted([*images, "broken.jpg"])
    (broken,) = (row for row in written if row["error"])
    assert (broken["name"], broken["error"]["code"]) == ("broken.jpg", "undecodable_image")
    assert list(files_below(folder)) == ["broken.jpg"]
    places = {
        row["name"]: "_rejected" if row["decision"] == "reject" else row["label"]
        for row in written
        if row["label"]
    }
    assert set(places.values()) >= {"blue", "green", "red"}
    assert files_below(moved) == {f"{places[name]}/{name}": images[name] for name in sorted(images)}
