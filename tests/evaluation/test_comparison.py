"""The champion is asked about the test images of a new model: real images, a real packaged champion."""

from __future__ import annotations

import csv
import hashlib
import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.artifacts import Artifact
from app.child import Reporter, StopSignal
from app.datasets.manifest import Item, create_manifest, write_manifest
from app.errors import TrainingError
from app.evaluation.comparison import MOST_IMAGES, choose_asked, compare_with_champion, count_answers
from app.evaluation.comparison_spec import ChampionAnswer, Comparison, ComparisonSpec
from app.schemas.gate import GateRules
from app.services.promotion import Champion, Figures, decide
from tests.evaluation.test_replay import Pictures

MILDLY_GREEN = (90, 120, 60)
"""Its brightest channel is green."""


class Case:
    """A dataset of which some images are tested, and what a new model answers to them."""

    def __init__(self, folder: Path, champion: Artifact) -> None:
        folder.mkdir()
        self.folder, self.champion = folder, champion
        self.pictures = Pictures(folder)
        self.split: dict[str, str] = {}
        self.is_right: dict[str, bool] = {}
        self.champion_split: dict[str, str] | None = {}

    def add(self, label: str, colour: Any, split: str, *, right: bool = True, champion: str = "") -> Item:
        """``right``: whether the new model's answer is. ``champion``: the split that it is in there."""
        item = self.pictures.add(label, colour)
        self.split[item.id] = split
        if split == "test":
            self.is_right[item.id] = right
        if champion:
            assert self.champion_split is not None
            self.champion_split[item.id] = champion
        return item

    def spec(self) -> ComparisonSpec:
        dataset = self.folder / "dataset"
        dataset.mkdir(exist_ok=True)
        write_manifest(dataset, create_manifest(self.pictures.items))
        with (self.folder / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            # A class may be called as a column is.
            writer.writerow(["item", "name", "label", "predicted", "label", "item"])
            for item in self.pictures.items:
                if item.id in self.is_right:
                    answer = item.label if self.is_right[item.id] else "another"
                    writer.writerow([item.id, item.name, item.label, answer, 0.5, 0.5])
        values: dict[str, Any] = {
            "champion": self.champion.folder,
            "champion_digest": self.champion.digest,
            "image_root": self.folder / "images",
            "dataset": dataset,
            "answers": self.folder / "predictions.csv",
            "classes": ("blue", "green", "red"),
            "learned": self._learned("split.json", self.split),
        }
        if self.champion_split is not None:
            values["champion_learned"] = self._learned("champion.json", self.champion_split)
        return ComparisonSpec.model_validate(values)

    def _learned(self, name: str, split: dict[str, str]) -> dict[str, Path]:
        (self.folder / name).write_text(json.dumps(split))
        return {"dataset": self.folder / "dataset", "split": self.folder / name}

    def compare(self, **changes: Any) -> ChampionAnswer:
        spec = self.spec().model_copy(update=changes)
        with closing(Reporter(self.folder / "progress.jsonl")) as reporter:
            return compare_with_champion(spec, self.folder, reporter, StopSignal())

    def found(self, **changes: Any) -> Comparison:
        answer = self.compare(**changes)
        assert answer.found is not None, answer.reason
        return answer.found


@pytest.fixture
def case(tmp_path: Path, artifact: Artifact) -> Case:
    return Case(tmp_path / "case", artifact)


def test_a_champion_of_easy_images_loses_to_a_better_model_on_harder_ones(case: Case) -> None:
    """In a process of its own, as the worker starts it; the rule decides from what it answers."""
    for _ in range(6):
        case.add("red", "red", "test")
    for number in range(30):
        case.add("red", MILDLY_GREEN, "test", right=number >= 2)
    folder = case.folder / "child"
    folder.mkdir()
    (folder / "spec.json").write_bytes(case.spec().model_dump_json().encode())
    command = [sys.executable, "-m", "app.evaluation.comparison", str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as child:
        assert child.wait(60) == 0
    answer = ChampionAnswer.model_validate_json((folder / "result.json").read_bytes())
    assert answer.found is not None
    assert answer.found == case.found(), "each run finds the same"
    assert (answer.found.images, answer.found.new_right, answer.found.champion_right) == (36, 34, 6)
    assert (answer.found.only_new, answer.found.only_champion) == (28, 0)
    decision = decide(
        GateRules(min_accuracy=0.5),
        Figures(34 / 36, ("blue", "green", "red")),
        Champion("mdl_easy", case.champion.manifest.labels, answer),
    )
    assert decision is not None
    assert decision.becomes_champion


def test_a_worse_model_does_not_take_the_place(case: Case) -> None:
    for number in range(30):
        case.add("red", "red", "test", right=number >= 9)
    found = case.found()
    assert (found.only_new, found.only_champion) == (0, 9)


def test_images_that_one_of_both_was_trained_on_are_left_out(case: Case) -> None:
    case.add("red", "red", "train")
    case.add("red", "red", "test", champion="train")
    case.add("red", "red", "test", champion="valid")
    case.add("red", "red", "test", champion="test")
    case.add("red", "red", "test")
    assert (case.found().images, case.found().left_out) == (2, 2)


def test_where_the_champions_images_are_not_known_all_are_asked(case: Case) -> None:
    case.add("red", "red", "test", champion="train")
    case.champion_split = None
    assert (case.found().images, case.found().knows_champion_training) == (1, False)


@pytest.mark.parametrize("lost", ["dataset", "split"])
def test_a_champion_whose_dataset_or_split_is_damaged_is_asked_about_all(case: Case, lost: str) -> None:
    case.add("red", "red", "test", champion="train")
    learned = case.spec().champion_learned
    assert learned is not None
    damaged = case.folder / "damaged"
    damaged.write_text("{")
    found = case.found(champion_learned=learned.model_copy(update={lost: damaged}))
    assert (found.images, found.knows_champion_training) == (1, False)


def test_only_images_of_classes_that_both_know_are_compared(case: Case) -> None:
    case.add("red", "red", "test")
    case.add("purple", "purple", "test")
    assert case.found().images == 1


@pytest.mark.parametrize("name", ["model.tflite", "model.keras", "manifest.json"])
def test_a_champion_whose_files_are_damaged_is_broken(case: Case, name: str) -> None:
    case.add("red", "red", "test")
    path = case.champion.folder / name
    path.write_bytes(path.read_bytes() + b" ")
    answer = case.compare()
    assert (answer.is_broken, answer.found) == (True, None)
    assert name in (answer.reason or "")
    path.unlink()
    assert case.compare().is_broken


def test_a_champion_of_a_newer_release_is_not_broken(case: Case) -> None:
    case.add("red", "red", "test")
    path = case.champion.folder / "manifest.json"
    newer = json.loads(path.read_bytes()) | {"format_version": 99}
    path.write_text(json.dumps(newer))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    with pytest.raises(TrainingError, match="newer release"):
        case.compare(champion_digest=digest)


def test_images_of_one_whole_speak_once(case: Case) -> None:
    items = [case.add("red", "red", "test") for _ in range(5)]
    asked = [(item, "part7" if number < 3 else item.id) for number, item in enumerate(items)]
    right = [True, True, False, False, True]
    new = {item.id: is_right for item, is_right in zip(items, right, strict=True)}
    champion = {item.id: not is_right for item, is_right in zip(items, right, strict=True)}
    assert count_answers(asked, new, champion) == {
        "images": 5,
        "counted": 3,
        "new_right": 3,
        "champion_right": 2,
        "only_new": 2,
        "only_champion": 1,
    }


def test_a_slow_champion_is_asked_less_and_always_about_the_same() -> None:
    item = Item("", "a/0.png", "a", None, 8, 8, "png", "0" * 64, 100)
    many = [(Item(**{**_fields(item), "id": f"img_{n:05d}"}), "") for n in range(MOST_IMAGES + 5)]
    assert len(choose_asked(many, 5.0)) == len(choose_asked(many, None)) == MOST_IMAGES
    assert [one.id for one, _ in choose_asked(many[::-1], 60_000.0)] == [f"img_{n:05d}" for n in range(5)]


def _fields(item: Item) -> dict[str, Any]:
    return {name: getattr(item, name) for name in Item.__dataclass_fields__}
