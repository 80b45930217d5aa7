"""Each answer says whether to act on it, by what the product promises and the model can keep."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image
from prometheus_client.parser import text_string_to_metric_families

from app.services.model_router import ModelRouter, Question
from tests.conftest import Trained
from tests.pictures import make_picture

RED = make_picture("red", 1000)


def make_noise() -> bytes:
    """What no product of squares has ever seen."""
    buffer = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(buffer, "PNG")
    return buffer.getvalue()


def ask(client: TestClient, data: bytes) -> dict[str, Any]:
    answer = client.post("/predict?product=squares&top_k=3", files={"file": ("x.png", data)})
    found: dict[str, Any] = answer.raise_for_status().json()
    return found


def model_of(trained: Trained) -> dict[str, Any]:
    found: dict[str, Any] = trained.client.get(f"/models?job={trained.job}").json()["data"][0]
    return found


def test_what_is_like_the_training_images_is_accepted_and_what_is_not_is_rejected(trained: Trained) -> None:
    known, stranger = ask(trained.client, RED), ask(trained.client, make_noise())
    assert (known["decision"], known["reject_reason"]) == ("accept", None)
    assert (stranger["decision"], stranger["reject_reason"]) == ("reject", "out_of_distribution")
    assert known["scores"]["similarity"] > stranger["scores"]["similarity"]
    assert known["scores"]["confidence"] == pytest.approx(known["top"]["probability"])
    first, second, _ = (one["probability"] for one in known["predictions"])
    assert known["scores"]["margin"] == pytest.approx(first - second)
    assert known["results"][0]["decision"] == "accept"


def test_a_probability_is_the_calibrated_one_with_the_raw_one_beside_it(trained: Trained) -> None:
    temperature = model_of(trained)["calibration"]["temperature"]
    answer = ask(trained.client, RED)
    raw = np.array([one["raw_probability"] for one in answer["predictions"]])
    served = np.array([one["probability"] for one in answer["predictions"]])
    assert raw.sum() == pytest.approx(1, abs=1e-5)
    powers = raw ** (1 / temperature)
    np.testing.assert_allclose(powers / powers.sum(), served, atol=1e-6)


def test_a_model_says_what_its_images_can_promise_and_how_many_it_would_take(trained: Trained) -> None:
    promise = model_of(trained)["promise"]
    assert promise["max_error"] == 0.01
    assert promise["promised"] is None or promise["promised"] > 0.01
    assert promise["images_needed"] >= 299


def test_the_final_test_says_how_the_answers_fared(trained: Trained) -> None:
    evaluation = trained.client.get(f"/jobs/{trained.job}/evaluation").json()
    selection = evaluation["selection"]
    assert selection["max_error"] == 0.01
    assert selection["accepted"] + sum(selection["rejected"].values()) == evaluation["items"]
    assert selection["coverage"]["value"] == selection["accepted"] / evaluation["items"]
    assert evaluation["calibration_before"]["ece"] >= 0


def test_a_product_that_changes_its_promise_is_answered_by_it(trained: Trained) -> None:
    client = trained.client
    changed = client.patch("/products/squares", json={"promise": {"max_error": 0.5}})
    try:
        assert changed.json()["promise"] == {"max_error": 0.5}
        assert model_of(trained)["promise"]["max_error"] == 0.5
        router: ModelRouter = client.app.state.model_router  # type: ignore[attr-defined]
        question = Question("squares", None, None)
        asked = ask(client, RED)
        router.refresh()  # The thread that looks for changes does this within two seconds.
        choice = router.find(question)
        assert choice is not None
        assert (choice.id, choice.max_error) == (asked["model"]["id"], 0.5)
    finally:
        client.patch("/products/squares", json={"promise": {"max_error": 0.01}}).raise_for_status()
    assert client.get("/products/squares").json()["promise"] == {"max_error": 0.01}


@pytest.mark.parametrize("max_error", [0, -0.1, 0.6, "all", None])
def test_a_promise_that_is_none_is_refused(trained: Trained, max_error: object) -> None:
    refused = trained.client.patch("/products/squares", json={"promise": {"max_error": max_error}})
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["pointer"] == "/promise/max_error"


def test_metrics_count_what_was_decided(trained: Trained) -> None:
    def counted() -> dict[str, float]:
        families = text_string_to_metric_families(trained.client.get("/metrics").text)
        samples = [
            one for family in families for one in family.samples if one.name == "loupe_decisions_total"
        ]
        return {one.labels["decision"]: one.value for one in samples if one.labels["product"] == "squares"}

    before = counted()
    for image in (RED, make_noise(), make_noise()):
        ask(trained.client, image)
    after = counted()
    assert after["accept"] - before.get("accept", 0) == 1
    assert after["out_of_distribution"] - before.get("out_of_distribution", 0) == 2
