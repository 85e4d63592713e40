"""Channels of the console, what they remember, messages that came in and messages on their way out."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

SEQ = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "channels",
        sa.Column("kind", sa.String(64), primary_key=True),
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
    )
    op.create_table(
        "channel_memory",
        sa.Column("channel", sa.String(130), primary_key=True),
        sa.Column("key", sa.String(191), primary_key=True),
        sa.Column("value", sa.JSON(), nullable=False),
        sa.Column("updated_at", sa.DateTime(), nullable=False),
    )
    op.create_table(
        "inbox",
        sa.Column("seq", SEQ, primary_key=True, autoincrement=True),
        sa.Column("channel", sa.String(130), nullable=False),
        sa.Column("key", sa.String(191), nullable=False),
        sa.Column("recipient", sa.String(40), nullable=False),
        sa.Column("inbound", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("received_at", sa.DateTime(), nullable=False),
    )
    op.create_index("ix_inbox_key", "inbox", ["channel", "key"], unique=True)
    op.create_index("ix_inbox_state", "inbox", ["state", "seq"])
    op.create_index("ix_inbox_recipient", "inbox", ["recipient", "seq"])
    op.create_index("ix_inbox_received_at", "inbox", ["received_at"])
    op.create_table(
        "outbox",
        sa.Column("seq", SEQ, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String(40), nullable=False, unique=True),
        sa.Column("channel", sa.String(130), nullable=False),
        sa.Column("recipient", sa.String(40), nullable=False),
        sa.Column("inbox_seq", sa.BigInteger(), nullable=True),
        sa.Column("address", sa.JSON(), nullable=False),
        sa.Column("payload", sa.JSON(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("uncertain", sa.Integer(), nullable=False),
        sa.Column("error", sa.JSON(), nullable=True),
        sa.Column("due_at", sa.DateTime(), nullable=False),
        sa.Column("created_at", sa.DateTime(), nullable=False),
        sa.Column("settled_at", sa.DateTime(), nullable=True),
    )
    op.create_index("ix_outbox_inbox_seq", "outbox", ["inbox_seq"])
    op.create_index("ix_outbox_due", "outbox", ["channel", "state", "due_at"])
    op.create_index("ix_outbox_recipient", "outbox", ["recipient", "state", "seq"])
    op.create_index("ix_outbox_state", "outbox", ["state", "seq"])
    op.create_index("ix_outbox_created_at", "outbox", ["created_at"])


def downgrade() -> None:
    for table in ("outbox", "inbox", "channel_memory", "channels"):
        op.drop_table(table)
