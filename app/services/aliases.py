"""Aliases: the movable names of a product's models. Every move is made here, and is recorded."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.changes import note_change
from app.context import AppContext
from app.errors import (
    ConflictError,
    FieldError,
    GateFailedError,
    InvalidRequestError,
    NotFoundError,
    PreconditionFailedError,
)
from app.models import Alias, AliasMove, Job, TrainedModel
from app.models.alias import CHAMPION, TOPIC
from app.models.base import new_id, utc_now
from app.schemas import model as schemas
from app.schemas.common import Page
from app.services import webhook_events
from app.services.pages import fetch_page
from app.services.products import lock_product, require_product

Expected = Collection[str] | None
"""The models that an alias may point at before it is moved; None: any."""
RECENT_MOVES = 10
MAX_REASON = 2000


def list_aliases(context: AppContext, product_id: str) -> list[schemas.Alias]:
    with context.db.read() as session:
        require_product(session, product_id)
        rows = session.scalars(select(Alias).where(Alias.product_id == product_id).order_by(Alias.name))
        return [to_schema(row) for row in rows]


def get_alias(context: AppContext, product_id: str, name: str) -> schemas.Alias:
    with context.db.read() as session:
        require_product(session, product_id)
        return to_schema(require_alias(session, product_id, name))


def require_alias(session: Session, product_id: str, name: str) -> Alias:
    """The alias, held until the end of the transaction; raises NotFoundError."""
    alias = session.get(Alias, (product_id, name), with_for_update=True)
    if alias is None:
        raise _no_alias(product_id, name)
    return alias


def require_match(alias: Alias | None, expected: Expected) -> None:
    """Raises PreconditionFailedError unless the alias points at one of ``expected``; None: at whatever."""
    if expected is None or (alias is not None and alias.model_id in expected):
        return
    now = "there is no such alias" if alias is None else f"it points at {alias.model_id}"
    raise PreconditionFailedError(
        f"The alias does not point at the model that If-Match names: {now}.",
        hint="Somebody else has moved it. Read it again, and decide anew.",
    )


def put_alias(
    context: AppContext,
    product_id: str,
    name: str,
    request: schemas.AliasMoveCreate,
    expected: Expected = None,
) -> schemas.Alias:
    """Points an alias at a model by hand. Raises GateFailedError unless the model passed or ``override``.

    ``expected``: the models that it may point at now, or PreconditionFailedError is raised.
    """
    if name.isdecimal():
        raise InvalidRequestError(
            f"{name} cannot be an alias: {product_id}@{name} is the model of version {name}.",
            errors=(FieldError("name", "not digits alone"),),
        )
    with context.db.write() as session:
        lock_product(session, product_id)
        require_match(session.get(Alias, (product_id, name), with_for_update=True), expected)
        # Held: it is not deleted before the alias points at it.
        model = session.get(TrainedModel, request.model, with_for_update={"read": True})
        if model is None:
            raise NotFoundError(
                f"There is no model {request.model!r}.",
                hint=f"`GET /models?product={product_id}` lists those of the product.",
            )
        if model.product_id != product_id:
            raise InvalidRequestError(
                f"Model {model.id} is of product {model.product_id!r}, not of {product_id!r}.",
                errors=(FieldError("/model", "of another product"),),
            )
        failed = model.passed_gate is False
        if failed and not request.override:
            raise _gate_failed(session, model)
        alias = move_alias(
            session,
            name,
            model,
            moved_by=None,
            reason=request.reason,
            is_override=failed and request.override,
        )
        answer = to_schema(alias)
    context.changes.look_after_a_change()
    return answer


def delete_alias(context: AppContext, product_id: str, name: str, expected: Expected = None) -> None:
    """Removes an alias; its history stays. The champion can only be moved."""
    with context.db.write() as session:
        lock_product(session, product_id)
        alias = require_alias(session, product_id, name)
        require_match(alias, expected)
        if name == CHAMPION:
            raise ConflictError(
                f"The {CHAMPION} of product {product_id!r} answers its predictions and cannot be removed.",
                hint=f"Move it to another model: `PUT /products/{product_id}/aliases/{CHAMPION}`.",
            )
        _record(session, product_id, name, alias.model_id, None)
        session.delete(alias)
    context.changes.look_after_a_change()


def list_moves(
    context: AppContext, product_id: str, name: str, *, limit: int, after: str | None
) -> Page[schemas.AliasMove]:
    """The moves of an alias, newest first; those that the first release made were not recorded."""
    query = select(AliasMove).where(AliasMove.product_id == product_id, AliasMove.name == name)
    with context.db.read() as session:
        require_product(session, product_id)
        page = fetch_page(session, query, AliasMove.id, _move_to_schema, limit=limit, after=after)
        if not page.data and after is None and session.get(Alias, (product_id, name)) is None:
            raise _no_alias(product_id, name)
        return page


def move_alias(
    session: Session,
    name: str,
    model: TrainedModel,
    *,
    moved_by: str | None,
    reason: str | None,
    is_override: bool = False,
    is_rollback: bool = False,
) -> Alias:
    """Points the alias ``name`` of the model's product at ``model``. The caller holds the product's row.

    ``moved_by`` is the job that ended, or None for a client. Where nothing changes, nothing is recorded.
    """
    alias = session.get(Alias, (model.product_id, name), with_for_update=True)
    if alias is not None and alias.model_id == model.id:
        return alias
    before = alias.model_id if alias else None
    if alias is None:
        alias = Alias(product_id=model.product_id, name=name, model_id=model.id)
        session.add(alias)
    alias.model_id, alias.moved_at = model.id, utc_now()
    _record(
        session,
        model.product_id,
        name,
        before,
        model.id,
        moved_by=moved_by,
        reason=reason,
        is_override=is_override,
        is_rollback=is_rollback,
    )
    session.flush()
    if name == CHAMPION:
        webhook_events.champion_moved(
            session, model, before=before, moved_by=moved_by, is_override=is_override
        )
    return alias


def models_of_recent_moves(session: Session, product_id: str) -> set[str]:
    """The models that aliases of a product point at, or pointed at in their last moves."""
    found = set(session.scalars(select(Alias.model_id).where(Alias.product_id == product_id)))
    moves = select(AliasMove).where(AliasMove.product_id == product_id)
    for name in session.scalars(moves.with_only_columns(AliasMove.name).distinct()).all():
        last = moves.where(AliasMove.name == name).order_by(AliasMove.id.desc()).limit(RECENT_MOVES)
        for move in session.scalars(last):
            found |= {model for model in (move.from_model, move.to_model) if model is not None}
    return found


def _record(
    session: Session,
    product_id: str,
    name: str,
    before: str | None,
    after: str | None,
    *,
    moved_by: str | None = None,
    reason: str | None = None,
    is_override: bool = False,
    is_rollback: bool = False,
) -> None:
    note_change(session, TOPIC)
    session.add(
        AliasMove(
            id=new_id("mov"),
            product_id=product_id,
            name=name,
            from_model=before,
            to_model=after,
            moved_by=moved_by,
            # Class names come from folders: a reason that names some may be longer than the column.
            reason=None if reason is None else reason[:MAX_REASON],
            is_override=is_override,
            is_rollback=is_rollback,
        )
    )


def _gate_failed(session: Session, model: TrainedModel) -> GateFailedError:
    reasons = (session.get_one(Job, model.job_id).gate or {}).get("reasons", [])
    return GateFailedError(
        f"Model {model.id} failed its gate. {' '.join(reasons)}".rstrip(),
        hint="Set override to take it all the same; the history of the alias records that.",
        errors=tuple(FieldError("/model", reason) for reason in reasons),
    )


def _no_alias(product_id: str, name: str) -> NotFoundError:
    return NotFoundError(
        f"Product {product_id!r} has no alias {name!r}.",
        hint=f"`GET /products/{product_id}/aliases` lists them.",
    )


def to_schema(alias: Alias) -> schemas.Alias:
    return schemas.Alias(
        name=alias.name, product=alias.product_id, model=alias.model_id, moved_at=alias.moved_at
    )


def _move_to_schema(move: AliasMove) -> schemas.AliasMove:
    return schemas.AliasMove(
        id=move.id,
        from_model=move.from_model,
        to_model=move.to_model,
        moved_by=move.moved_by,
        reason=move.reason,
        is_override=move.is_override,
        is_rollback=move.is_rollback,
        moved_at=move.moved_at,
    )
