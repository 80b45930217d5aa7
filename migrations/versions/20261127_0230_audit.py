"""who did what: audit records; what a key may use up, and which key jobs and datasets are of"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from app.models.base import Json, UtcDateTime

revision = "6c1e90f4ab37"
down_revision = "b6d94e20c1a7"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_records",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("key_id", sa.String(length=40), nullable=True),
        sa.Column("caller", sa.String(length=200), nullable=True),
        sa.Column("by_session", sa.Boolean(), nullable=False),
        sa.Column("action", sa.String(length=200), nullable=False),
        sa.Column("product_id", sa.String(length=63), nullable=True),
        sa.Column("things", Json, nullable=False),
        sa.Column("outcome", sa.String(length=20), nullable=False),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=True),
        sa.Column("request_id", sa.String(length=128), nullable=True),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_records")),
    )
    op.create_index(op.f("ix_audit_records_created_at"), "audit_records", ["created_at"])
    op.add_column("api_keys", sa.Column("limits", Json, nullable=True))
    for table in ("jobs", "datasets"):
        op.add_column(table, sa.Column("key_id", sa.String(length=40), nullable=True))
        op.create_index(op.f(f"ix_{table}_key_id"), table, ["key_id"])


def downgrade() -> None:
    for table in ("jobs", "datasets"):
        op.drop_index(op.f(f"ix_{table}_key_id"), table)
        op.drop_column(table, "key_id")
    op.drop_column("api_keys", "limits")
    op.drop_table("audit_records")
