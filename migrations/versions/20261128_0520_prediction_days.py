"""predictions of each product by day"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "b81c5d20e7a3"
down_revision = "f3d09b7a1e64"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "prediction_days",
        sa.Column("product_id", sa.String(length=63), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("images", sa.BigInteger(), nullable=False),
        sa.Column("answered", sa.BigInteger(), nullable=False),
        sa.Column("rejected", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name=op.f("fk_prediction_days_product_id_products")
        ),
        sa.PrimaryKeyConstraint("product_id", "day", name=op.f("pk_prediction_days")),
    )


def downgrade() -> None:
    op.drop_table("prediction_days")
