"""What a new version of a dataset changes."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import ConfigDict, Field, model_validator

from app.schemas.class_map import ClassMap
from app.schemas.common import Request
from app.schemas.message import Message

MOST_ITEMS = 100_000
MOST_ADDED = 20

ItemName = Annotated[str, Field(min_length=1, max_length=4096)]
ClassName = Annotated[str, Field(min_length=1, max_length=1024)]


class DatasetEdits(Message):
    """Images are named by id or by name. ``class_map`` goes first, so ``relabel`` says the new classes."""

    class_map: ClassMap | None = None
    remove: tuple[str, ...] = ()
    relabel: dict[str, str] = Field(default_factory=dict)


class DatasetRevision(Request):
    """A new dataset, made of this one: the images are shared, and the old dataset stays as it is."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "add": ["dst_01k…"],
                    "remove": ["img_0123456789abcdef"],
                    "relabel": {"img_fedcba9876543210": "scratch"},
                    "class_map": {"drop": ["unclear"], "merge": {"dent": ["bump", "dint"]}},
                }
            ]
        }
    )

    add: list[str] = Field(
        default_factory=list,
        max_length=MOST_ADDED,
        description="Other datasets of the product, whose images join. Import new images first.",
    )
    remove: list[ItemName] = Field(
        default_factory=list, max_length=MOST_ITEMS, description="Images that leave, by id or by name."
    )
    relabel: dict[ItemName, ClassName] = Field(
        default_factory=dict,
        max_length=MOST_ITEMS,
        description="Images that get another class, by id or by name; the class may be new.",
    )
    class_map: ClassMap | None = Field(
        None,
        description="Classes that leave, are merged or get another name: {new: [old]}. Goes before relabel.",
    )

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if not (self.add or self.remove or self.relabel or self.class_map):
            raise ValueError("say what changes: add, remove, relabel or class_map")
        if both := sorted(set(self.remove) & self.relabel.keys()):
            raise ValueError(f"{both[0]!r} cannot be removed and relabelled")
        return self

    @property
    def edits(self) -> DatasetEdits:
        """What is done to the images of all datasets together."""
        return DatasetEdits(class_map=self.class_map, remove=tuple(self.remove), relabel=self.relabel)
