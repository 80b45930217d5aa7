"""``POST /datasets/{dataset}/examinations``, and imports that examine."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from app.config import Settings
from app.context import AppContext
from app.datasets.examination.vectors import load_features
from app.datasets.manifest import load_manifest
from app.datasets.pictures import decode_item
from app.errors import FeaturesUnavailableError
from app.features.extractor import Extractor
from app.features.files import VECTORS
from tests.datasets.near_duplicates.textures import make_texture
from tests.extractors import give_extractor
from tests.pictures import make_files, make_picture
from tests.running import import_pictures, run_queued


def examine(client: TestClient, context: AppContext, dataset: str) -> dict[str, Any]:
    answer = client.post(f"/datasets/{dataset}/examinations")
    assert answer.status_code == 202, answer.text
    run_queued(context)
    job: dict[str, Any] = client.get(f"/jobs/{answer.json()['id']}").json()
    return job


@pytest.fixture
def dataset(client: TestClient, context: AppContext) -> str:
    give_extractor(context.storage.root)
    files = {**make_files(4), "red/copy.png": make_picture("red", 0)}
    return import_pictures(client, context, "p", files)


def test_each_image_has_the_vector_of_what_a_training_sees(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    assert client.get(f"/datasets/{dataset}").json()["examination"] is None
    job = examine(client, context, dataset)
    assert job["error"] is None
    assert job["kind"] == "examination"
    assert client.get(f"/datasets/{dataset}").json()["examination"]["network"] == "efficientnet_lite0"
    folder = context.storage.dataset(dataset)
    manifest, extractor = load_manifest(folder), Extractor(context.storage.extractor)
    vectors = load_features(folder, manifest)
    assert vectors.shape == (13, 1280)
    for item, vector in zip(manifest.items, vectors, strict=True):
        image = decode_item(context.storage.images, item, None, extractor.fit)
        assert np.array_equal(vector, extractor.embed(image.pixels).astype(np.float16))


def test_what_is_there_is_not_computed_again_and_what_is_damaged_is(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    examine(client, context, dataset)
    path = context.storage.dataset(dataset) / VECTORS
    before = path.read_bytes()
    for folder in context.storage.images.iterdir():  # what is known needs no image
        folder.rename(folder.with_name(f"away-{folder.name}"))
    assert examine(client, context, dataset)["status"] == "succeeded"
    assert path.read_bytes() == before
    path.write_bytes(before[:-10])
    assert "is missing" in examine(client, context, dataset)["error"]["detail"]
    for folder in context.storage.images.iterdir():
        folder.rename(folder.with_name(folder.name.removeprefix("away-")))
    assert examine(client, context, dataset)["status"] == "succeeded"
    assert path.read_bytes() == before


def test_a_new_version_takes_over_the_vectors_of_its_images(
    client: TestClient, context: AppContext, settings: Settings, dataset: str
) -> None:
    examine(client, context, dataset)
    examining = replace(context, settings=settings.model_copy(update={"examine_imports": True}))
    made = client.post(f"/datasets/{dataset}/versions", json={"remove": ["red/red_001.png"]}).json()
    run_queued(examining)
    assert client.get(f"/datasets/{made['id']}").json()["examination"]["network"] == "efficientnet_lite0"
    folders = [context.storage.dataset(name) for name in (dataset, made["id"])]
    old, new = (
        {
            item.sha256: row.tobytes()
            for item, row in zip(manifest.items, load_features(folder, manifest), strict=True)
        }
        for folder in folders
        for manifest in [load_manifest(folder)]
    )
    assert new.items() <= old.items()


def test_an_import_examines_where_it_shall(
    client: TestClient, context: AppContext, settings: Settings
) -> None:
    examining = replace(context, settings=settings.model_copy(update={"examine_imports": True}))
    give_extractor(context.storage.root)
    dataset = import_pictures(client, examining, "p", make_files(2))
    found = client.get(f"/datasets/{dataset}").json()
    assert found["status"] == "ready"
    assert found["examination"]["dimensions"] == 1280
    assert client.get(f"/datasets/{dataset}/report").json()["examination"] == found["examination"]
    events = client.get(f"/jobs/{found['job']}/events?limit=100").json()["data"]
    assert "examining" in [event["data"].get("stage") for event in events]


def test_a_dataset_that_is_not_examined_says_how_it_is(
    client: TestClient, context: AppContext, dataset: str
) -> None:
    folder = context.storage.dataset(dataset)
    with pytest.raises(FeaturesUnavailableError) as caught:
        load_features(folder, load_manifest(folder))
    assert "loupe dataset examine" in (caught.value.hint or "")
    assert client.post("/datasets/dst_none/examinations").status_code == 404


def test_a_swapped_label_is_found_shown_and_mended(client: TestClient, context: AppContext) -> None:
    give_extractor(context.storage.root)
    files = make_files(30)
    files["blue/wrong.png"] = make_picture("red", 200)
    dataset = import_pictures(client, context, "p", files)
    path = f"/datasets/{dataset}/examination"
    refused = client.get(path)
    assert refused.status_code == 409
    assert "loupe dataset examine" in refused.json()["hint"]
    refused = client.get(f"/datasets/{dataset}/items?outlier=true")
    assert refused.status_code == 409
    assert "loupe dataset examine" in refused.json()["hint"]
    examine(client, context, dataset)
    found = client.get(path).json()
    assert (found["dataset"], found["network"], found["judged"]) == (dataset, "efficientnet_lite0", 91)
    assert found["suspects"][0]["name"] == "blue/wrong.png"
    assert (found["missing"], found["near_duplicates"]["groups"]) == (None, [])
    assert found["suspects"][0]["suggested"] == "red"
    listed = client.get(f"/datasets/{dataset}/items?suspect=true&limit=100").json()["data"]
    assert {item["id"] for item in listed} == {each["item"] for each in found["suspects"]}
    others = client.get(f"/datasets/{dataset}/items?suspect=false&outlier=false&limit=100").json()["data"]
    assert len(others) == 91 - len({each["item"] for each in [*found["suspects"], *found["outliers"]]})
    examination = client.get(f"/datasets/{dataset}").json()["examination"]
    assert examination["suspects"] == len(found["suspects"])
    made = client.post(
        f"/datasets/{dataset}/versions",
        json={"relabel": {each["item"]: each["suggested"] for each in found["suspects"]}},
    ).json()
    run_queued(context)
    examine(client, context, made["id"])
    left = client.get(f"/datasets/{made['id']}/examination").json()["suspects"]
    assert len(left) < len(found["suspects"])


def test_images_of_one_thing_are_told_and_kept_together(client: TestClient, context: AppContext) -> None:
    give_extractor(context.storage.root)
    files = {
        f"{label}/{number}.png": encode(make_texture(100 * index + number))
        for index, label in enumerate(("fine", "scratched"))
        for number in range(6)
    }
    files["scratched/again.png"] = encode(make_texture(2)[9:-8, 14:-5])
    dataset = import_pictures(client, context, "p", files)
    groups = {item["near_group"] for item in client.get(f"/datasets/{dataset}/items").json()["data"]}
    assert groups == {None}
    examine(client, context, dataset)
    near = client.get(f"/datasets/{dataset}/examination").json()["near_duplicates"]
    assert (near["total_groups"], near["total_pairs"], len(near["pairs"])) == (1, 1, 1)
    (group,) = near["groups"]
    assert group["labels"] == ["fine", "scratched"]
    assert {image["name"] for image in group["images"]} == {"fine/2.png", "scratched/again.png"}
    worst = client.get(f"/datasets/{dataset}/examination").json()["diagnoses"][0]
    assert (worst["code"], worst["level"], worst["number"]) == ("contradiction", "error", 2)
    assert {image["name"] for image in worst["images"]} == {"fine/2.png", "scratched/again.png"}
    items = client.get(f"/datasets/{dataset}/items").json()["data"]  # read anew, though it was read before
    assert {item["name"] for item in items if item["near_group"]} == {"fine/2.png", "scratched/again.png"}
    for seed in range(3):
        body = {"product": "p", "network": "mobilenet_v2", "hyperparameters": {"epochs": 1}}
        job = client.post("/jobs", json={**body, "split": {"seed": seed}}).json()["id"]
        items = client.get(f"/datasets/{dataset}/items?job={job}").json()["data"]
        assert len({item["split"] for item in items if item["near_group"]}) == 1
        client.post(f"/jobs/{job}/cancel")


def encode(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
