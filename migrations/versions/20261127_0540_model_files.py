"""models in other forms, and models that another Loupe trained: those have no dataset here"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.models.base import Json

revision = "d83f5a1c6e29"
down_revision = "6c1e90f4ab37"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("models") as models:
        models.alter_column("dataset_id", existing_type=sa.String(length=40), nullable=True)
        models.add_column(sa.Column("exports", Json, nullable=True))
        models.add_column(sa.Column("origin", Json, nullable=True))


def downgrade() -> None:
    # The version before cannot read a model that has no dataset. Its job stays, as one without a model.
    without = "SELECT id FROM models WHERE dataset_id IS NULL"
    op.execute(f"DELETE FROM aliases WHERE model_id IN ({without})")
    op.execute(f"UPDATE evaluations SET model_id = NULL WHERE model_id IN ({without})")
    op.execute("DELETE FROM models WHERE dataset_id IS NULL")
    with op.batch_alter_table("models") as models:
        models.drop_column("origin")
        models.drop_column("exports")
        models.alter_column("dataset_id", existing_type=sa.String(length=40), nullable=False)
