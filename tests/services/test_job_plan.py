"""Deciding a training from plain values: no database, no storage, no service."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from app.datasets.manifest import DatasetManifest, Item, create_manifest, item_id
from app.errors import (
    ConflictError,
    ImageSizeError,
    InvalidRequestError,
    LoupeError,
    SplitError,
    UnknownNetworkError,
    WeightsError,
)
from app.schemas.gate import ProductGate
from app.schemas.job import JobCreate
from app.services.job_plan import (
    NETWORK,
    NETWORK_WITHOUT_WEIGHTS,
    InitialModel,
    Plan,
    PlanInputs,
    PublishedWeights,
    decide,
)

OPEN = ("epochs", "freeze_epochs", "backbone_learning_rate_factor")
"""What depends on the images when a training starts from weights."""


def make_manifest(*classes: str, pictures: int = 20) -> DatasetManifest:
    return create_manifest(_make_item(label, number) for label in classes for number in range(pictures))


def _make_item(label: str, number: int) -> Item:
    sha256, name = f"{label}{number}".encode().hex().zfill(64), f"{label}/{number}.png"
    return Item(item_id(label, None, name, sha256), name, label, None, 24, 24, "png", sha256, 100)


IMPORTING = PlanInputs(
    product="p",
    dataset="dst_1",
    published={
        "efficientnet_lite0": PublishedWeights(is_here=True),
        "mobilenet_v2": PublishedWeights(is_here=False),
        "tiny_cnn": PublishedWeights(is_here=False, problem=WeightsError("none are published")),
    },
)
READY = replace(IMPORTING, dataset_digest="d", manifest=make_manifest("cat", "dog"))


def plan(inputs: PlanInputs = READY, **request: Any) -> Plan:
    return decide(JobCreate(product="p", **request), inputs)


def test_the_network_is_the_jobs_or_the_products_or_one_whose_weights_are_here() -> None:
    of_product = replace(READY, default_network="mobilenet_v2")
    without = replace(READY, published={**READY.published, NETWORK: PublishedWeights(is_here=False)})
    assert plan(of_product, network="tiny_cnn").job.network == "tiny_cnn"
    assert plan(of_product).job.network == "mobilenet_v2"
    assert plan().job.network == NETWORK
    assert plan(without).job.network == NETWORK_WITHOUT_WEIGHTS


def test_a_plan_is_whole_once_the_pictures_are_known() -> None:
    whole = plan(network="tiny_cnn", hyperparameters={"epochs": 3, "seed": 5}, gpus=2)
    assert whole.job.split == {
        **{"train": 0.7, "valid": 0.15, "test": 0.15, "seed": 5, "ignore_groups": False},
        "counts": {"train": 28, "valid": 6, "test": 6},
    }  # fmt: skip
    assert whole.splits is not None
    assert len(whole.splits) == 40
    assert (whole.job.dataset.id, whole.job.dataset.digest, whole.job.seed) == ("dst_1", "d", 5)
    assert (whole.job.device, whole.job.gpus) == ("gpu", 2)
    assert whole.job.hyperparameters["epochs"] == 3


def test_while_a_dataset_is_importing_only_what_its_pictures_decide_stays_open() -> None:
    waiting = plan(IMPORTING)
    assert waiting.splits is None
    assert (waiting.job.split["counts"], waiting.job.split["seed"]) == (None, 0)
    settings = waiting.job.hyperparameters
    assert {name for name in OPEN if settings[name] is None} == set(OPEN)
    assert (settings["pretrained"], settings["image_size"], settings["batch_norm"]) == (
        "imagenet", 224, "frozen"
    )  # fmt: skip
    fresh = plan(IMPORTING, network="tiny_cnn").job.hyperparameters
    assert [name for name in OPEN if fresh[name] is None] == ["epochs"]


@pytest.mark.parametrize("start", ["none", None, "mdl_1"])
def test_a_plan_that_is_finished_later_is_the_plan_made_at_once(start: str | None) -> None:
    request = {"hyperparameters": {"pretrained": start, "seed": 3}, "split": {"seed": 4}}
    model = InitialModel("mdl_1", NETWORK, ("cat", "dog"))
    importing, ready = (replace(inputs, initial_model=model) for inputs in (IMPORTING, READY))
    early = plan(importing, **request).job
    split = {name: value for name, value in early.split.items() if name != "counts"}
    later = plan(
        replace(
            ready, gate=ProductGate(min_accuracy=0.9), default_network="resnet18"
        ),  # What changed since is of no effect.
        network=early.network,
        hyperparameters=early.hyperparameters,
        split=split,
    )
    assert later == plan(ready, **request)


def test_the_products_gate_is_the_least_accuracy_unless_the_job_names_one() -> None:
    gated = replace(READY, gate=ProductGate(min_accuracy=0.9))
    assert plan().job.hyperparameters["min_accuracy"] == 0.0
    assert plan(gated).job.hyperparameters["min_accuracy"] == 0.9
    assert plan(gated, hyperparameters={"min_accuracy": 0.5}).job.hyperparameters["min_accuracy"] == 0.5


def test_a_model_that_knows_the_classes_need_not_learn_them_first() -> None:
    def freeze_epochs(*labels: str) -> int:
        inputs = replace(READY, initial_model=InitialModel("mdl_1", "tiny_cnn", labels))
        settings = {"pretrained": "mdl_1"}
        made = plan(inputs, network="tiny_cnn", hyperparameters=settings).job.hyperparameters
        return int(made["freeze_epochs"])

    assert freeze_epochs("cat", "dog") == 0
    assert freeze_epochs("cat", "fox") == 3


@pytest.mark.parametrize("inputs", [READY, IMPORTING], ids=["ready", "importing"])
@pytest.mark.parametrize(
    ("request_", "error", "pointer"),
    [
        ({"network": "mobilnet"}, UnknownNetworkError, None),
        ({"hyperparameters": {"image_size": 16}}, ImageSizeError, "/hyperparameters/image_size"),
        (
            {"network": "tiny_cnn", "hyperparameters": {"pretrained": "imagenet"}},
            WeightsError,
            "/hyperparameters/pretrained",
        ),
        ({"hyperparameters": {"pretrained": "mdl_1"}}, InvalidRequestError, "/hyperparameters/pretrained"),
        (
            {"network": "tiny_cnn", "hyperparameters": {"freeze_epochs": 1}},
            InvalidRequestError,
            None,
        ),
    ],
)
def test_what_no_picture_can_mend_is_refused_at_once(
    inputs: PlanInputs, request_: dict[str, Any], error: type[LoupeError], pointer: str | None
) -> None:
    with pytest.raises(error) as raised:
        plan(inputs, **request_)
    assert [field.pointer for field in raised.value.errors] == ([pointer] if pointer else [])


def test_what_the_pictures_forbid_is_refused_once_they_are_known() -> None:
    small = replace(READY, manifest=make_manifest("cat", "dog", pictures=2))
    with pytest.raises(SplitError, match="too few in cat, dog"):
        plan(small)
    weights = {"class_weights": {"fox": 2.0}}
    with pytest.raises(InvalidRequestError, match="does not have: fox"):
        plan(hyperparameters=weights)
    with pytest.raises(InvalidRequestError, match="Batches of 28 images") as raised:
        plan(gpus=30)
    assert raised.value.errors[0].pointer == "/gpus"
    for request in ({}, {"hyperparameters": weights}, {"gpus": 30}):
        assert plan(IMPORTING, **request).splits is None


def test_nothing_waits_for_a_dataset_beside_a_worker_that_would_not() -> None:
    beside = {"has_first_release_worker": True}
    with pytest.raises(ConflictError, match=r"Dataset dst_1 is still importing\.") as raised:
        plan(replace(IMPORTING, **beside))  # type: ignore[arg-type]
    assert "first release" in str(raised.value.hint)
    assert plan(replace(READY, **beside)).splits  # type: ignore[arg-type]


def test_beside_a_worker_of_the_first_release_images_are_resized_as_it_does() -> None:
    newest = plan(READY)
    assert (newest.resize_rule, newest.job.hyperparameters["resize"]) == (
        "pillow-bilinear-stretch-2",
        "stretch",
    )
    beside = replace(READY, has_first_release_worker=True)
    assert plan(beside).resize_rule is None
    assert "resize" not in plan(beside).job.hyperparameters
    assert plan(beside, hyperparameters={"resize": "crop"}).resize_rule == "pillow-bilinear-crop-2"
