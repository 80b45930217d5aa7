"""A dataset of real images, easy but not trivial: noise with one colour channel a little brighter."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.datasets.manifest import (
    DatasetManifest,
    Item,
    create_manifest,
    image_path,
    item_id,
    load_manifest,
    write_manifest,
)
from app.datasets.split import split_dataset
from app.datasets.tfrecord import RecordReader, ensure_records
from app.schemas.hyperparameters import SplitSettings
from app.training.handwritten import resolve_spec

SIDE = 16
CLASSES = ("blue", "green", "red")
PICTURES = 50
"""Of each class."""


@dataclass(frozen=True)
class Pictures:
    """``split``: positions in the manifest of each split's items."""

    root: Path
    reader: RecordReader
    split: dict[str, np.ndarray]
    manifest: DatasetManifest


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Pictures:
    random = np.random.default_rng(0)
    drawn = []
    for label in CLASSES:
        for index in range(PICTURES):
            pixels = random.integers(160, size=(SIDE, SIDE, 3), dtype=np.uint8)
            pixels[..., 2 - CLASSES.index(label)] += 24
            drawn.append((label, f"{index:03d}", pixels))
    return store_pictures(tmp_path_factory.mktemp("pictures"), drawn, SIDE)


def store_pictures(root: Path, drawn: Iterable[tuple[str, str, np.ndarray]], side: int) -> Pictures:
    """A dataset of these (label, name, pixels), split at the defaults, and its records of ``side`` pixels."""
    items = [_store(root / "images", f"{label}/{name}.png", label, pixels) for label, name, pixels in drawn]
    (root / "dataset").mkdir()
    write_manifest(root / "dataset", create_manifest(items))
    manifest = load_manifest(root / "dataset")
    assigned = split_dataset(manifest, SplitSettings(), seed=0)
    (root / "split.json").write_text(json.dumps(assigned))
    split = {
        name: np.array([p for p, item in enumerate(manifest.items) if assigned.get(item.id) == name])
        for name in ("train", "valid", "test")
    }
    records = ensure_records(manifest, root / "images", (side, side), root / "records")
    return Pictures(root, RecordReader(records), split, manifest)


@pytest.fixture
def make_spec(pictures: Pictures, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """spec.json of a training on the images, its folders under the test's own; fields can be replaced."""
    return partial(_make_spec, pictures, tmp_path)


@pytest.fixture(scope="module")
def make_lasting_spec(
    pictures: Pictures, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., dict[str, Any]]:
    """The same for a training that the tests of a module share."""
    return partial(_make_spec, pictures, tmp_path_factory.mktemp("training"))


def _make_spec(
    pictures: Pictures,
    root: Path,
    attempt: str = "attempt-1",
    *,
    hyperparameters: dict[str, Any],
    **fields: Any,
) -> dict[str, Any]:
    spec = {
        "job_id": "job_1",
        "product": "colours",
        "network": "tiny_cnn",
        "hyperparameters": {"image_size": SIDE, "batch_size": 16, **hyperparameters},
        "dataset": str(pictures.root / "dataset"),
        "image_root": str(pictures.root / "images"),
        "split": str(pictures.root / "split.json"),
        "records_root": str(pictures.root / "records"),
        "checkpoint_root": str(root / "checkpoints" / attempt),
        "resume_from": [],
        "logs": str(root / "logs"),
        "out": str(root / "artifacts" / attempt),
        "checkpoint_seconds": 60,
        **fields,
    }
    return resolve_spec(spec)


def _store(image_root: Path, name: str, label: str, pixels: np.ndarray) -> Item:
    buffer = BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    path = image_path(image_root, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Item(
        item_id(label, None, name, sha256),
        name,
        label,
        None,
        pixels.shape[1],
        pixels.shape[0],
        "png",
        sha256,
        len(data),
    )
