"""Predictions: what a client gets for an image."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.common import Problem, Request

MOST_NAME = 200
"""Characters: more than a product, an `@` and an alias have."""


class InlineImage(Request):
    """An image inside a JSON body."""

    b64: str = Field(description="The image file as base64, or as a data URL.")
    name: str | None = Field(None, max_length=1024)


class PredictRequest(Request):
    """Images as JSON. Multipart and raw bodies are cheaper; this is for clients that speak nothing else."""

    model_config = ConfigDict(extra="forbid")

    inputs: list[InlineImage] = Field(min_length=1)
    product: str | None = Field(None, max_length=MOST_NAME)
    job: str | None = Field(None, max_length=MOST_NAME)
    model: str | None = Field(None, max_length=MOST_NAME)
    top_k: int = Field(5, ge=1, le=1000)


class PredictedLabel(BaseModel):
    label: str
    index: int = Field(description="Position of the label in the model's outputs.")
    probability: float = Field(description="Calibrated: of answers of 0.9 nine in ten are right.")
    raw_probability: float = Field(description="What the network says before it is calibrated.")


class Scores(BaseModel):
    """What the decision rests on."""

    confidence: float = Field(description="The probability of the most probable label.")
    margin: float = Field(description="How far it is ahead of the next.")
    similarity: float | None = Field(
        description="To the most similar training image, in what the network makes of both: -1 to 1."
    )


class Judgement(BaseModel):
    """Whether the answer should be acted on. All null: the model was made without thresholds."""

    decision: Literal["accept", "reject"] | None = Field(
        None, description="By the product's promise: of accepted answers hardly more are wrong."
    )
    reject_reason: Literal["out_of_distribution", "ambiguous", "low_confidence"] | None = Field(
        None,
        description="out_of_distribution: like no training image. ambiguous: surely one of the first two "
        "labels, but not which. low_confidence: none is probable enough.",
    )
    scores: Scores | None = None


class PredictionModel(BaseModel):
    id: str
    product: str
    version: int
    alias: str | None = Field(description="The alias that led to the model, if one did.")
    digest: str


class PredictionImage(BaseModel):
    width: int
    height: int
    format: str
    sha256: str


class PredictionTiming(BaseModel):
    queue_ms: float
    decode_ms: float
    inference_ms: float


class PredictionItem(Judgement):
    """The answer for one image, or the error that this one image has."""

    name: str | None
    image: PredictionImage | None = None
    predictions: list[PredictedLabel] = Field(default_factory=list, description="Most probable first.")
    top: PredictedLabel | None = None
    timing: PredictionTiming | None = None
    warnings: list[str] = Field(default_factory=list)
    error: Problem | None = None


class Predictions(BaseModel):
    """The answer to a request. For a single image its fields stand at the top level too."""

    model_config = ConfigDict(extra="allow")

    model: PredictionModel
    results: list[PredictionItem]
    errors: int = Field(description="How many of the images have an error.")
