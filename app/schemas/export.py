"""Exports of a dataset to the outside."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field

from app.schemas.common import Request
from app.schemas.hyperparameters import SplitSettings
from app.schemas.numbers import refuse_truth_value

Side = Annotated[
    int, Field(json_schema_extra={"minimum": 1, "maximum": 2048}), BeforeValidator(refuse_truth_value)
]


class ExportCreate(Request):
    """A tar of the dataset: its original files in class folders, or TFRecord shards at one size."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"format": "folders"},
                {"format": "folders", "split": {"train": 0.7, "valid": 0.15, "test": 0.15}},
                {"format": "tfrecord", "image_size": 224},
            ]
        }
    )

    format: Literal["folders", "tfrecord"]
    image_size: Side | tuple[Side, Side] | None = Field(
        None,
        description="tfrecord: size of the images in the records: one number for a square, or "
        "[height, width], in pixels.",
    )
    compression: Literal["gzip"] | None = Field(None, description="tfrecord: compression of the shards.")
    job: str | None = Field(None, description="Split as in this training; else as the dataset came.")
    split: SplitSettings | None = Field(
        None,
        description="Split by these shares, as a training with them and the same seed would; without a seed "
        "it is 0. Not together with `job`.",
    )
