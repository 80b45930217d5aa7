"""A job that an older version has begun is finished by this one, which says what it could not keep."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app import __version__
from app.context import AppContext
from app.services import workers
from tests.api.test_lifecycle import product, run_while, submit  # noqa: F401
from tests.running import all_events, run_queued, upload_pictures
from tests.services.rows import read_job
from tests.services.test_uploads import forget_kinds
from tests.services.test_workers import new_worker


def change(checkpoint: Path, **environment: str) -> None:
    """Makes the checkpoint one that libraries of other versions wrote, its digests included."""
    state = json.loads((checkpoint / "state.json").read_text())
    assert state["environment"].keys() >= environment.keys()
    state["environment"].update(environment)
    content = json.dumps(state).encode()
    (checkpoint / "state.json").write_bytes(content)
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    manifest["files"]["state.json"] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    (checkpoint / "manifest.json").write_text(json.dumps(manifest))


def change_format(checkpoint: Path) -> None:
    manifest = json.loads((checkpoint / "manifest.json").read_text())
    (checkpoint / "manifest.json").write_text(json.dumps({**manifest, "format_version": 0}))


def checkpoints(context: AppContext, job: str) -> list[Path]:
    return sorted(context.storage.job_checkpoints(job).glob("*/checkpoint-*"))


def events(client: TestClient, job: str, kind: str) -> list[Any]:
    return [event["data"] for event in all_events(client, job) if event["type"] == kind]


def pause(client: TestClient, context: AppContext) -> str:
    job = submit(client, epochs=2000)  # more than fit between two looks at what the client wishes
    run_while(client, context, job, lambda: client.post(f"/jobs/{job}/pause"), after_step=9)
    assert client.get(f"/jobs/{job}").json()["status"] == "paused"
    return job


def finish(client: TestClient, context: AppContext, job: str) -> list[str]:
    """Takes the paused job to an early, good end; returns the warnings of its events."""
    client.post(f"/jobs/{job}/stop").raise_for_status()
    assert run_queued(context) == [job]
    ended = client.get(f"/jobs/{job}").json()
    assert ended["status"] == "succeeded", ended["error"]
    return [warning["message"] for warning in events(client, job, "warning")]


@pytest.mark.usefixtures("product")
def test_a_training_goes_on_from_what_another_version_saved_and_says_so(
    client: TestClient, context: AppContext
) -> None:
    job = pause(client, context)
    older, newest = checkpoints(context, job)
    change_format(newest)
    change(older, loupe="0.0.9", tensorflow="2.20.0")

    unusable, statistical = finish(client, context, job)
    assert newest.name in unusable
    assert "format version 0" in unusable
    assert "not be bit-equal" in statistical
    assert f"loupe was 0.0.9, is {__version__}" in statistical
    assert "tensorflow was 2.20.0, is " in statistical
    [resumed] = events(client, job, "resumed")
    assert resumed["from"] == str(older)
    assert resumed["step"] > 0
    assert not resumed["exact"]


def test_an_upload_is_named_as_an_older_worker_reads_it(client: TestClient, context: AppContext) -> None:
    old = new_worker(queue="tasks")
    workers.beat(context, old)
    forget_kinds(context, old.id)
    job = upload_pictures(client, "p")["job"]
    assert Path(read_job(context, job).payload["source"]).is_file(), "it takes the path as it stands"


@pytest.mark.slow
@pytest.mark.usefixtures("product")
def test_a_training_whose_checkpoints_cannot_be_read_begins_again_and_says_so(
    client: TestClient, context: AppContext
) -> None:
    job = pause(client, context)
    for checkpoint in checkpoints(context, job):
        change_format(checkpoint)
    *unusable, last = finish(client, context, job)
    assert len(unusable) == 2
    assert last == "No checkpoint could be used; training starts from step 0."
    assert events(client, job, "resumed") == []
