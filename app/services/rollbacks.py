"""Going back: an alias points again at the model that it pointed at before."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.context import AppContext
from app.errors import ConflictError
from app.models import AliasMove, TrainedModel
from app.schemas import model as schemas
from app.services.aliases import Expected, move_alias, require_alias, require_match, to_schema
from app.services.products import lock_product


def roll_back(
    context: AppContext, product_id: str, request: schemas.RollbackCreate, expected: Expected
) -> schemas.Alias:
    """One step back for each call. ``expected``: the models that the alias may point at now.

    Raises ConflictError when there is no earlier model, PreconditionFailedError.
    """
    with context.db.write() as session:
        lock_product(session, product_id)
        alias = require_alias(session, product_id, request.alias)
        require_match(alias, expected)
        before = _find_before(session, product_id, request.alias, alias.model_id)
        if before is None:
            raise ConflictError(
                f"{product_id}@{request.alias} has pointed at no earlier model that is still there.",
                hint=f"Choose one by hand: `PUT /products/{product_id}/aliases/{request.alias}`; "
                f"`GET /models?product={product_id}` lists them.",
            )
        alias = move_alias(
            session, request.alias, before, moved_by=None, reason=request.reason, is_rollback=True
        )
        answer = to_schema(alias)
    context.changes.look_after_a_change()
    return answer


def _find_before(session: Session, product_id: str, name: str, now: str) -> TrainedModel | None:
    """The model before the newest move that no rollback has undone; of deleted ones the one before that."""
    moves = session.scalars(
        select(AliasMove)
        .where(AliasMove.product_id == product_id, AliasMove.name == name)
        .order_by(AliasMove.id.desc())
    )
    undone = 0
    for move in moves:
        if move.is_rollback:
            undone += 1
        elif undone:
            undone -= 1
        elif move.from_model is not None and move.from_model != now:
            # Held: it is not deleted before the alias points at it.
            model = session.get(TrainedModel, move.from_model, with_for_update={"read": True})
            if model is not None:
                return model
    return None
