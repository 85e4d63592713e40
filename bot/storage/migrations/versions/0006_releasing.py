"""Candidates in the shadow, what is watched after a switch, and the schedule of trainings."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "shadows",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("adapter", sa.String(128), nullable=False),
        sa.Column("against", sa.String(128), nullable=True),
        sa.Column("share", sa.Float(), nullable=False),
        sa.Column("questions_max", sa.Integer(), nullable=False),
        sa.Column("missed", sa.Integer(), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=True),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("started_by", sa.String(160), nullable=False),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("ended_by", sa.String(160), nullable=True),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
    )
    op.create_table(
        "shadow_answers",
        sa.Column("seq", SEQ, primary_key=True, autoincrement=True),
        sa.Column("shadow_id", sa.String(40), sa.ForeignKey("shadows.id", ondelete="CASCADE"), nullable=False),
        sa.Column("message_id", sa.String(40), sa.ForeignKey("messages.id", ondelete="CASCADE"), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("same", sa.Boolean(), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("active", sa.JSON(), nullable=False),
        sa.Column("candidate", sa.JSON(), nullable=False),
        sa.Column("active_ms", sa.Float(), nullable=True),
        sa.Column("candidate_ms", sa.Float(), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
    )
    op.create_index("ix_shadow_answers_shadow", "shadow_answers", ["shadow_id", "same", "seq"])
    op.create_index("ix_shadow_answers_message_id", "shadow_answers", ["message_id"])
    op.create_table(
        "watches",
        sa.Column("id", SEQ, primary_key=True, autoincrement=True),
        sa.Column("kind", sa.String(16), nullable=False, index=True),
        sa.Column("adapter", sa.String(128), nullable=False),
        sa.Column("before", sa.JSON(), nullable=False),
        sa.Column("after", sa.JSON(), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=True),
        sa.Column("cause", sa.String(16), nullable=True),
        sa.Column("returned_to", sa.String(128), nullable=True),
        sa.Column("started_at", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
    )
    op.create_table(
        "scheduled_runs",
        sa.Column("slot", sa.String(16), primary_key=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=True),
        sa.Column("examples", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.String(40), nullable=True),
        sa.Column("adapter", sa.String(128), nullable=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
    )


def downgrade() -> None:
    for table in ("scheduled_runs", "watches", "shadow_answers", "shadows"):
        op.drop_table(table)
