"""``/products``"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Header, Path, Query, Response, status
from fastapi.responses import JSONResponse
from pydantic import StringConstraints

from app.api.answers import created
from app.api.dependencies import After, ContextDep, Force, IdempotentDep, Limit, ModelRouterDep
from app.api.routes import CheckedRoute
from app.schemas.common import Page, Slug
from app.schemas.leaderboard import Leaderboard
from app.schemas.model import Alias, AliasMove, AliasMoveCreate, RollbackCreate
from app.schemas.prediction_day import PredictionCounts
from app.schemas.product import Product, ProductCreate, ProductUpdate
from app.services import aliases, deletions, leaderboards, prediction_counts, products, rollbacks

router = APIRouter(prefix="/products", tags=["products"], route_class=CheckedRoute)

ETAG = {"ETag": {"description": "The model's id in quotes, for If-Match.", "schema": {"type": "string"}}}
IfMatch = Annotated[
    str | None,
    Header(
        description="The ETag of the alias: it is moved only if it still points at that model.",
        max_length=200,
    ),
]
JobId = Annotated[str, StringConstraints(max_length=200)]
AliasName = Annotated[Slug, Path(description="Name of the alias; `champion` answers predictions.")]


@router.post("", status_code=status.HTTP_201_CREATED, response_model=Product)
def create_product(request: ProductCreate, context: ContextDep, idempotent: IdempotentDep) -> JSONResponse:
    """Make a product: a thing whose images are classified."""
    return created(products.create_product(context, request, idempotent))


@router.get("")
def list_products(context: ContextDep, limit: Limit = 50, after: After = None) -> Page[Product]:
    """All products."""
    return products.list_products(context, limit=limit, after=after)


@router.get("/{product}")
def get_product(product: str, context: ContextDep) -> Product:
    """One product, with its champion."""
    return products.get_product(context, product)


@router.patch("/{product}")
def update_product(product: str, request: ProductUpdate, context: ContextDep) -> Product:
    """Change a product's name, default network, promise or rules of its gate; what is not named stays."""
    return products.update_product(context, product, request)


@router.delete("/{product}", status_code=status.HTTP_204_NO_CONTENT)
def delete_product(product: str, context: ContextDep, force: Force = False) -> Response:
    """Delete a product that has no datasets and no jobs; with `force` with all that it has, its champion too.

    Also with `force` nothing is deleted while one of its jobs has not ended.
    """
    deletions.delete_product(context, product, force=force)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.get("/{product}/leaderboard")
def get_leaderboard(
    product: str,
    context: ContextDep,
    job: Annotated[
        list[JobId],
        Query(
            default_factory=list,
            max_length=50,
            description="Only the models of these trainings, however old.",
        ),
    ],
    limit: Annotated[int, Query(ge=1, le=50, description="The newest so many models.")] = 20,
) -> Leaderboard:
    """The models of a product, compared on the test images that they share, with significance."""
    return leaderboards.get_leaderboard(context, product, limit=limit, jobs=job)


@router.get("/{product}/prediction-counts")
def get_prediction_counts(
    product: str,
    context: ContextDep,
    days: Annotated[int, Query(ge=1, le=366, description="So many days, today the last.")] = 30,
) -> PredictionCounts:
    """How many images were asked about on each day. Those of the last seconds may not be counted yet."""
    return prediction_counts.read_counts(context, product, days=days)


@router.get("/{product}/aliases")
def list_aliases(product: str, context: ContextDep) -> list[Alias]:
    """The names that models of this product go by; `champion` answers predictions."""
    return aliases.list_aliases(context, product)


@router.get("/{product}/aliases/{name}", responses={200: {"headers": ETAG}})
def get_alias(product: str, name: str, context: ContextDep, response: Response) -> Alias:
    """Which model an alias points at."""
    return _tagged(aliases.get_alias(context, product, name), response)


@router.put("/{product}/aliases/{name}", responses={200: {"headers": ETAG}})
def put_alias(
    product: str,
    name: AliasName,
    request: AliasMoveCreate,
    context: ContextDep,
    router: ModelRouterDep,
    response: Response,
    if_match: IfMatch = None,
) -> Alias:
    """Point an alias at a model, by hand. A model that failed its gate is refused without `override`.

    The old model answers until the new one is loaded; once this is answered, the new one does here, unless it
    cannot be loaded. Other processes follow within two seconds.
    """
    alias = aliases.put_alias(context, product, name, request, _models_in(if_match))
    router.settle()
    return _tagged(alias, response)


@router.post("/{product}/rollback", responses={200: {"headers": ETAG}})
def roll_back(
    product: str,
    request: RollbackCreate,
    context: ContextDep,
    router: ModelRouterDep,
    response: Response,
    if_match: IfMatch = None,
) -> Alias:
    """Point an alias again at the model before, one step for each call; `champion` unless another is named.

    A model that was deleted is passed over. The history records it as a rollback.
    """
    alias = rollbacks.roll_back(context, product, request, _models_in(if_match))
    router.settle()
    return _tagged(alias, response)


@router.delete("/{product}/aliases/{name}", status_code=status.HTTP_204_NO_CONTENT)
def delete_alias(product: str, name: str, context: ContextDep, if_match: IfMatch = None) -> Response:
    """Remove an alias other than `champion`. Its model and its history stay."""
    aliases.delete_alias(context, product, name, _models_in(if_match))
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.get("/{product}/aliases/{name}/history")
def list_alias_moves(
    product: str, name: str, context: ContextDep, limit: Limit = 50, after: After = None
) -> Page[AliasMove]:
    """The moves of an alias, newest first: from which model to which, when, by what and why."""
    return aliases.list_moves(context, product, name, limit=limit, after=after)


def _tagged(alias: Alias, response: Response) -> Alias:
    response.headers["ETag"] = f'"{alias.model}"'
    return alias


def _models_in(if_match: str | None) -> frozenset[str] | None:
    """The models of a header of one or several ETags; None for any. A weak one matches nothing (RFC 9110)."""
    if if_match is None or if_match.strip() == "*":
        return None
    tags = (tag.strip() for tag in if_match.split(","))
    return frozenset(tag.strip('"') for tag in tags if not tag.startswith("W/"))
