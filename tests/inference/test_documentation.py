"""What ``docs/artifacts.md`` and ``docs/evaluation.md`` say about the files is so."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from app.artifacts import MANIFEST, Artifact
from app.evaluation.files import FILES
from app.evaluation.metrics import CALIBRATION_BINS, RESAMPLES, evaluate_predictions
from app.evaluation.replay import MISTAKES_KEPT
from app.evaluation.spec import Mistake
from app.images.resize import FIRST_RULE, Resize, ResizeRule, rule_for
from app.inference.predictor import Predictor

DOCS = Path(__file__).parents[2] / "docs"
ARTIFACTS = (DOCS / "artifacts.md").read_text(encoding="utf-8")
EVALUATION = (DOCS / "evaluation.md").read_text(encoding="utf-8")


def keys_of(value: Any) -> Iterator[str]:
    """Every key at every depth."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield key
            yield from keys_of(child)
    elif isinstance(value, list | tuple):
        for child in value:
            yield from keys_of(child)


def words(text: str) -> set[str]:
    """Everything set as code, and the members of a set of braces."""
    return {word for code in re.findall(r"`([^`\n]+)`", text) for word in re.findall(r"[\w.]+", code)}


def test_every_key_of_an_evaluation_is_explained() -> None:
    labels, probabilities = np.array([0, 1]), np.array([[0.6, 0.4], [0.7, 0.3]], np.float32)
    evaluation = asdict(evaluate_predictions(labels, probabilities, ("a", "b")))
    assert set(keys_of(evaluation)) | set(Mistake.model_fields) <= words(EVALUATION)
    assert set(FILES) <= words(EVALUATION)


def test_every_key_of_a_manifest_is_explained(artifact: Artifact) -> None:
    manifest = json.loads((artifact.folder / MANIFEST).read_text())
    manifest["files"] = list(manifest["files"].values())
    assert set(keys_of(manifest)) <= words(ARTIFACTS)
    assert {*artifact.manifest.files, MANIFEST} <= words(ARTIFACTS)


@pytest.mark.parametrize(
    ("text", "statement"),
    [
        (EVALUATION, f"{RESAMPLES:,} times"),
        (EVALUATION, f"{CALIBRATION_BINS} `bins`"),
        (EVALUATION, f"the {MISTAKES_KEPT} most confident"),
        (ARTIFACTS, f"`{FIRST_RULE.name}`"),
        *((ARTIFACTS, f"`{rule_for(resize).name}`") for resize in Resize),
    ],
)
def test_a_number_that_is_set_in_the_code_is_the_one_in_the_text(text: str, statement: str) -> None:
    assert statement in text


@pytest.mark.parametrize("rule", [FIRST_RULE, rule_for("stretch")], ids=["first rule", "second rule"])
def test_the_code_for_use_without_loupe_gives_the_served_answer(
    make_artifact: Callable[..., Artifact],
    rule: ResizeRule,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    artifact = make_artifact(tmp_path / "made", resize_rule=rule.name)
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(artifact.folder, elsewhere / "artifact")
    noise = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise).resize((900, 700)).save(elsewhere / "image.jpg", exif=exif)
    monkeypatch.chdir(elsewhere)

    [code] = re.findall(r"```python\n(.*?)```", ARTIFACTS, re.DOTALL)
    namespace: dict[str, Any] = {}
    exec(code, namespace)

    expected = Predictor(artifact).answer_bytes((elsewhere / "image.jpg").read_bytes())[1].probabilities
    assert list(namespace["answers"].values()) == expected.tolist()
    assert artifact.manifest.labels[int(expected.argmax())] in capsys.readouterr().out
