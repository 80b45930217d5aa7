"""What an examination of a dataset found."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.schemas.finding import Level


class ExaminedImage(BaseModel):
    item: str
    name: str
    label: str
    split: str | None = Field(description="The split that the image came in; null where it came in none.")


class NearPair(BaseModel):
    """Two images that show the same thing."""

    first: ExaminedImage
    second: ExaminedImage
    reason: Literal["points", "pixels"] = Field(
        description="`points`: points of both look alike and lie alike. `pixels`: an image with few points "
        "that is nearly equal."
    )
    score: float = Field(description="How sure: 0 to 1.")


class NearGroup(BaseModel):
    """Images that show the same thing: a split keeps them on one side, unless `split.ignore_groups`."""

    images: list[ExaminedImage]
    labels: list[str] = Field(description="More than one is a contradiction: one of the labels is wrong.")


class NearDuplicates(BaseModel):
    groups: list[NearGroup] = Field(description="Those of more than one label first, then the largest.")
    pairs: list[NearPair] = Field(description="Why they are groups, the least sure first.")
    doubtful: list[NearPair] = Field(description="Pairs that did not join their two large groups.")
    same_background: list[NearGroup] = Field(
        description="Images with one background, as their labels say. Those of them that show the same thing "
        "are found by what is in front of it, and are groups too."
    )
    left_out: int = Field(description="Pairs that nobody looked at, of a very large dataset.")
    total_groups: int
    total_pairs: int


class SuspectLabel(BaseModel):
    """An image whose label looks wrong."""

    item: str
    name: str
    label: str
    label_probability: float = Field(description="How probable its own class is, judged from other images.")
    suggested: str = Field(description="The class that it looks like.")
    suggested_probability: float


class OutlierImage(BaseModel):
    """An image that looks like no other of its class."""

    item: str
    name: str
    label: str
    similarity: float = Field(description="Cosine to the nearest image of its class; 1 is the same.")


class Diagnosis(BaseModel):
    """Something to act upon."""

    code: str = Field(description="For programs; the finding is for people.")
    level: Level
    finding: str
    advice: str
    classes: list[str] = Field(description="The classes concerned.")
    images: list[ExaminedImage] = Field(description="The first of the images concerned.")
    number: int = Field(description="How many images are concerned.")


class Estimate(BaseModel):
    """An accuracy with the limits of its 95 % interval."""

    value: float
    low: float
    high: float


class Honesty(BaseModel):
    """What a random split would claim, and what is true: by a linear classifier on the feature vectors."""

    test_images: int = Field(description="Images in the test of a random split.")
    shared_images: int = Field(description="Those of them that share a group with training.")
    claimed: Estimate = Field(description="The accuracy that a random split claims.")
    true: Estimate = Field(description="The accuracy on images of groups that the classifier did not learn.")


class ExaminationReport(BaseModel):
    """The worst first. Look at each before you change it: `POST /datasets/{dataset}/versions`."""

    dataset: str
    network: str | None = Field(description="The network that looked at the images. Null: see `missing`.")
    missing: str | None = Field(
        description="Why there are no feature vectors, and so neither suspects nor outliers."
    )
    diagnoses: list[Diagnosis] = Field(description="What to act upon, the worst first.")
    honesty: Honesty | None = Field(
        description="Null without feature vectors, and where there are no groups."
    )
    near_duplicates: NearDuplicates
    judged: int = Field(description="Images of classes that have enough images to suspect a label.")
    suspects: list[SuspectLabel]
    outliers: list[OutlierImage]
