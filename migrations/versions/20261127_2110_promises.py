"""what a product promises of accepted answers, and how the probabilities and thresholds of a model came about"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.models.base import Json

revision = "c92e6b1f4a07"
down_revision = "a7c41e9b5d38"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("products", sa.Column("max_error", sa.Float(), nullable=True))
    op.add_column("models", sa.Column("calibration", Json, nullable=True))
    op.add_column("models", sa.Column("decision", Json, nullable=True))


def downgrade() -> None:
    op.drop_column("models", "decision")
    op.drop_column("models", "calibration")
    op.drop_column("products", "max_error")
