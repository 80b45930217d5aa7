"""the version that a product gave out last, so that no number is given twice"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "e3b5a1d07f62"
down_revision = "c7e2b95d4f10"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "products", sa.Column("last_model_version", sa.Integer(), server_default="0", nullable=False)
    )
    op.execute(
        "UPDATE products SET last_model_version = COALESCE("
        "(SELECT MAX(version) FROM models WHERE models.product_id = products.id), 0)"
    )


def downgrade() -> None:
    op.drop_column("products", "last_model_version")
