"""Predictions over many images, as a job: what is asked, how it goes, and a line of its results."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.common import Problem, Request, Timestamp
from app.schemas.import_choices import NameEncoding
from app.schemas.job import Progress
from app.schemas.prediction import Judgement, PredictedLabel, PredictionModel

TopK = Annotated[int, Field(ge=1, le=1000, description="Labels in each line, most probable first.")]


class BatchModel(Request):
    """Which model answers: one of the three, as in `POST /predict`."""

    product: str | None = Field(
        None, description="This product's champion, or `product@alias`, or `product@3`, a version."
    )
    job: str | None = Field(None, description="The model of this job.")
    model: str | None = Field(None, description="This model.")
    top_k: TopK = 5


class DatasetPrediction(BatchModel):
    """All images of a dataset."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"dataset": "dst_…", "product": "screws"}]})

    dataset: str = Field(description="A dataset of the product of the model.")


class ArchivePrediction(BatchModel):
    """All images of an archive that is uploaded."""

    name_encoding: NameEncoding | None = None


class LineImage(BaseModel):
    width: int
    height: int
    format: str


class BatchLine(Judgement):
    """One line of the results. ``sha256``: of the file; null where it could not be read."""

    name: str
    sha256: str | None
    label: str | None = None
    probability: float | None = None
    predictions: list[PredictedLabel] = Field(default_factory=list)
    image: LineImage | None = None
    warnings: list[str] = Field(default_factory=list)
    error: Problem | None = None
    model: str


class SkippedFile(BaseModel):
    name: str
    reason: str


class BatchPrediction(BaseModel):
    """A prediction over many images: a job, and what came out once it has succeeded."""

    id: str = Field(description="Id of the job, job_…")
    status: str
    stage: str | None
    product: str
    model: PredictionModel = Field(description="The one model that answers all images.")
    dataset: str | None = Field(description="The dataset that is asked about; null for an archive.")
    source: str | None = Field(description="The archive's name, as the client called it.")
    top_k: int
    progress: Progress
    images: int | None = Field(description="Lines of the results; null until the end.")
    errors: int | None = Field(description="Lines with an error in place of an answer.")
    rejected: int | None = Field(description="Lines whose answer has the decision `reject`.")
    skipped: int | None = Field(description="Files of the archive that are no images.")
    skipped_files: list[SkippedFile] = Field(description="The first 100 of them.")
    error: Problem | None
    created_at: Timestamp
    started_at: Timestamp | None
    finished_at: Timestamp | None


def choices_of(schema: type[BatchModel]) -> dict[str, Any]:
    """The fields of a request as parameters of a query or a form, by name."""
    properties: dict[str, Any] = schema.model_json_schema()["properties"]
    return properties
