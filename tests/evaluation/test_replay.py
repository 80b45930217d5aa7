"""The evaluation child: original bytes in, the numbers of the served path out."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.artifacts import Artifact
from app.child import ExitCode, Released, Reporter, StopSignal, write_message
from app.datasets.manifest import Item, Split, create_manifest, image_path, item_id, write_manifest
from app.errors import ArtifactError, DatasetError
from app.evaluation.files import EVALUATION, PREDICTIONS, PROBABILITIES, REPORT
from app.evaluation.replay import evaluate_artifact
from app.evaluation.spec import EvaluationSpec
from app.inference.predictor import Predictor
from tests.waiting import wait_for


@dataclass
class Pictures:
    """A dataset that grows in a test: images of one colour, of all sizes."""

    root: Path
    items: list[Item] = field(default_factory=list)

    def add(
        self, label: str, colour: str | tuple[int, int, int], split: Split | None = None, kind: str = "PNG"
    ) -> Item:
        number = len(self.items)
        buffer = io.BytesIO()
        width, height = 20 + 7 * number, 40 + number
        Image.new("RGB", (width, height), colour).save(buffer, kind)
        data = buffer.getvalue()
        sha256 = hashlib.sha256(data).hexdigest()
        path = image_path(self.root / "images", sha256)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        name = f"{label}/{number}.{kind.lower()}"
        identity = item_id(label, split, name, sha256)
        item = Item(identity, name, label, split, width, height, kind.lower(), sha256, len(data))
        self.items.append(item)
        return item

    def spec(
        self, artifact: Artifact, split: dict[str, str] | None = None, subset: str | None = None
    ) -> dict[str, Any]:
        dataset = self.root / "dataset"
        dataset.mkdir(exist_ok=True)
        write_manifest(dataset, create_manifest(self.items))
        if split is not None:
            (self.root / "split.json").write_text(json.dumps(split))
        return {
            "artifact": str(artifact.folder),
            "image_root": str(self.root / "images"),
            "dataset": str(dataset),
            "split": None if split is None else str(self.root / "split.json"),
            "subset": subset,
        }


@pytest.fixture
def pictures(tmp_path: Path) -> Pictures:
    (tmp_path / "data").mkdir()
    return Pictures(tmp_path / "data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "child").mkdir()
    return tmp_path / "child"


def evaluate(spec: dict[str, Any], folder: Path, *, release: bool = False) -> dict[str, Any]:
    stop = StopSignal()
    stop.release = release
    with closing(Reporter(folder / "progress.jsonl")) as reporter:
        result = evaluate_artifact(EvaluationSpec.model_validate(spec), folder, reporter, stop)
    return result.evaluation.model_dump(mode="json")


def replayed(folder: Path) -> list[str]:
    """Ids of the images that were replayed."""
    with (folder / PREDICTIONS).open(encoding="utf-8", newline="") as file:
        return [row["item"] for row in csv.DictReader(file)]


def start_child(spec: dict[str, Any], folder: Path) -> subprocess.Popen[bytes]:
    (folder / "spec.json").write_text(json.dumps(spec))
    return start_process(str(folder))


def start_process(*arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "app.evaluation", *arguments]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)


def test_the_child_leaves_the_same_numbers_in_every_file(
    pictures: Pictures, artifact: Artifact, folder: Path
) -> None:
    pictures.add("red", "red", kind="JPEG")
    pictures.add("green", "lime", kind="BMP")
    pictures.add("blue", "blue", kind="GIF")
    wrong = pictures.add("blue", (200, 30, 40), kind="WEBP")
    with start_child(pictures.spec(artifact), folder) as child:
        assert child.wait(timeout=60) == ExitCode.SUCCEEDED

    evaluation = json.loads((folder / EVALUATION).read_text())
    result = json.loads((folder / "result.json").read_text())
    assert result.pop("milliseconds") >= 0
    assert result == {"evaluation": evaluation}
    assert evaluation["items"] == 4
    assert evaluation["metrics"]["accuracy"]["value"] == 0.75
    assert evaluation["confusion_matrix"]["labels"] == ["red", "green", "blue"]
    assert evaluation["confusion_matrix"]["counts"] == [[1, 0, 0], [0, 1, 0], [1, 0, 1]]
    assert evaluation["artifact_digest"] == artifact.digest
    assert evaluation["subset"] == "all"

    with (folder / PREDICTIONS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    served = Predictor(artifact)
    by_id = {item.id: item for item in pictures.items}
    for row, saved in zip(rows, np.load(folder / PROBABILITIES), strict=True):
        item = by_id[row["item"]]
        _, outcome = served.answer_bytes(image_path(pictures.root / "images", item.sha256).read_bytes())
        answer = outcome.probabilities
        assert np.array([row[label] for label in served.labels], np.float32).tobytes() == answer.tobytes()
        assert saved.tobytes() == answer.tobytes()
        assert (row["name"], row["label"]) == (item.name, item.label)
        assert row["predicted"] == served.labels[answer.argmax()]

    [mistake] = evaluation["mistakes"]
    assert mistake == {
        "item": wrong.id,
        "name": wrong.name,
        "true": "blue",
        "predicted": "red",
        "probability": pytest.approx(float(next(row["red"] for row in rows if row["item"] == wrong.id))),
    }
    report = (folder / REPORT).read_text()
    assert report.startswith("all accuracy: 0.75000")
    assert wrong.name in report
    progress = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    assert progress[0]["stage"] == "evaluating"
    assert (progress[-1]["done"], progress[-1]["total"]) == (4, 4)


def test_only_the_pictures_of_the_subset_are_replayed(
    pictures: Pictures, artifact: Artifact, folder: Path
) -> None:
    kept = pictures.add("red", "red", split="train")
    other = pictures.add("green", "lime", split="test")
    in_neither = pictures.add("blue", "blue")
    image_path(pictures.root / "images", in_neither.sha256).unlink()
    evaluate(pictures.spec(artifact, {kept.id: "test", other.id: "train"}, "test"), folder)
    assert replayed(folder) == [kept.id]


def test_without_a_split_of_the_job_the_dataset_s_own_counts(
    pictures: Pictures, artifact: Artifact, folder: Path
) -> None:
    pictures.add("red", "red", split="train")
    kept = pictures.add("green", "lime", split="test")
    assert evaluate(pictures.spec(artifact, subset="test"), folder)["subset"] == "test"
    assert replayed(folder) == [kept.id]


def test_a_dataset_with_some_of_the_classes_is_scored_by_the_model_s_labels(
    pictures: Pictures, artifact: Artifact, folder: Path
) -> None:
    pictures.add("blue", "blue")
    evaluation = evaluate(pictures.spec(artifact), folder)
    assert evaluation["metrics"]["accuracy"]["value"] == 1
    assert [(score["name"], score["support"]) for score in evaluation["classes"]] == [
        ("red", 0),
        ("green", 0),
        ("blue", 1),
    ]


def test_at_most_200_mistakes_are_kept_and_all_are_in_the_report(
    pictures: Pictures, artifact: Artifact, folder: Path
) -> None:
    for _ in range(205):
        pictures.add("blue", "red")
    assert len(evaluate(pictures.spec(artifact), folder)["mistakes"]) == 200
    assert "Wrong images (205)" in (folder / REPORT).read_text()


def test_pictures_of_classes_that_the_model_does_not_know_count_as_wrong_and_are_named(
    pictures: Pictures, artifact: Artifact, folder: Path
) -> None:
    pictures.add("red", "red")
    pictures.add("blue", "blue")
    pictures.add("blue", "red")
    pictures.add("pink", (200, 100, 100))
    pictures.add("azure", (0, 100, 200))
    evaluation = evaluate(pictures.spec(artifact), folder)
    assert evaluation["unknown_classes"] == [{"name": "azure", "items": 1}, {"name": "pink", "items": 1}]
    assert evaluation["metrics"]["accuracy"]["value"] == 2 / 5
    assert evaluation["accuracy_of_known_classes"]["value"] == 2 / 3
    assert evaluation["confusion_matrix"] == {
        "labels": ["red", "green", "blue", "azure", "pink"],
        "counts": [
            [1, 0, 0, 0, 0],
            [0, 0, 0, 0, 0],
            [1, 0, 1, 0, 0],
            [0, 0, 1, 0, 0],
            [1, 0, 0, 0, 0],
        ],
    }
    assert sorted((mistake["true"], mistake["predicted"]) for mistake in evaluation["mistakes"]) == [
        ("azure", "blue"),
        ("blue", "red"),
        ("pink", "red"),
    ]
    with (folder / PREDICTIONS).open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["item", "name", "label", "predicted", "red", "green", "blue"]
    assert {row["label"] for row in rows} == {"red", "blue", "pink", "azure"}
    assert np.load(folder / PROBABILITIES).shape == (5, 3)
    report = (folder / REPORT).read_text()
    assert "does not know, all answered wrongly: azure 1, pink 1" in report
    assert "accuracy on the classes that it knows: 0.66667" in report


def test_a_dataset_of_unknown_classes_alone_is_all_wrong(
    pictures: Pictures, artifact: Artifact, folder: Path
) -> None:
    for _ in range(3):
        pictures.add("pink", "pink")
    evaluation = evaluate(pictures.spec(artifact), folder)
    assert evaluation["accuracy_of_known_classes"] is None
    metrics = evaluation["metrics"]
    assert (metrics["accuracy"]["value"], metrics["balanced_accuracy"]["value"]) == (0, 0)
    assert (metrics["top_k"]["k"], metrics["top_k"]["value"]) == (3, 0)
    # As docs/evaluation.md says of an impossible answer.
    assert metrics["log_loss"] == pytest.approx(15.94, abs=0.01)
    assert evaluation["classes"][-1] == {"name": "pink", "precision": 0, "recall": 0, "f1": 0, "support": 3}
    assert "accuracy on the classes that it knows: no images" in (folder / REPORT).read_text()


def test_a_subset_without_pictures_is_an_error(pictures: Pictures, artifact: Artifact, folder: Path) -> None:
    item = pictures.add("red", "red")
    with pytest.raises(DatasetError, match="no images to evaluate in test"):
        evaluate(pictures.spec(artifact, {item.id: "train"}, "test"), folder)


def test_an_original_that_changed_on_disk_is_not_measured(
    pictures: Pictures, artifact: Artifact, folder: Path
) -> None:
    item = pictures.add("red", "red")
    path = image_path(pictures.root / "images", item.sha256)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=item.name):
        evaluate(pictures.spec(artifact), folder)


def test_a_damaged_artifact_ends_the_child_with_the_reason(
    pictures: Pictures, artifact: Artifact, folder: Path
) -> None:
    pictures.add("red", "red")
    (artifact.folder / "model.keras").write_bytes(b"")
    with start_child(pictures.spec(artifact), folder) as child:
        assert child.wait(timeout=60) == ExitCode.FAILED
    error = json.loads((folder / "error.json").read_text())
    assert error["code"] == ArtifactError.code
    assert "model.keras" in error["detail"]
    assert not (folder / "result.json").exists()


def test_a_child_that_is_asked_to_leave_does_so_without_a_result(
    pictures: Pictures, artifact: Artifact, folder: Path
) -> None:
    for _ in range(40):
        pictures.add("red", "red")
    held_up = image_path(
        pictures.root / "images", sorted(pictures.items, key=lambda item: item.name)[0].sha256
    )
    data = held_up.read_bytes()
    held_up.unlink()
    os.mkfifo(held_up)
    with start_child(pictures.spec(artifact), folder) as child:
        with held_up.open("wb") as writer:  # opens once the child reads the image
            child.send_signal(signal.SIGTERM)
            writer.write(data)
        assert child.wait(timeout=60) == ExitCode.RELEASED
    assert not (folder / "result.json").exists()
    assert not (folder / EVALUATION).exists()


def test_leaving_does_not_wait_for_the_rest(pictures: Pictures, artifact: Artifact, folder: Path) -> None:
    for _ in range(5):
        pictures.add("red", "red")
    with pytest.raises(Released):
        evaluate(pictures.spec(artifact), folder, release=True)
    assert '"progress"' not in (folder / "progress.jsonl").read_text()


def test_a_child_that_was_started_early_waits_for_its_spec_and_leaves_when_asked(
    pictures: Pictures, artifact: Artifact, folder: Path
) -> None:
    pictures.add("red", "red")
    spec = pictures.spec(artifact)
    with start_process("--wait", str(folder)) as child:
        wait_for((folder / "progress.jsonl").exists, 60, "the start")
        assert child.poll() is None
        write_message(folder / "spec.json", EvaluationSpec.model_validate(spec))
        assert child.wait(timeout=60) == ExitCode.SUCCEEDED
    other = folder / "other"
    other.mkdir()
    with start_process("--wait", str(other)) as child:
        wait_for((other / "progress.jsonl").exists, 60, "the start")
        child.terminate()
        assert child.wait(timeout=60) == ExitCode.RELEASED
