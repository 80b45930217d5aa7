"""How many images a product was asked about: what a client gets."""

from __future__ import annotations

from datetime import date

from pydantic import BaseModel, Field


class PredictionDay(BaseModel):
    """The images of requests and of batches that ended on this day."""

    day: date = Field(description="In UTC.")
    images: int = Field(description="Images that were asked about.")
    answered: int = Field(description="Those that a model answered; the others were no images, or refused.")
    rejected: int = Field(description="Of those that were answered: those with the decision `reject`.")


class PredictionCounts(BaseModel):
    data: list[PredictionDay] = Field(description="Each day, the oldest first.")
