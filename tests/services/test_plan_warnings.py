"""What a training does otherwise than one may think is said: in the plan, and among the job's events."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from fastapi.testclient import TestClient

from app.context import AppContext
from app.datasets.manifest import DatasetManifest, Item, create_manifest, item_id
from app.models import Dataset
from app.services.job_plan import PublishedWeights
from tests.pictures import make_files
from tests.running import TINY, import_pictures, upload_pictures
from tests.services.test_job_plan import IMPORTING, READY, plan


def manifest_of(**splits: int) -> DatasetManifest:
    """So many images of each of two classes in each split."""
    return create_manifest(
        Item(item_id(label, split, name, sha), name, label, split, 24, 24, "png", sha, 100)  # type: ignore[arg-type]
        for label in ("cat", "dog")
        for split, images in splits.items()
        for number in range(images)
        for name in [f"{split}/{label}/{number}.png"]
        for sha in [f"{label}{split}{number}".encode().hex().zfill(64)]
    )


def warnings(manifest: DatasetManifest, **request: Any) -> list[str]:
    return plan(replace(READY, manifest=manifest), network="tiny_cnn", **request).job.warnings


def test_a_training_from_nothing_names_the_command_that_brings_weights() -> None:
    for inputs in (READY, IMPORTING):
        (said,) = plan(inputs, network="mobilenet_v2").job.warnings
        assert "`loupe weights download mobilenet_v2`" in said
        assert "starts from nothing." in said
    nobody_chose = replace(
        READY,
        published=dict.fromkeys(("efficientnet_lite0", "mobilenet_v2"), PublishedWeights(is_here=False)),
    )
    (said,) = plan(nobody_chose).job.warnings
    assert "`loupe weights download efficientnet_lite0`" in said
    assert "trains mobilenet_v2" in said


@pytest.mark.parametrize(
    "request_",
    [
        {"network": "efficientnet_lite0"},  # its weights are here
        {"network": "tiny_cnn"},  # nobody has published any
        {"network": "mobilenet_v2", "hyperparameters": {"pretrained": "none"}},
    ],
)
def test_what_was_chosen_or_cannot_be_otherwise_is_no_warning(request_: dict[str, Any]) -> None:
    assert plan(READY, **request_).job.warnings == []


def test_a_split_that_is_not_used_is_a_warning_and_the_usual_one_is_none() -> None:
    divided = manifest_of(train=6, valid=2, test=2)

    (said,) = warnings(divided, split={"train": 0.5, "valid": 0.25, "test": 0.25})
    assert "is not used" in said
    assert warnings(divided) == []
    assert warnings(READY.manifest or divided, split={"train": 0.5, "valid": 0.25, "test": 0.25}) == []


def test_images_that_are_taken_out_of_train_are_counted() -> None:
    (said,) = warnings(manifest_of(train=16, valid=4))
    counts = plan(replace(READY, manifest=manifest_of(train=16, valid=4)), network="tiny_cnn").job.split[
        "counts"
    ]
    assert said == (
        f"The images came without a test split: {counts['test']} images of train were taken for it."
    )
    assert len(warnings(manifest_of(train=16))) == 2


def test_images_in_two_splits_are_counted() -> None:
    divided = manifest_of(train=6, valid=2, test=2)
    trained = next(one for one in divided.items if one.split == "train")
    tested = next(one for one in divided.items if one.split == "test" and one.label == trained.label)
    twice = create_manifest(
        replace(one, sha256=tested.sha256) if one is trained else one for one in divided.items
    )

    assert "1 image is left out" in warnings(twice)[0]


def test_the_newest_dataset_that_can_be_trained_on_is_taken_and_the_newer_ones_are_named(
    client: TestClient, context: AppContext
) -> None:
    good = import_pictures(client, context, "p")
    two = {name: data for name, data in make_files(1).items() if "red" in name or "blue" in name}
    bad = import_pictures(client, context, "p2", two)
    with context.db.write() as session:
        session.get_one(Dataset, bad).product_id = "p"
    importing = upload_pictures(client, "p3")["id"]
    with context.db.write() as session:
        session.get_one(Dataset, importing).product_id = "p"

    body = {"product": "p", "network": "tiny_cnn", "hyperparameters": TINY}
    job = client.post("/jobs", json=body).raise_for_status().json()

    assert job["dataset"]["id"] == good
    said = [
        e["data"]["message"]
        for e in client.get(f"/jobs/{job['id']}/events").json()["data"]
        if e["type"] == "warning"
    ]
    assert said == client.post("/jobs?dry_run=true", json=body).json()["warnings"]
    assert said[0] == f"Dataset {importing} is newer, but it is still importing. The training takes {good}."
    assert said[1].startswith(f"Dataset {bad} is newer, but cannot be trained on: a class needs at least 3")
    assert client.post("/jobs", json={**body, "dataset": bad}).status_code == 422
