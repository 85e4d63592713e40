"""Conversations that people take over, and who of the staff wrote a message."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "handoffs",
        sa.Column("id", sa.String(40), primary_key=True),
        sa.Column(
            "conversation_id", sa.String(40), sa.ForeignKey("conversations.id", ondelete="CASCADE"), nullable=False
        ),
        sa.Column("cause", sa.String(32), nullable=False),
        sa.Column("requested_at", sa.DateTime(), nullable=False),
        sa.Column("taken_by", sa.String(160), nullable=True),
        sa.Column("taken_at", sa.DateTime(), nullable=True),
        sa.Column("ended_by", sa.String(160), nullable=True),
        sa.Column("ended_at", sa.DateTime(), nullable=True),
        sa.Column("ended_how", sa.String(16), nullable=True),
    )
    op.create_index("ix_handoffs_conversation_id", "handoffs", ["conversation_id"])
    op.create_index("ix_handoffs_taken_at", "handoffs", ["taken_at"])
    op.create_index("ix_handoffs_queue", "handoffs", ["ended_at", "taken_by", "requested_at"])
    op.create_index(
        "ix_handoffs_one_open", "handoffs", ["conversation_id"], unique=True, sqlite_where=sa.text("ended_at IS NULL")
    )
    op.add_column("messages", sa.Column("author", sa.String(160), nullable=True))
    # An action had paused the bot in these, and nobody could take them over: they wait for a person now.
    op.execute(
        "INSERT INTO handoffs (id, conversation_id, cause, requested_at) "
        "SELECT 'h' || substr(id, 1, 39), id, 'paused', updated_at FROM conversations WHERE state = 'human'"
    )
    op.execute("UPDATE conversations SET state = 'paused' WHERE state = 'human'")


def downgrade() -> None:
    op.execute("UPDATE conversations SET state = 'human' WHERE state = 'paused'")
    op.execute("UPDATE conversations SET state = 'bot' WHERE state = 'waiting'")
    op.drop_column("messages", "author")
    op.drop_table("handoffs")
