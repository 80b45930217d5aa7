"""``loupe up``: the whole tree starts, serves, survives a kill, and ends without leaving a process."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2 as httpx
import psutil
import pytest

from app.config import Settings
from app.launch import up
from tests.conftest import Service, start_service, stop_service
from tests.pictures import make_picture
from tests.running import TINY, upload_pictures
from tests.waiting import wait_for

pytestmark = pytest.mark.integration


def tree(service: Service) -> list[psutil.Process]:
    root = psutil.Process(service.process.pid)
    return [root, *root.children(recursive=True)]


def if_ended(client: httpx.Client, job: str) -> Any:
    found = client.get(f"/jobs/{job}?wait=30").json()
    return None if found["status"] in ("queued", "running") else found


def gone(processes: list[psutil.Process], seconds: float = 40) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not alive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_every_process(tmp_path: Path, number: signal.Signals) -> None:
    service = start_service(tmp_path / "home")
    processes = tree(service)
    assert {process.name() for process in processes} & {"redis-server", "valkey-server"}
    assert stop_service(service, number) == 0
    assert gone(processes, 5)


def test_the_whole_walk_survives_being_killed_between_steps(tmp_path: Path) -> None:
    home = tmp_path / "home"
    service = start_service(home)
    with service.client() as client:
        dataset = upload_pictures(client, "squares")
        client.get(f"/jobs/{dataset['job']}?wait=60")
    service = kill_and_restart(service, home)
    with service.client() as client:
        assert client.get(f"/datasets/{dataset['id']}").json()["status"] == "ready"
        body = {"product": "squares", "network": "tiny_cnn", "hyperparameters": {**TINY, "epochs": 30}}
        job = client.post("/jobs", json=body).raise_for_status().json()["id"]
        wait_for(lambda: client.get(f"/jobs/{job}").json()["stage"] == "training", 90, "the training")
    service = kill_and_restart(service, home)
    with service.client() as client:
        ended = wait_for(lambda: if_ended(client, job), 120, "the end of the training")
        assert ended["status"] == "succeeded", ended["error"]
        assert ended["attempt"] == 2
    service = kill_and_restart(service, home)
    with service.client() as client:
        metrics = client.get(f"/jobs/{job}/metrics").json()
        assert [point["epoch"] for point in metrics["epochs"]] == list(range(1, 31))
        picture = {"file": ("red.png", make_picture("red", 77))}
        answer = client.post("/predict", files=picture, data={"product": "squares"}).json()
        assert answer["top"]["label"] == "red"
        assert answer["model"]["id"] == ended["model"]
    assert stop_service(service) == 0


def test_a_second_one_in_the_same_home_is_refused(service: Service) -> None:
    with pytest.raises(RuntimeError, match=r"runs in .* already"):
        start_service(service.home)


def test_a_second_one_on_a_taken_port_is_refused_and_starts_nothing(service: Service, tmp_path: Path) -> None:
    port, home = service.url.rpartition(":")[2], tmp_path / "home"
    command = [sys.executable, "-m", "app.cli", "up", "--home", str(home), "--port", port]

    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)

    assert ended.returncode == 1
    assert "is ready" not in ended.stderr
    assert f"Port {port} is taken: another Loupe answers at {service.url}" in ended.stderr
    assert f"LOUPE_PORT={int(port) + 1}" in ended.stderr
    assert not (home / "logs").exists()


def test_a_port_that_another_program_has_is_refused_as_such(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        settings = Settings(home=tmp_path, port=other.getsockname()[1], _env_file=None)
        with pytest.raises(up.UpError, match="taken by another program"):
            up.require_free_port(settings)
    up.require_free_port(settings)
    with pytest.raises(up.UpError, match="no address of this machine"):
        up.require_free_port(settings.model_copy(update={"host": "no.such.host.invalid"}))


def test_one_that_loses_its_port_to_another_does_not_take_that_ones_answer_for_its_own(
    service: Service,
) -> None:
    idle = [sys.executable, "-c", "import time; time.sleep(60)"]
    process = subprocess.Popen(idle)
    try:
        port = int(service.url.rpartition(":")[2])
        assert not up.listens(up.Part("api", idle, process), port)
        api = next(child for child in tree(service) if "app.launch.api" in child.cmdline())
        own = up.Part("api", idle, SimpleNamespace(pid=api.pid))  # type: ignore[arg-type]
        assert up.listens(own, port)
    finally:
        process.kill()
        process.wait()
    assert not up.listens(up.Part("api", idle, process), port)


def kill_and_restart(service: Service, home: Path) -> Service:
    """SIGKILL of `loupe up` itself: everything below it must go too, then a new one takes over."""
    processes = tree(service)
    service.process.kill()
    service.process.wait()
    assert gone(processes)
    return start_service(home)
