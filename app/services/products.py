"""Products: create, read, change; ``deletions`` deletes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.changes import note_change
from app.context import AppContext
from app.errors import ConflictError, FieldError, InvalidRequestError, NotFoundError
from app.models import Alias, Product
from app.models.alias import CHAMPION, TOPIC
from app.networks.registry import get_network
from app.schemas import product as schemas
from app.schemas.common import Page
from app.schemas.gate import MOST_CLASSES, ProductGate, ProductGateUpdate
from app.schemas.product import MAX_ERROR
from app.services.idempotency import Answer, IdempotentRequest, recall, remember
from app.services.pages import fetch_page


def read_ids(context: AppContext) -> set[str]:
    """The ids of all products."""
    with context.db.read() as session:
        return set(session.scalars(select(Product.id)))


def create_product(
    context: AppContext, request: schemas.ProductCreate, idempotent: IdempotentRequest | None = None
) -> Answer:
    """Makes a product. Raises ConflictError when its id is taken."""
    network = get_network(request.default_network).name if request.default_network else None
    with context.db.write() as session:
        if (before := recall(session, idempotent)) is not None:
            return before
        taken = ConflictError(f"Product {request.id!r} exists already.", hint="Choose another id, or use it.")
        if session.get(Product, request.id) is not None:
            raise taken
        product = Product(
            id=request.id,
            name=request.name or request.id,
            default_network=network,
            min_accuracy=request.gate.min_accuracy,
            gate_limits=_limits(request.gate),
            max_error=request.promise.max_error,
        )
        session.add(product)
        try:
            session.flush()
        except IntegrityError as error:  # taken a moment ago by another request
            raise taken from error
        answer = Answer(to_schema(session, product).model_dump(mode="json"), f"/products/{product.id}")
        remember(session, idempotent, 201, answer)
        return answer


def get_product(context: AppContext, product_id: str) -> schemas.Product:
    with context.db.read() as session:
        return to_schema(session, require_product(session, product_id))


def list_products(context: AppContext, *, limit: int, after: str | None) -> Page[schemas.Product]:
    with context.db.read() as session:
        return fetch_page(
            session,
            select(Product),
            Product.id,
            lambda row: to_schema(session, row),
            limit=limit,
            after=after,
        )


def update_product(context: AppContext, product_id: str, request: schemas.ProductUpdate) -> schemas.Product:
    """Changes what the request names and leaves the rest."""
    changes = request.model_dump(exclude_unset=True)
    with context.db.write() as session:
        product = require_product(session, product_id)
        if changes.get("name") is not None:
            product.name = changes["name"]
        if "default_network" in changes:
            name = changes["default_network"]
            product.default_network = get_network(name).name if name else None
        if request.gate is not None:
            _change_gate(product, request.gate)
        if request.promise is not None:
            product.max_error = request.promise.max_error
            note_change(session, TOPIC)  # Who answers predictions keeps it in memory.
        session.flush()
        changed = to_schema(session, product)
    context.changes.look_after_a_change()
    return changed


def read_gate(product: Product) -> ProductGate:
    """The rules of a product; one that a newer release added is passed over."""
    stored = product.gate_limits or {}
    return ProductGate(
        min_accuracy=product.min_accuracy,
        **{name: stored[name] for name in ProductGate.model_fields.keys() & stored},
    )


def promised_error(max_error: float | None) -> float:
    """The share of accepted answers that may be wrong, from the column of a product."""
    return MAX_ERROR if max_error is None else max_error


def require_product(session: Session, product_id: str) -> Product:
    """The product's row; raises NotFoundError."""
    return _required(session.get(Product, product_id), product_id)


def hold_product(session: Session, product_id: str) -> Product:
    """The product's row, which is not deleted before the transaction ends; raises NotFoundError."""
    held = session.get(Product, product_id, with_for_update={"read": True}, populate_existing=True)
    return _required(held, product_id)


def hold_products(session: Session, ids: Sequence[str]) -> None:
    """Holds those that a request names under ``products``, as ``hold_product`` does, in one order.

    Raises InvalidRequestError, which names those that there are not.
    """
    held = select(Product.id).where(Product.id.in_(ids)).order_by(Product.id).with_for_update(read=True)
    there = set(session.scalars(held))
    missing = [(index, one) for index, one in enumerate(ids) if one not in there]
    if missing:
        raise InvalidRequestError(
            f"There is no product {missing[0][1]!r}.",
            hint="`GET /products` lists them.",
            errors=tuple(FieldError(f"/products/{index}", "no such product") for index, _ in missing),
        )


def lock_product(session: Session, product_id: str) -> Product:
    """The product's row, held until the end of the transaction; raises NotFoundError.

    What counts a product's models or moves its aliases takes this lock first, so that all do so in turn.
    """
    held = session.get(Product, product_id, with_for_update=True, populate_existing=True)
    return _required(held, product_id)


def to_schema(session: Session, product: Product) -> schemas.Product:
    alias = session.get(Alias, (product.id, CHAMPION))
    return schemas.Product(
        id=product.id,
        name=product.name,
        default_network=product.default_network,
        gate=read_gate(product),
        promise=schemas.Promise(max_error=promised_error(product.max_error)),
        champion=alias.model_id if alias else None,
        created_at=product.created_at,
    )


def _change_gate(product: Product, changes: ProductGateUpdate) -> None:
    """Changes the rules that are named, and the floors of the classes that are named."""
    given = changes.model_dump(exclude_unset=True)
    if given.get("min_recall") is not None:
        floors = read_gate(product).min_recall | given["min_recall"]
        given["min_recall"] = {name: floor for name, floor in floors.items() if floor is not None}
        if len(given["min_recall"]) > MOST_CLASSES:
            raise InvalidRequestError(
                f"A product has floors of at most {MOST_CLASSES:,} classes.",
                hint='Take others away: {"gate": {"min_recall": {"CLASS": null}}}.',
                errors=(FieldError("/gate/min_recall", "too many classes"),),
            )
    elif "min_recall" in given:
        given["min_recall"] = {}
    gate = ProductGate.model_validate(read_gate(product).model_dump() | given)
    product.min_accuracy, product.gate_limits = gate.min_accuracy, _limits(gate)


def _limits(gate: ProductGate) -> dict[str, Any] | None:
    """What is stored beside the least accuracy."""
    return gate.model_dump(mode="json", exclude={"min_accuracy"}, exclude_defaults=True) or None


def _required(product: Product | None, product_id: str) -> Product:
    if product is None:
        raise NotFoundError(
            f"There is no product {product_id!r}.",
            hint="`GET /products` lists them; `POST /products` makes one.",
        )
    return product
