"""The leaderboard of a product: what a client gets."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

from app.schemas.common import Estimate, Timestamp

Verdict = Literal["better", "worse", "no_difference_shown", "too_few_images"]


class Comparison(BaseModel):
    """Two models on the test images that both have, which neither was trained on."""

    images: int
    both_right: int
    only_this_right: int
    only_other_right: int
    p_value: float = Field(
        description="Chance of a difference as large as this between models that are equally good: McNemar's "
        "exact test."
    )
    verdict: Verdict = Field(
        description="Of this model against the other, at 5 %. too_few_images: under 6 answers differ, so no "
        "difference could be shown."
    )


class LeaderboardEntry(BaseModel):
    place: int | None = Field(description="By accuracy on the common images; null without them.")
    model: str
    version: int
    network: str
    job: str
    aliases: list[str]
    passed_gate: bool
    accuracy: Estimate = Field(description="On the model's own test images.")
    items: int
    common: Estimate | None = Field(
        description="On the images that all models with a place were tested on; null for a model that was "
        "tested on others."
    )
    against_champion: Comparison | None = Field(
        description="Null for the champion, without one, and where the two share no test images."
    )
    created_at: Timestamp


class Pair(Comparison):
    """Of ``first`` against ``second``."""

    first: str
    second: str


class Leaderboard(BaseModel):
    """The newest models of a product, the best first."""

    product: str
    champion: str | None
    common_images: int = Field(description="Test images that all models with a place share.")
    models: list[LeaderboardEntry]
    pairs: list[Pair] = Field(description="Each two models that share test images.")
