"""`loupe tensorboard`: a job's series as TensorBoard's own server reads them, and each point once"""

from __future__ import annotations

import importlib.util
import signal
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2 as httpx
import pytest
from tensorboard.compat.proto.event_pb2 import Event

from app.cli import tensorboard
from tests.cli.conftest import Answer, Received, Run, Server, as_json
from tests.conftest import Trained
from tests.ports import free_port
from tests.waiting import wait_for

JOB: dict[str, Any] = {
    "id": "job_1",
    "kind": "training",
    "network": "tiny_cnn",
    "hyperparameters": {"epochs": 2, "image_size": 16, "augmentation": "none", "monitor": None},
    "started_at": "2026-01-02T03:04:05Z",
    "status": "running",
}
STARTED = 1767323045.0


def _step(number: int, epoch: int) -> dict[str, Any]:
    rates = {"learning_rate": 0.01, "images_per_second": None}
    return {"step": number, "epoch": epoch, "loss": 1 / number, "accuracy": 0.5, **rates}


def _epoch(number: int, step: int) -> dict[str, Any]:
    scores = {f"{part}_{name}": 0.5 for part in ("train", "valid") for name in ("loss", "accuracy")}
    return {"epoch": number, "step": step, "seconds": 4.0, "learning_rate": 0.01, "is_best": True, **scores}


STEPS = [_step(1, 1), _step(2, 1), _step(3, 2), _step(4, 2)]
EPOCHS = [_epoch(1, 2), _epoch(2, 4)]
TEST = {"items": 8, "accuracy": {"value": 0.75, "low": 0.5, "high": 0.9}, "top_k": {"k": 5, "value": 1.0}}


@pytest.fixture
def growing(server: Server, monkeypatch: pytest.MonkeyPatch) -> Server:
    """A training that is seen four times: the row of an epoch comes after that of its last step."""
    monkeypatch.setattr(tensorboard, "POLL_SECONDS", 0.01)
    seen: list[tuple[int, int]] = [(1, 0), (2, 0), (3, 1), (4, 2)]
    looks = iter(seen)
    state: dict[str, Any] = {}

    def answer(request: Received) -> Answer:
        url = urlsplit(request.path)
        if not url.path.endswith("/metrics"):
            state["steps"], state["epochs"] = next(looks)
            return as_json({**JOB, "status": "succeeded" if state["epochs"] == 2 else "running"})
        since = int(dict(part.split("=") for part in url.query.split("&"))["since"])
        steps = [step for step in STEPS[: state["steps"]] if step["step"] > since]
        epochs = [epoch for epoch in EPOCHS[: state["epochs"]] if epoch["step"] > since]
        last = steps[-1]["step"] if steps else since
        return as_json({"steps": steps, "epochs": epochs, "last_step": last, "test": TEST})

    server.answer = answer
    return server


def _points(folder: Path) -> list[tuple[str, int, float, float]]:
    [file] = folder.glob("*tfevents*")
    rest, events = file.read_bytes(), []
    while rest:  # length, its checksum, the event, its checksum
        (length,) = struct.unpack_from("<Q", rest)
        events.append(Event.FromString(rest[12 : 12 + length]))
        rest = rest[16 + length :]
    return [
        (value.tag, event.step, value.simple_value, event.wall_time)
        for event in events
        for value in event.summary.value
        if value.HasField("simple_value")
    ]


def test_a_running_training_is_followed_and_each_point_is_written_once(
    loupe: Run, growing: Server, tmp_path: Path
) -> None:
    first = loupe("tensorboard", "job_1", "--to", tmp_path, "--server", growing.url)
    run = tmp_path / "tiny_cnn-job_1"
    followed = _points(run / "train")
    growing.answer = _answer_ended
    ended = loupe("tensorboard", "job_1", "--to", tmp_path, "--server", growing.url)

    assert first.out == ended.out == f"{run}: 4 steps\n"
    train = _points(run / "train")
    assert sorted(point[:3] for point in followed) == sorted(point[:3] for point in train)
    assert [(step, value) for tag, step, value, _ in train if tag == "step/loss"] == [
        (1, 1.0),
        (2, 0.5),
        (3, pytest.approx(1 / 3)),
        (4, 0.25),
    ]
    assert "step/images_per_second" not in {tag for tag, *_ in train}, "what has no value"
    of_epochs = [(step, at - STARTED) for tag, step, _, at in train if tag == "epoch/accuracy"]
    assert of_epochs == [(1, 4.0), (2, 8.0)]
    assert {tag for tag, *_ in _points(run / "valid")} == {"epoch/loss", "epoch/accuracy"}
    assert [(tag, step) for tag, step, *_ in _points(run)] == [
        ("test/items", 2),
        ("test/accuracy", 2),
        ("test/top_k", 2),
    ]


def _answer_ended(request: Received) -> Answer:
    if "/metrics" not in request.path:
        return as_json({**JOB, "status": "succeeded"})
    return as_json({"steps": STEPS, "epochs": EPOCHS, "last_step": 4, "test": TEST})


@pytest.fixture
def passed_on(server: Server, trained: Trained) -> Server:
    """The API of a real training, over HTTP."""

    def answer(request: Received) -> Answer:
        came = trained.client.request(request.method, request.path)
        return came.status_code, came.headers["content-type"], came.content

    server.answer = answer
    return server


def test_tensorboard_shows_a_real_training_with_its_settings(passed_on: Server, trained: Trained) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/data/plugin"
    command = [sys.executable, "-m", "app.cli", "tensorboard", "--product", trained.product]
    # A script that runs in the background leaves Ctrl-C ignored to what it starts.
    command = ["env", "--default-signal=INT", *command, "--port", str(port), "--server", passed_on.url]
    process = subprocess.Popen(command)

    def find_scalars() -> Any:
        with suppress(httpx.HTTPError):
            return httpx.get(f"{url}/scalars/tags", timeout=30).json()
        return None

    try:
        alive = {"alive": lambda: process.poll() is None, "every": 0.2}
        tags = wait_for(find_scalars, 90, "TensorBoard", **alive)  # type: ignore[arg-type]
        run = f"tiny_cnn-{trained.job}"
        assert {run, f"{run}/train", f"{run}/valid"} <= set(tags)
        assert {"epoch/loss", "epoch/accuracy", "step/loss", "step/learning_rate"} <= set(
            tags[f"{run}/train"]
        )
        assert "test/accuracy" in tags[run]
        asked = {"run": f"{run}/valid", "tag": "epoch/accuracy"}
        curve = httpx.get(f"{url}/scalars/scalars", params=asked, timeout=30).json()
        assert [step for _, step, _ in curve] == [1, 2]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130


def test_without_tensorboard_it_names_the_extra(loupe: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)

    ended = loupe("tensorboard", "job_1")

    assert ended.status == 1
    assert "pip install 'loupe-classifier[tensorboard]'" in ended.err


def test_a_product_without_trainings_is_said(loupe: Run, server: Server) -> None:
    server.answer = lambda _: as_json({"data": [], "has_more": False, "next_cursor": None})

    ended = loupe("tensorboard", "--product", "screws", "--server", server.url)

    assert (ended.status, "screws has no training yet" in ended.err) == (1, True)
