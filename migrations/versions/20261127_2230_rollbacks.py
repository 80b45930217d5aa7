"""which moves of an alias went back to the model before"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "e17a4d5c0b82"
down_revision = "c2b75e0d9a41"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "alias_moves", sa.Column("is_rollback", sa.Boolean(), nullable=False, server_default=sa.false())
    )


def downgrade() -> None:
    op.drop_column("alias_moves", "is_rollback")
