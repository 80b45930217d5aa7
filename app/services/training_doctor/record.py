"""What the checks look at: all that is recorded of one training, as plain values."""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.datasets.examination.report import Diagnosis
from app.schemas.common import Estimate
from app.schemas.finding import Code, Finding, Level

ROOM = 10
"""By how many times a rate may differ from the usual one."""
_USUAL_OF_OPTIMIZER = {"sgd": 30.0}
"""Plain gradient descent takes larger steps than those that divide by the size of the gradient."""


@dataclass(frozen=True)
class Epoch:
    """Mean loss and accuracy of one pass. ``valid_…``: None in an epoch without validation."""

    number: int
    train_loss: float
    train_accuracy: float
    valid_loss: float | None
    valid_accuracy: float | None


@dataclass(frozen=True)
class FinalTest:
    """The final test. ``counts[i][j]``: images of class ``labels[i]`` that were answered with ``labels[j]``;
    ``accuracy`` over ``items`` images.
    """

    items: int
    accuracy: Estimate
    labels: Sequence[str]
    counts: Sequence[Sequence[int]]


@dataclass(frozen=True)
class TrainingRecord:
    """``settings``: the hyperparameters, resolved; ``asked``: those that differ from the defaults.
    ``options``: what else the command of such a training has, such as ``--evaluation-dataset``.
    ``usual_rate``: the learning rate by default, for such a start. ``images``: of each class that is learned;
    ``counts``: of each split. ``epochs``: so far. ``stop_reason``: None while it runs, and of one that did
    not end well; ``error``: then its code and detail. ``diagnoses``: what the examination of the dataset
    found; None: nothing has looked at its images. ``conflicts``: images that lie in more than one class, as
    the import counts them. ``is_divided``: whether the images came in splits, which a training keeps.
    ``is_tested_elsewhere``: whether another dataset is tested on.
    """

    product: str
    network: str
    dataset: str
    settings: Mapping[str, Any]
    asked: Mapping[str, Any]
    usual_rate: float
    images: Mapping[str, int]
    counts: Mapping[str, int]
    epochs: Sequence[Epoch]
    options: Sequence[str] = ()
    stop_reason: str | None = None
    error: tuple[str, str] | None = None
    tested: FinalTest | None = None
    least_accuracy: float = 0.0
    is_divided: bool = False
    is_tested_elsewhere: bool = False
    diagnoses: Sequence[Diagnosis] | None = None
    conflicts: int = 0

    @property
    def is_descent(self) -> bool:
        """Whether it learns step by step."""
        return self.settings.get("method") != "linear"

    @property
    def has_ended(self) -> bool:
        return self.stop_reason is not None

    @property
    def planned_epochs(self) -> int:
        return int(self.settings.get("epochs") or 0)

    @property
    def validated(self) -> list[Epoch]:
        return [epoch for epoch in self.epochs if epoch.valid_loss is not None]

    @property
    def best(self) -> Epoch | None:
        """The epoch of the highest validation accuracy; of equal ones that of the lowest loss."""
        return max(
            self.validated,
            key=lambda epoch: (epoch.valid_accuracy or 0.0, -(epoch.valid_loss or 0.0)),
            default=None,
        )

    @property
    def rate(self) -> float:
        return float(self.settings.get("learning_rate") or self.usual_rate)

    @property
    def expected_rate(self) -> float:
        """What is usual for such a start and optimizer."""
        return self.usual_rate * _USUAL_OF_OPTIMIZER.get(str(self.settings.get("optimizer")), 1.0)

    @property
    def shares(self) -> dict[str, float]:
        """Of the images, by class."""
        total = sum(self.images.values())
        return {name: number / total for name, number in self.images.items()} if total else {}

    @property
    def ignorance(self) -> float:
        """The loss of who answers every image with the shares of the classes, in nats: their entropy. It is
        log(classes) where all have as many images.
        """
        return -sum(share * math.log(share) for share in self.shares.values() if share > 0)

    @property
    def weighted_ignorance(self) -> float:
        """The loss of who holds all classes for equally probable, weighted as the training weighs it."""
        given = self.settings.get("class_weights")
        weights = given if isinstance(given, Mapping) else {}
        mean = sum(share * float(weights.get(name, 1.0)) for name, share in self.shares.items())
        return math.log(max(2, len(self.images))) * (mean or 1.0)

    @property
    def counted_shares(self) -> dict[str, float]:
        """Of the loss, by class: what its images weigh."""
        given = self.settings.get("class_weights")
        if given == "balanced":
            return {name: 1 / len(self.images) for name in self.images}
        weights = given if isinstance(given, Mapping) else {}
        parts = {name: share * float(weights.get(name, 1.0)) for name, share in self.shares.items()}
        total = sum(parts.values())
        return {name: part / total for name, part in parts.items()} if total else {}

    @property
    def majority(self) -> float:
        """The accuracy of who answers every image with the largest class."""
        return max(self.shares.values(), default=1.0)

    def train_again(self, **changes: Any) -> str:
        """The command of the same training with other settings."""
        words = ["loupe", "train", self.product, "--dataset", self.dataset, "--network", self.network]
        words += self.options
        for name, value in {**self.asked, **changes}.items():
            text = value if isinstance(value, str) else json.dumps(value)
            words += ["--set", f"{name}={text}"]
        return shlex.join(words)


def finding(
    code: Code,
    level: Level,
    what: str,
    evidence: str,
    advice: str,
    *,
    record: TrainingRecord | None = None,
    settings: Mapping[str, Any] | None = None,
    command: str | None = None,
    classes: Sequence[str] = (),
    dataset: str | None = None,
) -> Finding:
    """``settings``: of another training of ``record``, for which the command is made."""
    if settings and record is not None:
        command = record.train_again(**settings)
    return Finding(
        code=code,
        level=level,
        finding=what,
        evidence=evidence,
        advice=advice,
        settings=dict(settings or {}),
        command=command,
        classes=list(classes),
        dataset=dataset,
    )


def look_into(dataset: str) -> str:
    return f"loupe dataset report {dataset}"


def nats(loss: float) -> str:
    """A loss to be read: three decimals, or none of a large one."""
    if loss >= 1e6:
        return f"{loss:.1e}"
    return f"{loss:,.0f}" if loss >= 100 else f"{loss:.3f}"


def per_cent(share: float) -> str:
    return f"{100 * share:.1f} %"
