"""The artifact format: what is written is what is read, and whatever changed since is noticed."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.artifacts import (
    MANIFEST,
    Input,
    Manifest,
    Output,
    Runtime,
    Serving,
    open_artifact,
    weights_sha256,
    write_artifact,
)
from app.artifacts.manifest import SECTIONS, Calibration, Decision, Origin, ReferenceFeatures, Threshold
from app.errors import ArtifactError

MANIFEST_WITHOUT_FILES = Manifest(
    network="tiny_cnn",
    image_size=(32, 48),
    labels=("good", "schräg", "crack"),
    resize_rule="stretch",
    dataset_digest="d" * 64,
    split_digest=None,
    hyperparameters={"epochs": 3, "early_stopping": None},
    seed=7,
    best_epoch=2,
    metrics={"accuracy": {"value": 0.5, "low": 0.2, "high": 0.8}},
    weights_sha256="w" * 64,
    serving=Serving(runtime="litert", precision="float32", bytes=5),
    versions={"python": "3.11"},
    created_at="2026-01-02T03:04:05Z",
)


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / "model.keras", tmp_path / "model.tflite"]
    for number, path in enumerate(paths):
        path.write_bytes(bytes(range(200 + number)))
    return paths


@pytest.fixture
def folder(tmp_path: Path, sources: list[Path]) -> Path:
    return write_artifact(tmp_path / "artifact", MANIFEST_WITHOUT_FILES, sources).folder


def edit_manifest(folder: Path, **changes: Any) -> None:
    path = folder / MANIFEST
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_what_is_written_is_what_is_read(tmp_path: Path, sources: list[Path]) -> None:
    written = write_artifact(tmp_path / "artifact", MANIFEST_WITHOUT_FILES, sources)
    opened = open_artifact(tmp_path / "artifact")
    assert opened == written
    assert replace(opened.manifest, files={}) == MANIFEST_WITHOUT_FILES
    assert opened.read("model.tflite") == sources[1].read_bytes()
    assert opened.digest == hashlib.sha256((opened.folder / MANIFEST).read_bytes()).hexdigest()


def test_the_folder_holds_nothing_but_what_the_manifest_lists(folder: Path) -> None:
    listed = set(open_artifact(folder).manifest.files) | {MANIFEST}
    assert {path.name for path in folder.iterdir()} == listed


def test_writing_again_with_more_metrics_changes_the_digest_and_keeps_the_files(folder: Path) -> None:
    before = open_artifact(folder)
    files = [before.path(name) for name in before.manifest.files]
    after = write_artifact(folder, replace(before.manifest, metrics={"accuracy": 1.0}), files)
    assert after.manifest.files == before.manifest.files
    assert after.digest != before.digest
    assert open_artifact(folder) == after


@pytest.mark.parametrize("name", ["model.keras", "model.tflite"])
@pytest.mark.parametrize("position", [0, 97, -1])
def test_one_flipped_bit_is_noticed_and_the_file_named(folder: Path, name: str, position: int) -> None:
    data = bytearray((folder / name).read_bytes())
    data[position] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=name):
        open_artifact(folder)
    with pytest.raises(ArtifactError, match=name):
        open_artifact(folder, verify=False).read(name)


def test_a_shortened_file_is_noticed(folder: Path) -> None:
    path = folder / "model.keras"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ArtifactError, match=r"model\.keras has 199 bytes instead of 200"):
        open_artifact(folder)


@pytest.mark.parametrize("name", [MANIFEST, "model.keras"])
def test_a_missing_file_is_an_artifact_error(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ArtifactError, match=name):
        open_artifact(folder)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b", "", "..\\b", MANIFEST])
def test_a_manifest_cannot_list_a_path_outside_its_folder(folder: Path, name: str) -> None:
    files = json.loads((folder / MANIFEST).read_text())["files"]
    edit_manifest(folder, files=files | {name: {"bytes": 1, "sha256": "0"}})
    with pytest.raises(ArtifactError, match="may not be part"):
        open_artifact(folder, verify=False)


def test_a_link_out_of_the_folder_is_refused_even_with_the_right_content(
    folder: Path, sources: list[Path]
) -> None:
    (folder / "model.tflite").unlink()
    (folder / "model.tflite").symlink_to(sources[1])
    with pytest.raises(ArtifactError, match="outside"):
        open_artifact(folder)
    with pytest.raises(ArtifactError, match="outside"):
        open_artifact(folder, verify=False).read("model.tflite")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format_version": 2}, "format version 2"),
        ({"labels": []}, "label"),
        ({"labels": ["a", "a"]}, "label"),
        ({"image_size": [0, 32]}, "image size"),
        ({"image_size": [32]}, "image_size"),
        ({"serving": {"runtime": "abacus", "precision": "float32", "bytes": 1}}, "serving/runtime"),
        ({"files": {}}, r"model\.keras"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused_with_the_reason(
    folder: Path, changes: dict[str, Any], message: str
) -> None:
    edit_manifest(folder, **changes)
    with pytest.raises(ArtifactError, match=message):
        open_artifact(folder)


@pytest.mark.parametrize("text", ["", "{", "[]", "{}"])
def test_a_manifest_that_is_no_manifest_is_refused(folder: Path, text: str) -> None:
    (folder / MANIFEST).write_text(text)
    with pytest.raises(ArtifactError, match="not valid"):
        open_artifact(folder)


def test_a_key_that_a_later_version_added_is_ignored(folder: Path) -> None:
    edit_manifest(folder, mood="good")
    assert open_artifact(folder).manifest.network == "tiny_cnn"


def test_no_manifest_appears_when_a_required_file_is_missing(tmp_path: Path, sources: list[Path]) -> None:
    with pytest.raises(ArtifactError, match=r"model\.tflite"):
        write_artifact(tmp_path / "artifact", MANIFEST_WITHOUT_FILES, sources[:1])
    assert not (tmp_path / "artifact" / MANIFEST).exists()


def test_nan_never_enters_a_manifest(tmp_path: Path, sources: list[Path]) -> None:
    with pytest.raises(ValueError, match="JSON"):
        write_artifact(
            tmp_path / "a", replace(MANIFEST_WITHOUT_FILES, metrics={"accuracy": float("nan")}), sources
        )


def test_the_weights_hash_is_over_the_raw_bytes_in_order_whatever_the_memory_layout() -> None:
    a = np.arange(6, dtype=np.float32).reshape(2, 3)
    b = np.float32(2.5)
    expected = hashlib.sha256(a.tobytes() + b.tobytes()).hexdigest()
    assert weights_sha256([a, np.asarray(b)]) == expected
    assert weights_sha256([np.asfortranarray(a), np.asarray(b)]) == expected
    assert weights_sha256([np.asarray(b), a]) != expected
    assert weights_sha256([a + np.float32(1e-7), np.asarray(b)]) != expected


def test_a_manifest_that_changed_since_the_model_was_registered_is_refused(folder: Path) -> None:
    digest = open_artifact(folder).digest
    assert open_artifact(folder, digest=digest).digest == digest
    path = folder / MANIFEST
    path.write_bytes(path.read_bytes().replace(b'"good"', b'"goot"'))
    with pytest.raises(ArtifactError):
        open_artifact(folder, digest=digest)


def test_a_section_that_is_absent_was_not_measured() -> None:
    """As in every manifest of the first release."""
    written = json.loads(MANIFEST_WITHOUT_FILES.to_json())
    assert not set(SECTIONS) & written.keys()
    read = Manifest.from_json(json.dumps(written).encode())
    assert [getattr(read, name) for name in SECTIONS] == [None] * len(SECTIONS)


def test_every_section_comes_back_as_it_was_written() -> None:
    whole = replace(
        MANIFEST_WITHOUT_FILES,
        evaluation_dataset_digest="e" * 64,
        class_map={"drop": ["unclear"]},
        input=Input(resize_rule="stretch", pixel_range=(0, 4095)),
        runtimes=(Runtime("litert", "int8", "model.int8.tflite", parity={"items": 3}),),
        outputs=(
            Output("probabilities", 2),
            Output("features", 1280),
            Output("feature_maps", 62720, (7, 7, 1280)),
        ),
        calibration=Calibration("temperature", 1.5, "valid", 100, log_loss=0.2, log_loss_before=0.3),
        decision=Decision(
            0.95, "valid", 400, 3, (Threshold(0.01, 0.9, 0.8, 320.0, 0.5),), similarity=0.7, lost=0.02
        ),
        reference_features=ReferenceFeatures("features.npy", 100, 1280, "float16"),
        origin=Origin("a" * 64, "mdl_1", "screws", 3),
    )
    assert Manifest.from_json(whole.to_json()) == whole
    assert all(getattr(whole, name) is not None for name in SECTIONS), "a new section belongs into this test"


def test_two_resize_rules_are_one_too_many() -> None:
    with pytest.raises(ArtifactError, match="two resize rules"):
        Manifest.from_json(replace(MANIFEST_WITHOUT_FILES, input=Input(resize_rule="crop")).to_json())
