"""sweeps: many trainings on one split, and which sweep a job is a candidate of"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.models.base import Json, UtcDateTime

revision = "c2b75e0d9a41"
down_revision = "c92e6b1f4a07"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "sweeps",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("product_id", sa.String(length=63), nullable=False),
        sa.Column("dataset_id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("plan", Json, nullable=False),
        sa.Column("candidates", Json, nullable=False),
        sa.Column("rung", sa.Integer(), nullable=False),
        sa.Column("winner", sa.String(length=40), nullable=True),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("error", Json, nullable=True),
        sa.Column("events", Json, nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=True),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_sweeps_product_id_products")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sweeps")),
    )
    op.create_index(op.f("ix_sweeps_status"), "sweeps", ["status"])
    op.create_index(op.f("ix_sweeps_product_id_id"), "sweeps", ["product_id", "id"])
    op.add_column("jobs", sa.Column("sweep_id", sa.String(length=40), nullable=True))
    op.create_index(op.f("ix_jobs_sweep_id"), "jobs", ["sweep_id"])


def downgrade() -> None:
    op.drop_index(op.f("ix_jobs_sweep_id"), "jobs")
    op.drop_column("jobs", "sweep_id")
    op.drop_table("sweeps")
