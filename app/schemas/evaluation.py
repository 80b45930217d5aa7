"""Evaluations: what a client sends and gets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.common import Request, Timestamp


class EvaluationCreate(Request):
    """An evaluation of the job's model: its final test again, or on all images of another dataset."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    dataset: str | None = Field(
        None,
        description="Id of a dataset of the product: all of its images. Not given, or the job's own dataset: "
        "what the job was tested on.",
    )
    include_trained: bool = Field(
        False,
        description="Whether images of the other dataset that the model trained on, by their bytes, count "
        "too. By default they are left out: on them an accuracy says nothing.",
    )


class UnknownClass(BaseModel):
    name: str
    items: int


class Evaluation(BaseModel):
    id: str
    job: str
    model: str | None
    dataset: str
    subset: Literal["test", "all"] = Field(description="The job's own test split, or all of the dataset.")
    items: int
    metrics: dict[str, Any] = Field(
        description="Over all images. An image of a class that the model does not know counts as wrong."
    )
    unknown_classes: list[UnknownClass] = Field(
        description="Classes of the dataset that the model does not know, with their images."
    )
    accuracy_of_known_classes: dict[str, Any] | None = Field(
        description="Accuracy without the images of unknown classes; null where there are no others."
    )
    classes: list[dict[str, Any]] = Field(
        description="Scores per class: the model's in its own order, then those that it does not know."
    )
    confusion_matrix: dict[str, Any] = Field(
        description="`labels` in the order of `classes`; `counts` by true class, then by answer."
    )
    calibration: dict[str, Any] | None = Field(
        description="Expected calibration error of the served probabilities, and its reliability diagram."
    )
    calibration_before: dict[str, Any] | None = Field(
        description="The same before calibration; null for a model without."
    )
    selection: dict[str, Any] | None = Field(
        description="How the answers fare under the product's promise of then: `max_error` asked, what could "
        "be `promised`, how many were `accepted` and how many of these `wrong`, `coverage` and `error` with "
        "intervals, `rejected` by reason. Null for a model without thresholds."
    )
    shared_groups: dict[str, Any] | None = Field(
        description="Test images of groups that are in train or valid too: `items`, `accuracy` on them, "
        "and whether they `are_counted` in the other figures. Null if there are none."
    )
    trained_items: int = Field(
        0,
        description="Images that the job trained on, in train or valid, among those to measure; left out of "
        "all figures unless that was asked for.",
    )
    mistakes: list[dict[str, Any]]
    warnings: list[str] = Field(
        description="Why the numbers may be others than one thinks, such as 16-bit images of another range."
    )
    created_at: Timestamp


class RocCurve(BaseModel):
    area: float = Field(description="Of all points, also of those that were thinned out.")
    false_positive_rate: list[float] = Field(description="Share of other images taken for the class.")
    true_positive_rate: list[float] = Field(description="Share of the class's images that are found.")


class PrecisionRecallCurve(BaseModel):
    average_precision: float = Field(description="Of all points, also of those that were thinned out.")
    recall: list[float]
    precision: list[float]


class ClassCurves(BaseModel):
    """One class against all others."""

    name: str
    positives: int = Field(description="Images of the class.")
    negatives: int = Field(description="The other images.")
    roc: RocCurve | None = Field(description="Null where no image is of the class, or all are.")
    precision_recall: PrecisionRecallCurve | None


class MicroCurves(BaseModel):
    """All pairs of an image and a class as one question."""

    roc: RocCurve
    precision_recall: PrecisionRecallCurve


class MacroCurves(BaseModel):
    """Means over the classes that have curves."""

    classes: int
    roc: RocCurve
    average_precision: float


class RiskCoverageCurve(BaseModel):
    """If only the surest images are answered, what share of these answers is wrong."""

    area: float = Field(description="The mean risk over all coverages; 0 is best.")
    coverage: list[float] = Field(description="Share of the images that is answered.")
    risk: list[float] = Field(description="Share of these answers that is wrong.")
    confidence: list[float] = Field(description="The least probability that is answered.")


class ReliabilityBin(BaseModel):
    """Images whose probability lies in (`low`, `high`]."""

    low: float
    high: float
    items: int
    confidence: float | None = Field(description="Mean probability; null where there are no images.")
    accuracy: float | None = Field(description="Share of right answers.")
    accuracy_low: float | None = Field(description="Wilson's 95 % interval of `accuracy`.")
    accuracy_high: float | None


class Reliability(BaseModel):
    ece: float = Field(description="Expected calibration error; 0 is best.")
    bins: list[ReliabilityBin]


class EvaluationCurves(BaseModel):
    """Curves with their areas. A curve has at most `max_points` points; its area is that of all points."""

    job: str
    dataset: str
    items: int
    max_points: int
    classes: list[ClassCurves] = Field(description="In the order of the model's outputs.")
    micro: MicroCurves | None = Field(
        description="Null where images times classes are too many, and where no image is of a known class."
    )
    macro: MacroCurves | None = Field(description="Null where no class has curves.")
    risk_coverage: RiskCoverageCurve
    reliability: Reliability
    reliability_before: Reliability | None = Field(
        description="Before calibration; null for a model without."
    )


class EvaluationExample(BaseModel):
    """An image and what was answered."""

    item: str
    name: str
    true: str
    predicted: str
    probability: float = Field(description="Of the answer.")
    probability_of_true: float = Field(description="Of the true class; 0 where the model does not know it.")
    image: str = Field(description="Where the image is; `?size=` makes a thumbnail.")
