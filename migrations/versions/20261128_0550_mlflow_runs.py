"""trainings on their way to an MLflow server"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.models.base import UtcDateTime

revision = "a81c5e20d7f4"
down_revision = "5b8e1f7c2d90"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "mlflow_runs",
        sa.Column("job_id", sa.String(length=40), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("next_attempt_at", sa.Float(53), nullable=True),
        sa.Column("run_id", sa.String(length=64), nullable=True),
        sa.Column("error", sa.String(length=1000), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_mlflow_runs")),
    )
    op.create_index(op.f("ix_mlflow_runs_next_attempt_at"), "mlflow_runs", ["next_attempt_at"])


def downgrade() -> None:
    op.drop_table("mlflow_runs")
