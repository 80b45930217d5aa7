"""From the setting ``resize`` to the answers: training, evaluation and prediction see the same pixels."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image
from sqlalchemy import update

from app.context import AppContext
from app.models import Job
from tests.pictures import COLOURS, make_picture
from tests.running import TINY, import_pictures, run_queued


def wide_files() -> dict[str, bytes]:
    """Wide JPEGs, half of them stored turned, so that every way of resizing gives other pixels."""
    files = {}
    for label in COLOURS:
        for seed in range(12):
            image = Image.open(io.BytesIO(make_picture(label, seed, size=100))).resize((400, 150))
            exif = Image.Exif()
            exif[274] = 6 if seed % 2 else 1
            output = io.BytesIO()
            image.save(output, "JPEG", quality=92, exif=exif)
            files[f"{label}/{seed}.jpg"] = output.getvalue()
    return files


@pytest.mark.parametrize("resize", ["stretch", "crop", "letterbox"])
def test_the_way_that_a_job_resizes_is_the_models_and_the_predictions(
    client: TestClient, context: AppContext, resize: str
) -> None:
    files = wide_files()
    import_pictures(client, context, "p", files)
    asked = {"product": "p", "network": "tiny_cnn", "hyperparameters": {**TINY, "resize": resize}}
    job = client.post("/jobs", json=asked).json()["id"]
    run_queued(context)
    assert client.get(f"/jobs/{job}").json()["hyperparameters"]["resize"] == resize
    assert check_answers(client, context, job, files) == f"pillow-bilinear-{resize}-2"


def test_a_job_that_names_no_rule_goes_by_the_first_one(client: TestClient, context: AppContext) -> None:
    files = wide_files()
    import_pictures(client, context, "p", files)
    asked = {"product": "p", "network": "tiny_cnn", "hyperparameters": TINY}
    job = client.post("/jobs", json=asked).json()
    old = {name: value for name, value in job["hyperparameters"].items() if name != "resize"}
    with context.db.write() as session:
        session.execute(update(Job).where(Job.id == job["id"]).values(payload={}, hyperparameters=old))
    run_queued(context)
    assert check_answers(client, context, job["id"], files) == "pillow-bilinear-stretch-1"


def test_another_way_is_refused_with_the_three_that_there_are(
    client: TestClient, context: AppContext
) -> None:
    import_pictures(client, context, "p")
    asked = {"product": "p", "hyperparameters": {"resize": "tile"}}
    answer = client.post("/jobs", json=asked)
    assert answer.status_code == 422
    assert all(way in answer.json()["detail"] for way in ("stretch", "crop", "letterbox"))


def check_answers(client: TestClient, context: AppContext, job: str, files: dict[str, bytes]) -> str:
    """That predictions are the evaluation's; the name of the model's rule."""
    rows = list(csv.DictReader(io.StringIO(client.get(f"/jobs/{job}/evaluation/predictions").text)))
    assert rows
    for row in rows:
        body: dict[str, Any] = client.post(
            "/predict", files={"file": ("a.jpg", files[row["name"]])}, data={"product": "p"}
        ).json()
        for entry in body["predictions"]:
            assert f"{entry['probability']:.6f}" == f"{float(row[entry['label']]):.6f}"
    [manifest] = context.settings.home.glob("models/**/manifest.json")
    rule: str = json.loads(manifest.read_text(encoding="utf-8"))["resize_rule"]
    return rule
