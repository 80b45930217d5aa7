"""the dataset that another one is a new version of, and what is known from looking at a dataset's images"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.models.base import Json

revision = "a7c41e9b5d38"
down_revision = "d83f5a1c6e29"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("based_on", sa.String(length=40), nullable=True))
    op.add_column("datasets", sa.Column("examination", Json, nullable=True))


def downgrade() -> None:
    op.drop_column("datasets", "examination")
    op.drop_column("datasets", "based_on")
