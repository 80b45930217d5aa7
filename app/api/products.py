"""``/products``"""

from __future__ import annotations

from fastapi import APIRouter, Response, status
from fastapi.responses import JSONResponse

from app.api.answers import created
from app.api.dependencies import After, IdempotentDep, Limit, RuntimeDep
from app.schemas.common import Page
from app.schemas.model import Alias
from app.schemas.product import Product, ProductCreate, ProductUpdate
from app.services import products, trained_models

router = APIRouter(prefix="/products", tags=["products"])


@router.post("", status_code=status.HTTP_201_CREATED, response_model=Product)
def create_product(request: ProductCreate, runtime: RuntimeDep, idempotent: IdempotentDep) -> JSONResponse:
    """Make a product: a thing whose pictures are classified."""
    return created(products.create_product(runtime, request, idempotent))


@router.get("")
def list_products(runtime: RuntimeDep, limit: Limit = 50, after: After = None) -> Page[Product]:
    """All products."""
    return products.list_products(runtime, limit=limit, after=after)


@router.get("/{product}")
def get_product(product: str, runtime: RuntimeDep) -> Product:
    """One product, with its champion."""
    return products.get_product(runtime, product)


@router.patch("/{product}")
def update_product(product: str, request: ProductUpdate, runtime: RuntimeDep) -> Product:
    """Change a product's name, default network or gate."""
    return products.update_product(runtime, product, request)


@router.delete("/{product}", status_code=status.HTTP_204_NO_CONTENT)
def delete_product(product: str, runtime: RuntimeDep) -> Response:
    """Delete a product that has no datasets and no jobs."""
    products.delete_product(runtime, product)
    return Response(status_code=status.HTTP_204_NO_CONTENT)


@router.get("/{product}/aliases")
def list_aliases(product: str, runtime: RuntimeDep) -> list[Alias]:
    """The names that models of this product go by; `champion` answers predictions."""
    return trained_models.list_aliases(runtime, product)
