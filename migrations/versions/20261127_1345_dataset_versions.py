"""the dataset that another one is a new version of"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "a7c41e9b5d38"
down_revision = "d83f5a1c6e29"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("datasets", sa.Column("based_on", sa.String(length=40), nullable=True))


def downgrade() -> None:
    op.drop_column("datasets", "based_on")
