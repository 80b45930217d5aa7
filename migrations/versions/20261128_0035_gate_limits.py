"""recall floors, size and latency limits of a product"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "f3d09b7a1e64"
down_revision = "e17a4d5c0b82"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("products", sa.Column("gate_limits", sa.JSON(), nullable=True))


def downgrade() -> None:
    op.drop_column("products", "gate_limits")
