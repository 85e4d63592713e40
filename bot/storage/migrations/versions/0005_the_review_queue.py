"""Estimates of what was answered, the review queue, its decisions and the data sets made of them."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("messages", sa.Column("answered", sa.Float(), nullable=True))
    op.create_index("ix_feedback_created_at", "feedback", ["created_at"])
    op.create_table(
        "review_items",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("centre", sa.LargeBinary(), nullable=False),
        sa.Column("encoder", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("priority", sa.Float(), nullable=False),
        sa.Column("first_at", sa.DateTime(), nullable=False),
        sa.Column("last_at", sa.DateTime(), nullable=False),
        sa.Column("claimed_by", sa.String(160), nullable=True),
        sa.Column("claimed_until", sa.DateTime(), nullable=True),
    )
    op.create_index("ix_review_items_order", "review_items", ["state", "priority"])
    op.create_table(
        "review_questions",
        sa.Column("message_id", sa.String(40), sa.ForeignKey("messages.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("item_id", sa.String(40), sa.ForeignKey("review_items.id", ondelete="CASCADE"), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("key", sa.String(64), nullable=False),
        sa.Column("answered", sa.Float(), nullable=False),
        sa.Column("signals", sa.JSON(), nullable=False),
        sa.Column("asked_at", sa.DateTime(), nullable=False),
    )
    op.create_index("ix_review_questions_key", "review_questions", ["key"])
    op.create_index("ix_review_questions_item", "review_questions", ["item_id", "asked_at"])
    op.create_table(
        "review_decisions",
        sa.Column("id", SEQ, primary_key=True, autoincrement=True),
        sa.Column("item_id", sa.String(40), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("entry_id", sa.String(128), nullable=True),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("entry_revision", sa.BigInteger(), nullable=True),
        sa.Column("actor", sa.String(160), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("undone_by", sa.String(160), nullable=True),
        sa.Column("undone_at", sa.DateTime(), nullable=True),
    )
    op.create_index("ix_review_decisions_item_id", "review_decisions", ["item_id"])
    op.create_index("ix_review_decisions_created_at", "review_decisions", ["created_at"])
    op.create_table(
        "review_labels",
        sa.Column("id", SEQ, primary_key=True, autoincrement=True),
        sa.Column(
            "decision_id", SEQ, sa.ForeignKey("review_decisions.id", ondelete="CASCADE"), nullable=False, index=True
        ),
        sa.Column("source", sa.String(64), nullable=False, index=True),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.String(128), nullable=True),
    )
    op.create_table(
        "data_sets",
        sa.Column("version", SEQ, primary_key=True, autoincrement=True),
        sa.Column("hash", sa.String(64), nullable=False, unique=True),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("examples", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("forgotten_at", sa.DateTime(), nullable=True),
    )
    op.create_table(
        "data_set_sources",
        sa.Column("version", SEQ, sa.ForeignKey("data_sets.version", ondelete="CASCADE"), primary_key=True),
        sa.Column("source", sa.String(256), primary_key=True, index=True),
    )
    op.create_table(
        "training_runs",
        sa.Column("name", sa.String(128), primary_key=True),
        sa.Column("version", SEQ, sa.ForeignKey("data_sets.version", ondelete="CASCADE"), nullable=False, index=True),
        sa.Column("created_at", sa.DateTime(), nullable=False),
    )


def downgrade() -> None:
    for table in (
        "training_runs", "data_set_sources", "data_sets", "review_labels", "review_decisions", "review_questions",
        "review_items",
    ):  # fmt: skip
        op.drop_table(table)
    op.drop_index("ix_feedback_created_at", "feedback")
    op.drop_column("messages", "answered")
