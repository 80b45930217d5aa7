"""What trainings see of a machine's GPUs: stand-ins by LOUPE_GPUS, with which TensorFlow finds no GPU."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest
from fastapi.testclient import TestClient

from app.context import AppContext
from app.errors import DeviceError
from app.host.gpus import Gpu
from app.host.processes import process_owner
from app.jobs import claims
from app.jobs.gpu_leases import Offer
from app.models import Job
from app.workers import runner
from app.workers.__main__ import make_offer, queues_of
from app.workers.runner import JobRunner
from app.workers.supervisor import Supervisor
from tests.chaos.driver import PRODUCT, Loupe, kill
from tests.pictures import make_files, make_zip
from tests.running import TINY, import_pictures
from tests.services.rows import add_job, read_job
from tests.waiting import wait_for

TWO = Offer((Gpu("0", index=0), Gpu("1", index=1)))


@pytest.fixture
def squares(client: TestClient, context: AppContext) -> TestClient:
    import_pictures(client, context, "squares")
    return client


def submit(client: TestClient, **body: Any) -> str:
    body = {"product": "squares", "network": "tiny_cnn", "hyperparameters": TINY, **body}
    answer = client.post("/jobs", json=body)
    assert answer.status_code == 201, answer.text
    job: str = answer.json()["id"]
    return job


def run(context: AppContext, job: str, offer: Offer = TWO) -> Job:
    claim = claims.claim(context, job, process_owner(), offer)
    assert claim is not None
    Supervisor(context, claim, threading.Event()).run()
    return read_job(context, job)


def test_queues_follow_what_the_machine_has() -> None:
    for queue, gpus, has_gpus, cpu, queues in (
        ("training", "0,1", True, True, ("gpu", "training", "cpu")),
        ("training", "none", False, True, ("training", "cpu")),
        ("gpu", "0", True, False, ("gpu", "training")),
        ("cpu", "0", False, True, ("cpu",)),
        ("tasks", "0", False, False, ("tasks",)),
    ):
        offer = make_offer(queue, gpus)
        assert (bool(offer.gpus), offer.cpu, queues_of(queue, offer)) == (has_gpus, cpu, queues)
    with pytest.raises(DeviceError, match="needs a GPU"):
        make_offer("gpu", "none")


def test_a_job_says_what_it_asks_for_and_refuses_what_cannot_be(squares: TestClient) -> None:
    job = squares.get(f"/jobs/{submit(squares, gpus=2)}").json()
    assert (job["device"], job["gpus"], job["ran_on"]) == ("gpu", 2, None)
    assert "none is running" in job["waits_for"]
    plan = squares.post("/jobs?dry_run=true", json={"product": "squares", "device": "cpu"}).json()
    assert (plan["device"], plan["gpus"]) == ("cpu", 1)
    for body, where in (
        ({"device": "cpu", "gpus": 2}, "device is cpu"),
        ({"device": "tpu"}, "/device"),
        ({"gpus": 0}, "/gpus"),
        # 25 images in batches of 8 at most: the smallest has six.
        ({"gpus": 7, "network": "tiny_cnn", "hyperparameters": TINY}, "/gpus"),
    ):
        answer = squares.post("/jobs", json={"product": "squares", **body})
        assert answer.status_code == 422
        assert where in answer.text


def test_a_training_that_asks_for_a_gpu_fails_where_tensorflow_sees_none(
    squares: TestClient, context: AppContext
) -> None:
    job = run(context, submit(squares, device="gpu"))
    assert (job.status, job.attempt) == ("failed", 1)
    assert job.error is not None
    assert job.error["code"] == "device_unavailable"
    assert "loupe-classifier[gpu]" in job.error["hint"]


def test_one_that_takes_either_goes_on_without_and_says_so(squares: TestClient, context: AppContext) -> None:
    job = submit(squares)
    assert run(context, job).status == "succeeded"
    answer = squares.get(f"/jobs/{job}").json()
    assert answer["ran_on"]["device"] == "cpu"
    events = squares.get(f"/jobs/{job}/events").json()["data"]
    assert [event["data"]["gpus"] for event in events if "gpus" in event["data"]] == [["0"]]
    assert any("does not see" in event["data"].get("message", "") for event in events)


@pytest.mark.slow
def test_a_training_on_two_devices_is_killed_goes_on_and_says_how(
    squares: TestClient, context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOUPE_VIRTUAL_DEVICES", "1")
    job = submit(squares, gpus=2, hyperparameters={**TINY, "epochs": 8})

    def kill_after_a_checkpoint() -> None:
        def children() -> list[psutil.Process]:
            has_checkpoint = any(context.storage.job_checkpoints(job).glob("*/checkpoint-*"))
            return psutil.Process().children() if has_checkpoint else []

        for child in wait_for(children, 120, "a checkpoint"):
            kill(child)

    killer = threading.Thread(target=kill_after_a_checkpoint)
    killer.start()
    assert run(context, job).status == "queued"
    killer.join()
    ended = run(context, job)
    assert ended.status == "succeeded", ended.error
    events = squares.get(f"/jobs/{job}/events").json()["data"]
    assert [event["data"]["exact"] for event in events if event["type"] == "resumed"] == [False]
    assert any("statistical" in event["data"].get("message", "") for event in events)
    assert len(squares.get(f"/jobs/{job}/metrics").json()["epochs"]) == 8


def test_a_runner_leaves_a_job_whose_gpus_are_in_use_in_the_queue(
    context: AppContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "DECLINED_SECONDS", 0)
    assert claims.claim(context, add_job(context), "another worker", TWO) is not None
    waiting = add_job(context, device="gpu", gpus=2)
    JobRunner(context, threading.Event(), 2, TWO).run(waiting)
    assert (read_job(context, waiting).status, read_job(context, waiting).attempt) == ("queued", 0)


def devices_of_children(*roots: psutil.Process) -> dict[str, tuple[psutil.Process, str]]:
    """Each job's child process, and the GPUs that it sees, by the job's id."""
    found = {}
    for root in roots:
        for process in root.children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                command = process.cmdline()
                if "app.training" in command or "app.datasets" in command:
                    visible = process.environ()["CUDA_VISIBLE_DEVICES"]
                    found[Path(command[-1]).parent.name] = (process, visible)
    return found


@pytest.mark.integration
def test_trainings_at_once_have_a_gpu_each_an_import_has_none_and_a_kill_frees_one(tmp_path: Path) -> None:
    loupe = Loupe(tmp_path / "home", LOUPE_GPUS="0,1")
    command = [sys.executable, "-m", "app.workers", "--queue", "training"]
    environment = {**os.environ, **loupe.environment, "LOUPE_HOME": str(loupe.home)}
    with (tmp_path / "second.log").open("wb") as log:
        second = psutil.Popen(command, stdout=log, stderr=log, env=environment)
    roots = (psutil.Process(loupe.service.process.pid), second)

    def trainings() -> dict[str, tuple[psutil.Process, str]]:
        found = devices_of_children(*roots)
        return {job: found[job] for job in jobs if job in found}

    try:
        loupe.import_pictures(8)
        wait_for(lambda: len(loupe.get("/workers")["data"]) == 3, 60, "the second worker")
        # Children stay at their start: what they are given is all that matters here.
        loupe.arm("child.started", "*sleep 300")
        jobs = [loupe.submit() for _ in range(3)]
        wait_for(lambda: len(trainings()) == 2, 60, "two trainings")
        assert sorted(visible for _, visible in trainings().values()) == ["0", "1"]

        upload = {"file": ("more.zip", make_zip(make_files(9)))}
        imported = loupe.ask("POST", f"/products/{PRODUCT}/datasets", files=upload).json()["job"]
        wait_for(lambda: imported in devices_of_children(*roots), 60, "the import")
        assert devices_of_children(*roots)[imported][1] == "-1"
        assert len(trainings()) == 2

        child = next(process for process, _ in trainings().values())
        kill(child.parent())
        wait_for(lambda: not child.is_running(), 10, "the end of the child")
        wait_for(lambda: len(trainings()) == 2, 60, "two trainings again")
        assert sorted(visible for _, visible in trainings().values()) == ["0", "1"]
    finally:
        kill(second)
        second.wait()
        loupe.kill_everything()
