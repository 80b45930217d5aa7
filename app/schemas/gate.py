"""What a new model must reach: the rules of a product, and those that one training was submitted with."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from app.schemas.common import Request
from app.schemas.numbers import Numbers, refuse_truth_value

MOST_CLASSES = 1000
MOST_BYTES = 2**40

ClassName = Annotated[str, Field(min_length=1, max_length=255)]
# The range first: only so does it come into the document.
Share = Annotated[float, Field(ge=0, le=1), BeforeValidator(refuse_truth_value)]
RecallFloors = Annotated[dict[ClassName, Share], Field(max_length=MOST_CLASSES)]
SizeLimit = Annotated[int, Field(ge=1, le=MOST_BYTES)]
LatencyLimit = Annotated[float, Field(gt=0, le=1e9)]

_FLOORS = (
    "By class, the share of its test images that must be answered with it. A model that does not know the "
    "class, or has no test image of it, fails."
)
_BYTES = "Most bytes of the file that answers predictions."
_MILLISECONDS = (
    "Most milliseconds for one decoded image on one thread, as the replay of the final test measures it on "
    "the worker's machine."
)


class ProductGate(Request):
    """What a new model must reach."""

    min_accuracy: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Test accuracy under which a model fails the gate: no alias comes to point at it.",
    )
    min_recall: RecallFloors = Field(default_factory=dict, description=_FLOORS)
    max_bytes: SizeLimit | None = Field(None, description=_BYTES)
    max_milliseconds: LatencyLimit | None = Field(None, description=_MILLISECONDS)


class ProductGateUpdate(Request):
    """The rules to change; those that are not named stay. Null takes a rule away."""

    min_accuracy: float | None = Field(None, ge=0, le=1)
    min_recall: Annotated[dict[ClassName, Share | None], Field(max_length=MOST_CLASSES)] | None = Field(
        None, description="The classes to change; null takes the floor of a class away. Null: of all classes."
    )
    max_bytes: SizeLimit | None = None
    max_milliseconds: LatencyLimit | None = None


class GateRules(Numbers):
    """What a training's model must reach, and what becomes of one that does not."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    min_accuracy: float | None = Field(
        None, ge=0, le=1, description="Least test accuracy; null takes the product's gate, or 0."
    )
    min_recall: RecallFloors | None = Field(None, description=f"{_FLOORS} Null takes the product's.")
    max_bytes: SizeLimit | None = Field(None, description=f"{_BYTES} Null takes the product's.")
    max_milliseconds: LatencyLimit | None = Field(
        None, description=f"{_MILLISECONDS} Null takes the product's."
    )
    on_failure: Literal["keep", "discard"] = Field(
        "keep",
        description="What becomes of a model that fails. keep: it is saved, no alias points at it, "
        "and after a while it is removed. discard: it is not saved.",
    )

    @property
    def has_limits(self) -> bool:
        """Whether they ask for more than an accuracy."""
        return bool(self.min_recall or self.max_bytes or self.max_milliseconds)


class GateComparison(BaseModel):
    """What the champion and the new model answered to the same test images, which neither was trained on.

    Images that belong together, by group, near-duplicate group or content, count once.
    """

    champion: str = Field(description="The model that was champion then.")
    images: int = Field(description="Images that both were asked about.")
    counted: int = Field(description="As what they count, where those that belong together are one.")
    left_out: int = Field(
        description="Test images that one of both was trained on, or on one of their group."
    )
    not_asked: int = Field(description="Test images beyond the most that a champion is asked about.")
    new_right: int = Field(description="Images that the new model answers rightly.")
    champion_right: int
    only_new: int = Field(description="Of those counted: where the new model has more right answers.")
    only_champion: int
    p_value: float | None = Field(
        description="Chance of a difference as large as this between models that are equally good: McNemar's "
        "exact test. Null where too few images were left."
    )
    knows_champion_training: bool = Field(
        description="False where it is not known what the champion was trained on: it may have an advantage."
    )


class GateResult(BaseModel):
    """What the gate decided when the training ended."""

    passed: bool = Field(description="Whether the model reached what the gate asks for.")
    became_champion: bool | None = Field(
        None, description="Whether the model became champion; null where an older worker ended the job."
    )
    reasons: list[str] = Field(
        description="Why the model failed the gate, or why it became champion or did not; empty where there "
        "is nothing to explain."
    )
    comparison: GateComparison | None = Field(
        None, description="Null where the champion was not asked, or an older worker ended the job."
    )
