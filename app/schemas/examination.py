"""What an examination of a dataset found."""

from __future__ import annotations

from pydantic import BaseModel, Field


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


class ExaminationFindings(BaseModel):
    """The worst first. Look at each before you change it: `POST /datasets/{dataset}/versions`."""

    dataset: str
    network: str = Field(description="The network that looked at the images.")
    judged: int = Field(description="Images of classes that have enough images to suspect a label.")
    suspects: list[SuspectLabel]
    outliers: list[OutlierImage]
