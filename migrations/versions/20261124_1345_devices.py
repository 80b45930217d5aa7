"""the devices of a job, and leases of GPUs"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.models.base import Json

revision = "a41d07c92e6b"
down_revision = "8d0b6f1c27a4"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "gpu_leases",
        sa.Column("gpu", sa.String(length=100), nullable=False),
        sa.Column("job_id", sa.String(length=40), nullable=True),
        sa.Column("fence", sa.Integer(), nullable=True),
        sa.PrimaryKeyConstraint("gpu", name=op.f("pk_gpu_leases")),
    )
    # With defaults in the database: a process that is one version behind inserts jobs without them.
    op.add_column("jobs", sa.Column("device", sa.String(length=8), server_default="auto", nullable=False))
    op.add_column("jobs", sa.Column("gpus", sa.Integer(), server_default="1", nullable=False))
    op.add_column("jobs", sa.Column("ran_on", Json, nullable=True))


def downgrade() -> None:
    for column in ("ran_on", "gpus", "device"):
        op.drop_column("jobs", column)
    op.drop_table("gpu_leases")
