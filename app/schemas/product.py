"""Products: what a client sends and gets."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.common import Request, Slug, Timestamp
from app.schemas.gate import ProductGate, ProductGateUpdate

MAX_ERROR = 0.01
"""Of a product that promises nothing else: the share of accepted answers that may be wrong."""


class Promise(Request):
    """How wrong accepted answers may be. Predictions are accepted or rejected by it."""

    max_error: float = Field(
        MAX_ERROR,
        gt=0,
        le=0.5,
        description="The share of accepted answers that may be wrong, at 95 % confidence. What a model's "
        "validation images are too few to promise, `GET /models/{model}` says.",
    )


class ProductCreate(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"id": "steel-strip", "name": "Steel strip, line 2", "gate": {"min_accuracy": 0.9}},
                {"id": "screws"},
            ]
        }
    )

    id: Slug
    name: str | None = Field(
        None, min_length=1, max_length=200, description="For people; the id if not given."
    )
    default_network: str | None = Field(None, description="Network of jobs that name none.")
    gate: ProductGate = Field(default_factory=lambda: ProductGate(min_accuracy=None))
    promise: Promise = Field(default_factory=lambda: Promise(max_error=MAX_ERROR))


class ProductUpdate(Request):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"gate": {"min_accuracy": 0.95}},
                {"gate": {"min_recall": {"crack": 0.99}, "max_milliseconds": 20}},
            ]
        }
    )

    name: str | None = Field(None, min_length=1, max_length=200)
    default_network: str | None = None
    gate: ProductGateUpdate | None = None
    promise: Promise | None = None


class Product(BaseModel):
    id: str
    name: str
    default_network: str | None
    gate: ProductGate
    promise: Promise
    champion: str | None = Field(
        description="Id of the model that answers predictions, null before there is one."
    )
    created_at: Timestamp
