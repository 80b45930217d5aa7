"""``LOUPE_MAX_PIXELS``: one limit and one message wherever an image is decoded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fastapi.testclient import TestClient

from app.context import AppContext
from tests.clients import local_client
from tests.conftest import Trained
from tests.pictures import make_files, make_picture
from tests.running import TINY, import_pictures, run_queued

LARGE = make_picture("red", 1, size=64)
MESSAGE = "the image has 64 x 64 = 0.0 million pixels, the limit is 0.004 million"


def limited(context: AppContext) -> AppContext:
    return replace(context, settings=context.settings.model_copy(update={"max_pixels": 4000}))


def test_an_import_leaves_a_larger_picture_out_with_the_message(
    client: TestClient, context: AppContext
) -> None:
    dataset = import_pictures(client, limited(context), "p", {**make_files(), "red/large.png": LARGE})
    report: dict[str, Any] = client.get(f"/datasets/{dataset}/report").json()
    assert report["skipped"] == [{"name": "red/large.png", "reason": MESSAGE}]


def test_a_training_with_a_lower_limit_ends_with_the_message_and_the_picture(
    client: TestClient, context: AppContext
) -> None:
    import_pictures(client, context, "p", {**make_files(), "red/large.png": LARGE})
    asked = {"product": "p", "network": "tiny_cnn", "hyperparameters": TINY}
    job = client.post("/jobs", json=asked).json()["id"]
    run_queued(limited(context))
    error = client.get(f"/jobs/{job}").json()["error"]
    assert error["code"] == "data_error"
    assert error["detail"].startswith("red/large.png (img_")
    assert error["detail"].endswith(MESSAGE)
    assert "LOUPE_MAX_PIXELS" in error["hint"]


def test_a_prediction_of_a_larger_picture_is_refused_with_the_message(trained: Trained) -> None:
    files = [("file", ("a.png", make_picture("red", 2))), ("file", ("b.png", LARGE))]
    with local_client(limited(trained.context).settings) as client:
        answer = client.post("/predict?product=squares", files=files).json()
    assert [item["error"] and item["error"]["detail"] for item in answer["results"]] == [None, MESSAGE]
