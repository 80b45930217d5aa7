"""The examples in the API's document work as they stand."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from app.schemas.dataset import ImportSource
from app.schemas.evaluation import EvaluationCreate
from app.schemas.export import ExportCreate
from app.schemas.job import JobCreate, JobRetry
from app.schemas.model import AliasMoveCreate, ModelExportCreate
from app.schemas.product import ProductCreate, ProductUpdate
from app.schemas.webhook import WebhookCreate, WebhookUpdate
from tests.conftest import Trained


def examples(schema: type[BaseModel]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = schema.model_json_schema()["examples"]
    assert found
    return found


def test_products_are_made_and_changed_as_shown(trained: Trained) -> None:
    for body in examples(ProductCreate):
        assert trained.client.post("/products", json=body).status_code == 201
        for change in examples(ProductUpdate):
            assert trained.client.patch(f"/products/{body['id']}", json=change).status_code == 200
        trained.client.delete(f"/products/{body['id']}")


def test_jobs_are_planned_as_shown(trained: Trained) -> None:
    for body in examples(JobCreate):
        body["product"] = trained.product
        assert trained.client.post("/jobs?dry_run=true", json=body).status_code == 200


@pytest.mark.parametrize(
    "schema",
    [
        AliasMoveCreate,
        ImportSource,
        EvaluationCreate,
        ExportCreate,
        JobRetry,
        ModelExportCreate,
        WebhookCreate,
        WebhookUpdate,
    ],
)
def test_the_other_bodies_are_valid_as_shown(schema: type[BaseModel]) -> None:
    for body in examples(schema):
        schema.model_validate(body)
