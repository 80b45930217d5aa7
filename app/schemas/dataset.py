"""Datasets: what a client sends and gets."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.common import Page, Problem, Request, Timestamp
from app.schemas.import_choices import ClassLevel, GroupBy, Labels, NameEncoding, PixelRange, Strict
from app.schemas.prediction import PredictionImage


class ImportSource(Request):
    """What is imported, where this request does not bring it: a folder or archive that the server can reach,
    or an archive that came in pieces. One of both.
    """

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"path": "/data/steel-strip"}, {"upload": "upl_01k0c2v4q4x5a6b7c8d9e0f1g2"}]
        }
    )

    path: str | None = Field(
        None, min_length=1, max_length=4096, description="A folder or archive under LOUPE_DATASET_ROOTS."
    )
    upload: str | None = Field(
        None, min_length=1, max_length=100, description="Id of an upload that is here whole."
    )
    name_encoding: NameEncoding | None = None
    class_level: ClassLevel | None = None
    strict: Strict | None = None
    pixel_range: PixelRange | None = None
    group_by: GroupBy | None = None
    labels: Labels | None = None


class ImportSourcePath(ImportSource):
    """The older of both, whose path is needed."""

    path: str = Field(
        min_length=1, max_length=4096, description="A folder or archive under LOUPE_DATASET_ROOTS."
    )


class ClassCount(BaseModel):
    name: str
    count: int


class Dataset(BaseModel):
    id: str
    product: str
    status: Literal["importing", "ready", "failed"]
    source: str = Field(description="Name of the uploaded file, the path, or what it was made from.")
    based_on: str | None = Field(
        None, description="The dataset of which it is a new version; it may be deleted since."
    )
    digest: str | None = Field(
        description="Digest of all images and labels; the same images have the same digest."
    )
    classes: list[ClassCount]
    counts: dict[str, int] | None = Field(
        description="Images in train, valid and test where the folders came split, else null."
    )
    items: int | None = Field(description="Images in the dataset.")
    skipped: int | None = Field(description="Files left out; the report says why.")
    examination: dict[str, Any] | None = Field(
        None,
        description="What is known from looking at the images, in numbers: which network made their feature "
        "vectors, groups that show the same thing, labels that look wrong. Null: nothing has looked yet.",
    )
    job: str | None = Field(description="The job that makes it: its import, or that of a new version.")
    error: Problem | None
    created_at: Timestamp
    ready_at: Timestamp | None


class Suspicion(BaseModel):
    """Why the label of an image looks wrong."""

    label_probability: float = Field(description="How probable its own class is, judged from other images.")
    suggested: str = Field(description="The class that it looks like.")
    suggested_probability: float


class DatasetItem(BaseModel):
    id: str
    name: str = Field(description="Path inside the upload; where a table said the class, CLASS/image.jpg.")
    label: str
    width: int
    height: int
    format: str
    sha256: str
    bytes: int
    notes: list[str]
    group: str | None = Field(description="What it shares with others; they stay in one split. Null: none.")
    near_group: str | None = Field(
        description="The same for all images that show the same thing, as the examination found: they stay "
        "in one split. Null: none."
    )
    split: Literal["train", "valid", "test"] | None = Field(
        description="Split in the job asked for; without a job the folder that it came in."
    )
    suspicion: Suspicion | None = Field(
        None,
        description="Why its label looks wrong, as the examination found. Null: nothing says that it does.",
    )
    class_similarity: float | None = Field(
        None,
        description="Of an image that looks like no other of its class, as the examination found: the cosine "
        "to the nearest of them. Null: nothing says that it does.",
    )
    similarity: float | None = Field(
        None,
        description="How alike it looks to the image asked for: the cosine of their feature vectors, 1 for "
        "copies. Null: none was asked for.",
    )


class DatasetItemPage(Page[DatasetItem]):
    """Some of the images that were asked for, in their order."""

    start: int = Field(description="How many of them lie before this page.")
    total: int = Field(description="How many there are in all.")


class SimilarImages(BaseModel):
    """Images of a dataset that look like an image that was sent, the most alike first."""

    image: PredictionImage
    warnings: list[str] = Field(description="Conversions that the image needed.")
    data: list[DatasetItem]


class DatasetReport(BaseModel):
    """What the import saw. The same keys as ``report.json``."""

    model_config = ConfigDict(extra="allow")

    dataset: str
    classes: list[dict[str, Any]]
    advice: list[str]
