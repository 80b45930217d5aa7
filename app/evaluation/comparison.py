"""Asks the champion about the test images of a new model: ``python -m app.evaluation.comparison FOLDER``.

Images that either was trained on are left out. Which images are asked depends on the two models and their
datasets alone, so that each run finds the same.
"""

from __future__ import annotations

import csv
import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from app.artifacts import Artifact, open_artifact
from app.artifacts.manifest import MANIFEST
from app.child import Reporter, StopSignal, run_child
from app.datasets.class_map import apply_class_map
from app.datasets.manifest import Item
from app.datasets.near_groups import load_dataset
from app.datasets.unseen import find_learned, leave_out_learned
from app.errors import ArtifactError, DatasetError, TrainingError
from app.evaluation.answers import ask_about
from app.evaluation.comparison_spec import ChampionAnswer, Comparison, ComparisonSpec, Learned
from app.inference.predictor import Predictor

MOST_IMAGES = 2000
MOST_CORE_SECONDS = 300.0
"""Of a slow champion: fewer images are asked, by the time that it took when it was made."""


def compare_with_champion(
    spec: ComparisonSpec, _folder: Path, reporter: Reporter, stop: StopSignal
) -> ChampionAnswer:
    """The comparison child's work.

    Raises DatasetError where an image or a dataset that the new model was made of cannot be read,
    TrainingError for a champion that this release cannot ask, and Released when asked to leave. A champion
    whose files are lost or damaged is an answer, no error.
    """
    try:
        artifact = _open_champion(spec)
    except ArtifactError as error:
        return ChampionAnswer(is_broken=True, reason=error.detail)
    predictor = Predictor(artifact)
    is_right = _read_answers(spec.answers)
    dataset = apply_class_map(load_dataset(spec.dataset), spec.class_map)
    tested = [item for item in dataset.items if item.id in is_right and item.label in spec.classes]
    known = None if spec.champion_learned is None else _read_learned(spec.champion_learned)
    unseen = leave_out_learned(tested, [*_require_learned(spec.learned), *(known or ())])
    asked = choose_asked(unseen, artifact.manifest.serving.milliseconds)
    items = [item for item, _ in asked]
    outcomes = ask_about(predictor, items, spec.image_root, reporter, stop)[0] if items else []
    answers = [predictor.labels[outcome.probabilities.argmax()] for outcome in outcomes]
    champion_is_right = {item.id: answer == item.label for item, answer in zip(items, answers, strict=True)}
    return ChampionAnswer(
        found=Comparison(
            **count_answers(asked, is_right, champion_is_right),
            left_out=len(tested) - len(unseen),
            not_asked=len(unseen) - len(asked),
            knows_champion_training=known is not None,
        )
    )


def choose_asked(unseen: Sequence[tuple[Item, str]], milliseconds: float | None) -> list[tuple[Item, str]]:
    """The images to ask about, of all in the order of their ids, which is as good as drawn.

    ``milliseconds``: what the champion takes for one; None: not known.
    """
    most = MOST_IMAGES
    if milliseconds is not None:
        most = min(most, int(MOST_CORE_SECONDS * 1000 / max(milliseconds, 1.0)))
    return sorted(unseen, key=lambda pair: pair[0].id)[:most]


def count_answers(
    asked: Sequence[tuple[Item, str]], new: Mapping[str, bool], champion: Mapping[str, bool]
) -> dict[str, int]:
    """The right answers of both, by item id, and how many wholes speak for either: each counts once."""
    advantage: dict[str, int] = defaultdict(int)
    for item, whole in asked:
        advantage[whole] += new[item.id] - champion[item.id]
    return {
        "images": len(asked),
        "counted": len(advantage),
        "new_right": sum(new[item.id] for item, _ in asked),
        "champion_right": sum(champion[item.id] for item, _ in asked),
        "only_new": sum(number > 0 for number in advantage.values()),
        "only_champion": sum(number < 0 for number in advantage.values()),
    }


def _open_champion(spec: ComparisonSpec) -> Artifact:
    """Raises ArtifactError where its files are lost or damaged, and TrainingError where they are whole."""
    try:
        artifact = open_artifact(spec.champion, verify=False, digest=spec.champion_digest)
    except ArtifactError as error:
        if _digest_of(spec.champion / MANIFEST) == spec.champion_digest:
            raise TrainingError(f"A newer release made it: {error.detail}") from error
        raise
    artifact.verify()
    return artifact


def _digest_of(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return None


def _read_answers(path: Path) -> dict[str, bool]:
    """Whether the new model answered each of its test images rightly, by item id."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        # By place: a class may be called as a column is.
        return {row[0]: row[2] == row[3] for row in rows}


def _require_learned(learned: Learned) -> list[Item]:
    split: dict[str, str] = json.loads(learned.split.read_text(encoding="utf-8"))
    return find_learned(load_dataset(learned.dataset).items, split)


def _read_learned(learned: Learned) -> list[Item] | None:
    """None where the dataset or its split cannot be read any more."""
    try:
        return _require_learned(learned)
    except (DatasetError, OSError, ValueError):
        return None


if __name__ == "__main__":
    sys.exit(run_child(compare_with_champion, ComparisonSpec, Path(sys.argv[1])))
