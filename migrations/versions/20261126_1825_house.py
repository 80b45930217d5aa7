"""jobs without a dataset or under a parent, gate rules, moves of aliases, the kinds that a worker knows"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.models.base import Json, UtcDateTime

revision = "c7e2b95d4f10"
down_revision = "a41d07c92e6b"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("jobs") as jobs:
        jobs.alter_column("dataset_id", existing_type=sa.String(length=40), nullable=True)
        jobs.add_column(sa.Column("parent_id", sa.String(length=40), nullable=True))
        jobs.add_column(sa.Column("gate_rules", Json, nullable=True))
        jobs.create_foreign_key(op.f("fk_jobs_parent_id_jobs"), "jobs", ["parent_id"], ["id"])
        jobs.create_index(op.f("ix_jobs_parent_id"), ["parent_id"])
    op.create_table(
        "alias_moves",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("product_id", sa.String(length=63), nullable=False),
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("from_model", sa.String(length=40), nullable=True),
        sa.Column("to_model", sa.String(length=40), nullable=True),
        sa.Column("moved_by", sa.String(length=200), nullable=True),
        sa.Column("reason", sa.String(length=2000), nullable=True),
        sa.Column("is_override", sa.Boolean(), nullable=False),
        sa.Column("moved_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["product_id"], ["products.id"], name=op.f("fk_alias_moves_product_id_products")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alias_moves")),
    )
    op.create_index(op.f("ix_alias_moves_product_id_name_id"), "alias_moves", ["product_id", "name", "id"])
    op.add_column("models", sa.Column("passed_gate", sa.Boolean(), nullable=True))
    op.add_column("workers", sa.Column("kinds", Json, nullable=True))


def downgrade() -> None:
    op.drop_column("workers", "kinds")
    op.drop_column("models", "passed_gate")
    op.drop_table("alias_moves")
    # The version before cannot read a job that has no dataset.
    without = "SELECT id FROM jobs WHERE dataset_id IS NULL"
    for table in ("job_steps", "job_epochs", "job_events"):
        op.execute(f"DELETE FROM {table} WHERE job_id IN ({without})")
    op.execute("UPDATE jobs SET parent_id = NULL")
    op.execute("DELETE FROM jobs WHERE dataset_id IS NULL")
    with op.batch_alter_table("jobs") as jobs:
        jobs.drop_index(op.f("ix_jobs_parent_id"))
        jobs.drop_constraint(op.f("fk_jobs_parent_id_jobs"), type_="foreignkey")
        jobs.drop_column("gate_rules")
        jobs.drop_column("parent_id")
        jobs.alter_column("dataset_id", existing_type=sa.String(length=40), nullable=False)
