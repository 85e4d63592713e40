"""Entries have days on which they hold, and channels on which they are answered."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("entries", sa.Column("valid_from", sa.Date(), nullable=True))
    op.add_column("entries", sa.Column("valid_until", sa.Date(), nullable=True))
    op.add_column("entries", sa.Column("channels", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("entries", "channels")
    op.drop_column("entries", "valid_until")
    op.drop_column("entries", "valid_from")
