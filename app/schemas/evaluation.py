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
    mistakes: list[dict[str, Any]]
    warnings: list[str] = Field(
        description="Why the numbers may be others than one thinks, such as 16-bit images of another range."
    )
    created_at: Timestamp
