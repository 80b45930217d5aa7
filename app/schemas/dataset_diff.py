"""What differs between two datasets."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.schemas.common import Page

Split = Literal["train", "valid", "test"]


class ClassDifference(BaseModel):
    """How many images a class has in each dataset; 0 where there is no such class."""

    name: str
    before: int
    after: int


class ItemDifference(BaseModel):
    """One image. Null on a side where it is not."""

    change: Literal["added", "removed", "relabelled", "moved"] = Field(
        description="`moved`: only the split folder that it came in differs."
    )
    name: str = Field(description="Its name now, or the one that it had.")
    sha256: str
    before: str | None = Field(description="Id of the item in the first dataset.")
    after: str | None = Field(description="Id of the item in the second dataset.")
    label_before: str | None
    label_after: str | None
    split_before: Split | None
    split_after: Split | None


class DatasetDiff(Page[ItemDifference]):
    """The images that differ between two datasets. The same content is the same image, whatever its name."""

    before: str
    after: str
    counts: dict[str, int] = Field(description="Images `added`, `removed`, `relabelled` and `moved`.")
    classes: list[ClassDifference] = Field(description="The classes that have more or fewer images.")
