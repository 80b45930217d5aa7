"""A sweep with real children, of which one is killed"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.context import AppContext
from app.workers.runner import JobRunner
from tests.running import TINY, all_events, import_pictures
from tests.services.rows import read_job
from tests.services.sweep_runs import queued

SETTINGS = {**TINY, "epochs": 4, "augmentation": "light"}


def run_all(context: AppContext) -> list[str]:
    """Claims, supervises and leaves every queued job as a worker does; returns the job of each claim."""
    runner, done = JobRunner(context, threading.Event(), 1), []
    while jobs := queued(context):
        runner.run(jobs[0])
        done.append(jobs[0])
    return done


def test_a_sweep_whose_child_is_killed_goes_on_from_the_checkpoint_of_the_comparison(
    client: TestClient, context: AppContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import_pictures(client, context, "p")
    # Both candidates train two epochs of four steps; then in the second step of what the winner has left.
    failpoints = tmp_path / "failpoints"
    failpoints.mkdir()
    (failpoints / "train.step").write_text("skip\n" * 17 + "kill\n")
    monkeypatch.setenv("LOUPE_FAILPOINTS", str(failpoints))
    rates = {"learning_rate": [0.01, 1e-7]}
    settings = {name: value for name, value in SETTINGS.items() if name not in rates}
    body: dict[str, Any] = {
        "product": "p",
        "networks": ["tiny_cnn"],
        "hyperparameters": settings,
        "grid": rates,
    }
    sweep = client.post("/sweeps", json=body).raise_for_status().json()
    good, poor = (one["job"] for one in sweep["candidates"])

    claims = run_all(context)

    assert not (failpoints / "train.step").read_text(), "the kill came"
    ended = client.get(f"/sweeps/{sweep['id']}").json()
    assert (ended["status"], ended["winner"], ended["cuts"]) == ("succeeded", good, 1)
    assert claims == [good, poor, good, good]
    assert [one["epoch"] for one in ended["candidates"]] == [4, 2]
    assert read_job(context, poor).stop_reason == "pruned"
    # Nothing was tested before the choice, and of the loser nothing is left but its record.
    assert not context.storage.job_checkpoints(poor).exists()
    stages = [event["data"]["stage"] for event in all_events(client, poor) if event["type"] == "stage"]
    assert stages == ["preparing", "training"]
    resumed = [event["data"] for event in all_events(client, good) if event["type"] == "resumed"]
    assert [(event["epoch"], event["exact"]) for event in resumed] == [(3, True), (3, True)]
