"""The outbox says which message of the staff it carries; a conversation knows its customer's nickname."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("outbox", sa.Column("message_id", sa.String(40), nullable=True))
    op.add_column("conversations", sa.Column("nickname", sa.String(64), nullable=False, server_default=sa.text("''")))


def downgrade() -> None:
    op.drop_column("conversations", "nickname")
    op.drop_column("outbox", "message_id")
