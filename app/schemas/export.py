"""Exports of a dataset to the outside."""

from __future__ import annotations

from typing import Literal

from pydantic import ConfigDict, Field

from app.schemas.common import Request
from app.schemas.hyperparameters import ImageSize


class ExportCreate(Request):
    """A tar of the dataset: its original files in class folders, or TFRecord shards at one size."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"format": "folders"}, {"format": "tfrecord", "image_size": 224}]}
    )

    format: Literal["folders", "tfrecord"]
    image_size: ImageSize | None = Field(None, description="tfrecord: size of the images in the records.")
    compression: Literal["gzip"] | None = Field(None, description="tfrecord: compression of the shards.")
    job: str | None = Field(None, description="Split as in this training; else as the dataset came.")
