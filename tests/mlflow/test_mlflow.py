"""A training of a whole Loupe in a real MLflow server with SQLite: ``make test-mlflow``"""

from __future__ import annotations

import importlib.util
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest

from loupe import Loupe
from tests.conftest import start_service, stop_service
from tests.pictures import make_files, write_folder
from tests.ports import free_port
from tests.running import TINY
from tests.waiting import wait_for

pytestmark = [
    pytest.mark.integration,
    pytest.mark.timeout(1200),
    pytest.mark.filterwarnings("ignore"),  # of MLflow's own libraries
]


@pytest.fixture(autouse=True)
def _needs_mlflow(request: pytest.FixtureRequest) -> None:
    if importlib.util.find_spec("mlflow") is None:
        if request.config.getoption("--require-mlflow"):
            pytest.fail("MLflow is not installed: `make test-mlflow` brings it.")
        pytest.skip("MLflow is not installed: `make test-mlflow` brings it.")


@contextmanager
def _mlflow_server(folder: Path, port: int) -> Iterator[None]:
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--workers", "1", "--backend-store-uri", f"sqlite:///{folder / 'mlflow.db'}"]
    command += ["--artifacts-destination", str(folder / "artifacts")]
    with (folder / "mlflow.log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=subprocess.STDOUT)

    def is_ready() -> bool:
        with suppress(httpx.HTTPError):
            return httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200
        return False

    try:
        wait_for(is_ready, 420, "the MLflow server", alive=lambda: process.poll() is None, every=0.3)
        yield
    finally:
        process.terminate()
        process.wait(60)


def _row(home: Path) -> tuple[Any, ...]:
    with closing(sqlite3.connect(home / "loupe.db", timeout=30)) as db:
        return tuple(db.execute("select attempts, next_attempt_at, error from mlflow_runs").fetchone() or ())


def _send_now(home: Path) -> None:
    """What waits or was sent; not what a worker is sending, whose claim runs for a quarter of an hour."""
    free = "next_attempt_at is null or next_attempt_at < strftime('%s', 'now') + 600"
    with closing(sqlite3.connect(home / "loupe.db", timeout=30)) as db, db:
        db.execute(f"update mlflow_runs set next_attempt_at = 0 where {free}")


def test_a_training_comes_to_mlflow_once_though_it_was_away_and_loupe_was_restarted(tmp_path: Path) -> None:
    from mlflow import MlflowClient
    from mlflow.artifacts import download_artifacts

    port, home = free_port(), tmp_path / "home"
    uri = f"http://127.0.0.1:{port}"
    write_folder(tmp_path / "squares", make_files())
    service = start_service(home, LOUPE_MLFLOW_TRACKING_URI=uri)
    with Loupe(service.url) as loupe:
        loupe.products.create("squares")
        loupe.datasets.create("squares", tmp_path / "squares")
        started = loupe.jobs.create(
            "squares", network="tiny_cnn", hyperparameters=TINY, metadata={"line": "3"}
        )
        job = loupe.jobs.wait(started)
        metrics = loupe.jobs.metrics(job)
        wait_for(lambda: any(event.type == "mlflow" for event in loupe.jobs.events(job)), 180, "an attempt")
        waiting = next(event for event in loupe.jobs.events(job) if event.type == "mlflow")
        assert waiting.details["status"] == "waiting"
        assert loupe.jobs.get(job.id).status == "succeeded"
    stop_service(service)

    with _mlflow_server(tmp_path, port):
        service = start_service(home, LOUPE_MLFLOW_TRACKING_URI=uri)
        try:
            _send_now(home)
            wait_for(lambda: _row(home)[1] is None, 180, "the run", every=0.5)
            client = MlflowClient(tracking_uri=uri)
            experiment = client.get_experiment_by_name("loupe/squares")
            [run] = client.search_runs([experiment.experiment_id])
            _check(run, job, metrics)
            history = client.get_metric_history(run.info.run_id, "valid_accuracy")
            assert [(point.step, point.value) for point in history] == [
                (epoch["epoch"], epoch["valid_accuracy"]) for epoch in metrics.epochs
            ]
            name = f"runs:/{run.info.run_id}/model"
            came = Path(download_artifacts(name, dst_path=str(tmp_path / "came"), tracking_uri=uri))
            [own] = (home / "models").glob("*/*/manifest.json")
            assert _files(came) == _files(own.parent)

            attempts = _row(home)[0]
            _send_now(home)  # as after a worker that was killed before it could write down what came of it
            wait_for(lambda: _row(home)[0] > attempts and _row(home)[1] is None, 180, "it again", every=0.5)
            [same] = client.search_runs([experiment.experiment_id])
            assert same.info.run_id == run.info.run_id
            assert len(client.get_metric_history(run.info.run_id, "valid_accuracy")) == len(history)
        finally:
            stop_service(service)


def _check(run: Any, job: Any, metrics: Any) -> None:
    assert (run.info.run_name, run.info.status) == (job.id, "FINISHED")
    assert abs(run.info.start_time - job.started_at.timestamp() * 1000) <= 1
    assert run.data.params["network"] == "tiny_cnn"
    assert run.data.params["image_size"] == "16"
    assert run.data.tags["metadata.line"] == "3"
    assert run.data.tags["loupe.model"] == job.model
    assert run.data.metrics["test_log_loss"] == metrics.test["log_loss"]
    assert run.data.metrics["test_accuracy"] == metrics.test["accuracy"]["value"]


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
