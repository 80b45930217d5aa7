"""Evaluations: what a client sends and gets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.common import Request, Timestamp


class EvaluationCreate(Request):
    """An evaluation of the job's model: on its own test split, or on all pictures of another dataset."""

    model_config = ConfigDict(json_schema_extra={"examples": [{}]})

    dataset: str | None = Field(
        None, description="Id of a dataset of the product; the job's own test split if not given."
    )


class Evaluation(BaseModel):
    id: str
    job: str
    model: str | None
    dataset: str
    subset: Literal["test", "all"]
    items: int
    metrics: dict[str, Any]
    classes: list[dict[str, Any]]
    confusion_matrix: dict[str, Any]
    calibration: dict[str, Any] | None
    mistakes: list[dict[str, Any]]
    created_at: Timestamp
