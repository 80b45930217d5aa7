"""What a worker measures of its jobs, and where it serves it."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

import httpx2 as httpx
import psutil
import pytest
from prometheus_client import generate_latest

from app.config import Settings
from app.context import AppContext
from app.workers.metrics import RunningJob, WorkerMetrics, serve_metrics
from app.workers.runner import JobRunner
from tests.api.test_metrics import Samples, parse, value
from tests.ports import free_port
from tests.services.rows import add_job, read_job, step
from tests.workers.test_poll_thread import EXPORT


def samples_of(metrics: WorkerMetrics) -> Samples:
    return parse(generate_latest(metrics.registry).decode())


def test_an_attempt_is_counted_with_how_it_ended(context: AppContext) -> None:
    runner = JobRunner(context, threading.Event(), slots=1)
    job = add_job(context, kind="export", payload=EXPORT)
    runner.run(job)  # its dataset has no files
    code = (read_job(context, job).error or {})["code"]
    found = samples_of(runner.metrics)
    assert value(found, "loupe_worker_claims_total", kind="export") == 1
    assert value(found, "loupe_worker_attempts_total", kind="export", outcome=code) == 1
    assert value(found, "loupe_worker_errors_total", code=code) == 1
    assert not any(name == "loupe_worker_running_jobs" for name, _ in found)


def test_steps_memory_and_beats_of_running_jobs_are_told() -> None:
    metrics = WorkerMetrics()
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0) as child:
        # Once it has answered it is loaded whole, and waits: its memory stays as it is.
        assert child.stdin is not None
        assert child.stdout is not None
        child.stdin.write(b"hello\n")
        assert child.stdout.readline() == b"hello\n"
        job = RunningJob("training", pid=child.pid, beaten_at=time.monotonic() - 30)
        with metrics.running("job_1", job):
            metrics.reported(job, [step(1), step(2)])
            found = samples_of(metrics)
            resident = psutil.Process(child.pid).memory_info().rss
        child.kill()
    assert value(found, "loupe_worker_training_steps_total") == 2
    assert value(found, "loupe_worker_training_images_per_second") == step(2).images_per_second
    assert value(found, "loupe_worker_running_jobs", kind="training") == 1
    assert value(found, "loupe_worker_children_resident_bytes", kind="training") == resident > 0
    assert 30 <= value(found, "loupe_worker_heartbeat_age_seconds", kind="training") < 60


def test_gpus_are_told_as_the_driver_tells_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(
        "#!/bin/sh\n"
        "echo 'GPU-1, NVIDIA L40S, 46068, 1024, 37'\n"
        "echo 'GPU-2, NVIDIA A30, 24576, [N/A], [N/A]'\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    found = samples_of(WorkerMetrics())
    first, second = {"gpu": "GPU-1", "name": "NVIDIA L40S"}, {"gpu": "GPU-2", "name": "NVIDIA A30"}
    assert value(found, "loupe_gpu_memory_bytes", **first) == 46068 * 2**20
    assert value(found, "loupe_gpu_memory_used_bytes", **first) == 2**30
    assert value(found, "loupe_gpu_utilization", **first) == 0.37
    assert value(found, "loupe_gpu_memory_bytes", **second) == 24576 * 2**20
    assert ("loupe_gpu_utilization", frozenset(second.items())) not in found


def test_they_are_served_where_the_settings_say_and_nowhere_by_default(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    assert serve_metrics(settings, WorkerMetrics()) is None
    port = free_port()
    own = settings.model_copy(update={"worker_metrics_port": port})
    server = serve_metrics(own, WorkerMetrics())
    assert server is not None
    url = f"http://{settings.worker_metrics_host}:{port}/metrics"
    assert "loupe_worker_claims" in httpx.get(url).text
    server.shutdown()
    server.server_close()

    # A port that is taken is no reason not to work.
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with caplog.at_level(logging.ERROR):
            serve_metrics(settings.model_copy(update={"worker_metrics_port": port}), WorkerMetrics())
    assert "LOUPE_WORKER_METRICS_PORT" in caplog.text
