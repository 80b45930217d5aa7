"""No job believes a model's files that are not the registered ones."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.conftest import Trained
from tests.running import TINY, run_queued


@pytest.fixture
def exchanged(trained: Trained) -> Iterator[str]:
    """A model whose files agree with each other, but are not those that were registered."""
    (model,) = trained.client.get(f"/models?job={trained.job}").json()["data"]
    manifest = next((trained.context.storage.models / model["id"]).rglob("manifest.json"))
    whole = manifest.read_bytes()
    manifest.write_text(json.dumps({**json.loads(whole), "seed": 99}))
    yield model["id"]
    manifest.write_bytes(whole)


def _fine_tune(trained: Trained, model: str) -> str:
    settings = {**TINY, "epochs": 1, "pretrained": model}
    body = {"product": trained.product, "network": "tiny_cnn", "hyperparameters": settings}
    return str(trained.client.post("/jobs", json=body).raise_for_status().json()["id"])


def _evaluate(trained: Trained, _model: str) -> str:
    return str(trained.client.post(f"/jobs/{trained.job}/evaluations").raise_for_status().json()["id"])


@pytest.mark.parametrize("ask", [_fine_tune, _evaluate])
def test_a_job_refuses_a_model_whose_files_were_exchanged(
    trained: Trained, exchanged: str, ask: Callable[[Trained, str], str]
) -> None:
    job = ask(trained, exchanged)
    run_queued(trained.context)
    ended = trained.client.get(f"/jobs/{job}").json()
    assert ended["status"] == "failed"
    assert (ended["error"]["code"], ended["error"]["retryable"]) == ("artifact_damaged", False)
    assert "changed since the model was registered" in ended["error"]["detail"]
    assert not Path(trained.context.storage.job(job) / "checkpoints").exists()
    trained.client.delete(f"/jobs/{job}").raise_for_status()
