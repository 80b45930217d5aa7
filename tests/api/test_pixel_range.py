"""From a 12-bit dataset to its model's answers: one range all the way."""

from __future__ import annotations

import csv
import io
from typing import Any

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from app.context import AppContext
from tests.pictures import make_zip
from tests.running import TINY, import_pictures, run_queued


def deep(grey: int, seed: int, scale: int = 1) -> bytes:
    noise = np.random.default_rng(seed).normal(0, 60, (24, 24))
    output = io.BytesIO()
    Image.fromarray((np.clip(grey + noise, 0, 4095) * scale).astype(np.uint16)).save(output, "PNG")
    return output.getvalue()


def files(scale: int = 1) -> dict[str, bytes]:
    greys = {"dark": 600, "middle": 2000, "light": 3900}
    return {f"{name}/{n}.png": deep(grey, n, scale) for name, grey in greys.items() for n in range(12)}


def test_the_range_of_the_dataset_is_the_models_and_the_predictions(
    client: TestClient, context: AppContext
) -> None:
    dataset = import_pictures(client, context, "p", files())
    assert client.get(f"/datasets/{dataset}/report").json()["deep_grey"]["pixel_range"] == [0, 4095]
    asked = {"product": "p", "network": "tiny_cnn", "hyperparameters": TINY}
    job = client.post("/jobs", json=asked).json()["id"]
    run_queued(context)
    evaluation = client.get(f"/jobs/{job}/evaluation").json()
    assert evaluation["warnings"] == []

    rows = csv.DictReader(io.StringIO(client.get(f"/jobs/{job}/evaluation/predictions").text))
    for row in rows:
        answer = predict(client, files()[row["name"]])
        for entry in answer["predictions"]:
            assert f"{entry['probability']:.6f}" == f"{float(row[entry['label']]):.6f}"
        assert answer["warnings"] == ["16-bit greyscale scaled from 0 to 4095 and repeated to three channels"]
    assert any("clipped to 0 to 4095" in text for text in predict(client, deep(3900, 1, 16))["warnings"])

    archive = make_zip(files(scale=16))
    other = client.post("/products/p/datasets", files={"file": archive}).json()["id"]
    run_queued(context)
    client.post(f"/jobs/{job}/evaluations", json={"dataset": other}).raise_for_status()
    run_queued(context)
    warnings = client.get(f"/jobs/{job}/evaluation", params={"dataset": other}).json()["warnings"]
    assert "were read from 0 to 4095, as the model reads them" in warnings[0]
    assert "which were clipped" in warnings[1]


def predict(client: TestClient, data: bytes) -> dict[str, Any]:
    body = client.post("/predict", files={"file": ("a.png", data)}, data={"product": "p"})
    answer: dict[str, Any] = body.raise_for_status().json()
    return answer
