"""Aliases: the movable names of a product's models. Every move is made here, and is recorded."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Alias, AliasMove, TrainedModel
from app.models.base import new_id, utc_now

RECENT_MOVES = 10


def move_alias(
    session: Session,
    name: str,
    model: TrainedModel,
    *,
    moved_by: str | None,
    reason: str | None,
    is_override: bool = False,
) -> Alias:
    """Points the alias ``name`` of the model's product at ``model``. The caller holds the product's row.

    ``moved_by`` is the job that ended, or None for a client. Where nothing changes, nothing is recorded.
    """
    alias = session.get(Alias, (model.product_id, name), with_for_update=True)
    if alias is not None and alias.model_id == model.id:
        return alias
    now = utc_now()
    session.add(
        AliasMove(
            id=new_id("mov"),
            product_id=model.product_id,
            name=name,
            from_model=alias.model_id if alias else None,
            to_model=model.id,
            moved_by=moved_by,
            reason=reason,
            is_override=is_override,
            moved_at=now,
        )
    )
    if alias is None:
        alias = Alias(product_id=model.product_id, name=name, model_id=model.id, moved_at=now)
        session.add(alias)
    alias.model_id, alias.moved_at = model.id, now
    session.flush()
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
