"""Products: what a client sends and gets."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from app.schemas.common import Request, Slug, Timestamp


class ProductGate(Request):
    """What a new model must reach."""

    min_accuracy: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Test accuracy under which a model fails the gate: no alias comes to point at it.",
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


class ProductUpdate(Request):
    model_config = ConfigDict(json_schema_extra={"examples": [{"gate": {"min_accuracy": 0.95}}]})

    name: str | None = Field(None, min_length=1, max_length=200)
    default_network: str | None = None
    gate: ProductGate | None = None


class Product(BaseModel):
    id: str
    name: str
    default_network: str | None
    gate: ProductGate
    champion: str | None = Field(
        description="Id of the model that answers predictions, null before there is one."
    )
    created_at: Timestamp
