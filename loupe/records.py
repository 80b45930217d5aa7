"""What the server answers, with the fields that programs use most. ``data`` is the whole answer.

Shares and probabilities are from 0 to 1, times are aware datetimes in UTC.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    import pandas

Data = Mapping[str, Any]
R = TypeVar("R", bound="Record")
Status = Literal["queued", "running", "paused", "succeeded", "failed", "cancelled"]


@dataclass(frozen=True)
class Record:
    data: Data = field(repr=False, compare=False)

    @classmethod
    def of(cls: type[R], data: Data) -> R:
        """Takes the fields that it has from an answer; what a newer server adds is in ``data``."""
        names = [one.name for one in fields(cls) if one.name != "data"]
        return cls(data=data, **{name: _value(name, data.get(name)) for name in names})


def _value(name: str, value: Any) -> Any:
    return datetime.fromisoformat(value) if name.endswith("_at") and isinstance(value, str) else value


@dataclass(frozen=True)
class Product(Record):
    """``champion``: id of the model that answers predictions, None before there is one."""

    id: str
    name: str
    default_network: str | None
    champion: str | None
    created_at: datetime


@dataclass(frozen=True)
class Dataset(Record):
    """``job``: the id of its import. ``items``: images, None while it is importing."""

    id: str
    product: str
    status: Literal["importing", "ready", "failed"]
    source: str
    digest: str | None
    items: int | None
    skipped: int | None
    job: str | None
    created_at: datetime

    @property
    def classes(self) -> dict[str, int]:
        """Images of each class."""
        return {one["name"]: one["count"] for one in self.data["classes"]}


@dataclass(frozen=True)
class Report(Record):
    """What an import noticed; all of it in ``data``."""

    dataset: str
    advice: list[str]


@dataclass(frozen=True)
class Job(Record):
    """``model``: id of what came out of it. ``error``: a problem document."""

    id: str
    kind: str
    status: Status
    stage: str | None
    product: str
    network: str | None
    hyperparameters: dict[str, Any] | None
    model: str | None
    error: dict[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @property
    def has_ended(self) -> bool:
        return self.status in ("succeeded", "failed", "cancelled")

    @property
    def fraction(self) -> float:
        """How much of it is done, 0 to 1."""
        return float(self.data["progress"]["fraction"])

    @property
    def eta_seconds(self) -> float | None:
        eta: float | None = self.data["progress"].get("eta_seconds")
        return eta

    @property
    def became_champion(self) -> bool:
        """Whether its model became the product's champion when it ended."""
        return bool((self.data.get("gate") or {}).get("became_champion"))


@dataclass(frozen=True)
class Event(Record):
    number: int
    type: str
    created_at: datetime

    @property
    def details(self) -> dict[str, Any]:
        return dict(self.data["data"])


@dataclass(frozen=True)
class Metrics(Record):
    """Series of a training. ``epochs``: one dict an epoch; ``steps``: one a step; ``test``: the final
    test."""

    job: str
    epochs: list[dict[str, Any]]
    steps: list[dict[str, Any]]
    best: dict[str, Any] | None
    test: dict[str, Any] | None

    def to_pandas(self, series: Literal["epochs", "steps"] = "epochs") -> pandas.DataFrame:
        """One row an epoch or a step, indexed by it. Needs pandas."""
        import pandas

        frame = pandas.DataFrame(getattr(self, series))
        return frame.set_index("epoch" if series == "epochs" else "step") if len(frame) else frame


@dataclass(frozen=True)
class Evaluation(Record):
    """How good a model is on images that it never saw."""

    id: str
    job: str
    model: str | None
    dataset: str
    items: int

    @property
    def accuracy(self) -> float:
        return float(self.data["metrics"]["accuracy"]["value"])

    @property
    def accuracy_interval(self) -> tuple[float, float]:
        """Lowest and highest accuracy that fit what was seen, at 95 % confidence."""
        accuracy = self.data["metrics"]["accuracy"]
        return float(accuracy["low"]), float(accuracy["high"])

    def confusion_matrix(self) -> pandas.DataFrame:
        """Images by true class (rows), then by answer. Needs pandas."""
        import pandas

        matrix = self.data["confusion_matrix"]
        frame = pandas.DataFrame(matrix["counts"], index=matrix["labels"], columns=matrix["labels"])
        return frame.rename_axis(index="true", columns="predicted")


@dataclass(frozen=True)
class Model(Record):
    """``version`` counts the models of a product from 1."""

    id: str
    product: str
    version: int
    job: str
    network: str
    labels: list[str]
    aliases: list[str]
    passed_gate: bool
    bytes: int
    metrics: dict[str, Any]
    created_at: datetime


@dataclass(frozen=True)
class Prediction:
    """The answer about one image. ``probabilities``: by label, the most probable first.

    ``decision``: ``accept`` or ``reject``, by what the product promises; ``reject_reason`` says why. Both are
    None where the model was made by an older Loupe. ``model``: id of the model that answered.
    """

    label: str
    probability: float
    probabilities: dict[str, float]
    decision: Literal["accept", "reject"] | None
    reject_reason: str | None
    model: str
    name: str | None
    data: Data = field(repr=False, compare=False)

    @classmethod
    def of_item(cls, model: str, item: Data) -> Prediction:
        top = item["top"]
        return cls(
            label=top["label"],
            probability=top["probability"],
            probabilities={one["label"]: one["probability"] for one in item["predictions"]},
            decision=item.get("decision"),
            reject_reason=item.get("reject_reason"),
            model=model,
            name=item.get("name"),
            data=item,
        )


def to_json(value: Any) -> bytes:
    return json.dumps(value, allow_nan=False).encode()
