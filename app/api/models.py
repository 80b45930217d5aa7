"""``/models`` and ``/networks``"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from app.api.dependencies import After, ContextDep, Limit
from app.api.routes import CheckedRoute
from app.schemas.common import Page
from app.schemas.model import Model, Network
from app.services import networks, trained_models

router = APIRouter(route_class=CheckedRoute)


@router.get("/models", tags=["models"])
def list_models(
    context: ContextDep,
    product: Annotated[str | None, Query(description="Only models of this product.")] = None,
    job: Annotated[str | None, Query(description="Only the model of this job.")] = None,
    limit: Limit = 50,
    after: After = None,
) -> Page[Model]:
    """Trained models, newest first."""
    return trained_models.list_models(context, product=product, job=job, limit=limit, after=after)


@router.get("/models/{model}", tags=["models"])
def get_model(model: str, context: ContextDep) -> Model:
    """One model: where it comes from, how it measured, how it is served."""
    return trained_models.get_model(context, model)


@router.get("/networks", tags=["networks"])
def list_networks(context: ContextDep) -> list[Network]:
    """The architectures that a job can train, with their published weights and what they cost."""
    return networks.list_networks(context.storage.weights)


@router.get("/networks/{network}", tags=["networks"])
def get_network(network: str, context: ContextDep) -> Network:
    """One architecture, by its name or one of its aliases."""
    return networks.get_network(network, context.storage.weights)
