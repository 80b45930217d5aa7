"""Evaluations as the page's maker gets them, without a training."""

from __future__ import annotations

import hashlib
import io
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from app.child import Reporter, StopSignal, write_message
from app.datasets.manifest import Item, image_path
from app.evaluation.analysis.curves import draw_curves
from app.evaluation.analysis.files import CURVES
from app.evaluation.metrics import evaluate_predictions
from app.evaluation.page.spec import (
    PAGE,
    Epoch,
    Example,
    Fact,
    Facts,
    Finding,
    PageResult,
    PageSpec,
    Training,
)
from app.evaluation.page.work import make_page
from app.evaluation.spec import EvaluationContent
from app.schemas.evaluation import Evaluation

MEMORY_BYTES = 2**31


def store_image(root: Path, name: str, label: str, number: int = 0) -> Item:
    """A small image among the originals."""
    buffer = io.BytesIO()
    Image.new("RGB", (300, 200), (number % 256, 90, 200)).save(buffer, "PNG")
    data = buffer.getvalue()
    sha256 = hashlib.sha256(data).hexdigest()
    path = image_path(root, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return Item(f"img_{number}", name, label, None, 300, 200, "png", sha256, len(data))


def spec_of(
    folder: Path,
    classes: tuple[str, ...],
    labels: Any,
    probabilities: Any,
    unknown: tuple[str, ...] = (),
    **changes: Any,
) -> PageSpec:
    """The page of an evaluation of labels, int (n,), and probabilities, float32 (n, c)."""
    labels, probabilities = np.asarray(labels), np.asarray(probabilities, np.float32)
    content = EvaluationContent(
        artifact_digest="a" * 64,
        dataset_digest="d" * 64,
        subset="test",
        mistakes=(),
        **vars(evaluate_predictions(labels, probabilities, classes, unknown)),
    ).model_dump(mode="json")
    kept = {name: content[name] for name in Evaluation.model_fields if name in content}
    names = (*classes, *unknown)
    write_message(folder / CURVES, draw_curves(labels, probabilities, names))
    answered = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(answered != labels)[:24].tolist()
    fields: dict[str, Any] = {
        "product": "screws",
        "model": "model 1",
        "evaluation": Evaluation(
            id="evl_1", job="job_1", model="mdl_1", dataset="dst_1", created_at=datetime.now(UTC), **kept
        ),
        "analysis": folder,
        "images": folder / "images",
        "pixel_range": None,
        "memory_bytes": MEMORY_BYTES,
        "mistakes": tuple(
            Example(
                item=f"img_{row}",
                name=f"{names[labels[row]]}/{row}.png",
                true=names[labels[row]],
                predicted=names[answered[row]],
                probability=float(probabilities[row].max()),
                of_true=0.1,
                image=store_image(folder / "images", f"{row}.png", names[labels[row]], row),
            )
            for row in wrong
        ),
        "total_mistakes": len(wrong),
        "doubtful": (),
        "training": Training(
            epochs=tuple(
                Epoch(
                    epoch=number,
                    step=10 * number,
                    train_loss=1 / number,
                    train_accuracy=0.5,
                    valid_loss=None if number == 1 else 1.5 / number,
                    valid_accuracy=None if number == 1 else 0.5,
                    is_best=number == 2,
                )
                for number in (1, 2, 3)
            ),
            learning_rates=((1, 0.01), (30, 0.001)),
        ),
        "is_examined": False,
        "findings": (Finding(level="warning", text="2 images are there twice", advice="Remove one."),),
        "training_findings": (
            Finding(
                level="error",
                text="nothing is learned",
                evidence="The train loss went from 1.1 to 1.1.",
                advice="Look at the labels.",
                command="loupe dataset report dst_1",
            ),
        ),
        "facts": (Facts(heading="Model", facts=(Fact(name="network", value="tiny_cnn"),)),),
    }
    return PageSpec(**{**fields, **changes})


def make(folder: Path, spec: PageSpec) -> tuple[str, PageResult]:
    """The page, made in this process."""
    with closing(Reporter(folder / "progress.jsonl")) as reporter:
        result = make_page(spec, folder, reporter, StopSignal())
    return (folder / PAGE).read_text(encoding="utf-8"), result
